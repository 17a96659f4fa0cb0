"""An ONNX graph of a frozen network as a function of torch, so that gradients go through it.

onnxruntime runs such a file faster and without gradients. What is here are the operators of PP-OCRv4's recogniser, by
the definitions of ONNX (onnx.ai/onnx/operators); a graph with others is refused by their names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from rnr.degradation._lazy import need

EXTRA = "tasks"
Attributes = dict[str, Any]


class OnnxGraph(nn.Module):
    """The network of a file, frozen.

    Args:
        path: An ONNX file with one input and one output.

    Raises:
        MissingExtra: Without `onnx`.
        OSError: For a file that cannot be read.
        ValueError: For operators that are not here.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        onnx = need("onnx", EXTRA)
        try:
            graph = onnx.load(str(path)).graph
        except Exception as error:
            raise OSError(
                f"{path}: cannot be read as ONNX ({str(error).splitlines()[0]}); copy the file again"
            ) from error
        if unknown := {node.op_type for node in graph.node} - OPERATORS.keys() - {"Constant"}:
            raise ValueError(f"{path}: has {', '.join(sorted(unknown))}, which cannot be run in torch here")
        self.held = {each.name: tensor(onnx, each) for each in graph.initializer}
        self.nodes: list[tuple[str, list[str], list[str], Attributes]] = []
        for node in graph.node:
            given = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            if node.op_type == "Constant":
                self.held[node.output[0]] = tensor(onnx, given["value"])
            else:
                self.nodes.append((node.op_type, list(node.input), list(node.output), given))
        self.entry = next(each.name for each in graph.input if each.name not in self.held)
        self.exit = graph.output[0].name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values: dict[str, Any] = {name: value.to(x.device) for name, value in self.held.items()} | {
            self.entry: x,
            "": None,
        }
        for kind, inputs, outputs, given in self.nodes:
            values[outputs[0]] = OPERATORS[kind](given, *(values[name] for name in inputs))
        return values[self.exit]


def tensor(onnx: Any, held: Any) -> torch.Tensor:
    return torch.from_numpy(onnx.numpy_helper.to_array(held).copy())


def numbers(value: torch.Tensor) -> list[int]:
    return [int(each) for each in value.reshape(-1).tolist()]


def convolved(
    given: Attributes, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    top, left, bottom, right = given.get("pads", [0, 0, 0, 0])
    x = functional.pad(x, (left, right, top, bottom))
    return functional.conv2d(x, weight, bias, tuple(given.get("strides", (1, 1))), 0,
                             tuple(given.get("dilations", (1, 1))), given.get("group", 1))  # fmt: skip


def pooled(given: Attributes, x: torch.Tensor) -> torch.Tensor:
    top, left, bottom, right = given.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        raise ValueError("AveragePool with uneven padding cannot be run in torch here")
    return functional.avg_pool2d(x, tuple(given["kernel_shape"]), tuple(given.get("strides", (1, 1))), (top, left),
                                 bool(given.get("ceil_mode", 0)), bool(given.get("count_include_pad", 0)))  # fmt: skip


def normalised(given: Attributes, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, mean: torch.Tensor,
               variance: torch.Tensor) -> torch.Tensor:  # fmt: skip
    return functional.batch_norm(x, mean, variance, scale, shift, False, 0.0, given.get("epsilon", 1e-5))


def sliced(given: Attributes, x: torch.Tensor, starts: torch.Tensor, ends: torch.Tensor,
           axes: torch.Tensor | None = None, steps: torch.Tensor | None = None) -> torch.Tensor:  # fmt: skip
    places = numbers(axes) if axes is not None else list(range(len(numbers(starts))))
    paces = numbers(steps) if steps is not None else [1] * len(places)
    for axis, start, end, pace in zip(places, numbers(starts), numbers(ends), paces):
        index = [slice(None)] * x.dim()
        index[axis] = slice(start, end, pace)
        x = x[tuple(index)]
    return x


def reshaped(given: Attributes, x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    return x.reshape([x.shape[i] if side == 0 else side for i, side in enumerate(numbers(shape))])


def squeezed(given: Attributes, x: torch.Tensor, axes: torch.Tensor | None = None) -> torch.Tensor:
    places = given.get("axes") or (numbers(axes) if axes is not None else None)
    return x.squeeze(tuple(places)) if places else x.squeeze()


def cast(given: Attributes, x: torch.Tensor) -> torch.Tensor:
    # The numbers of ONNX's TensorProto: 1 float, 6 int32, 7 int64, 9 bool, 11 double
    return x.to({1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}[given["to"]])


def hard_sigmoid(given: Attributes, x: torch.Tensor) -> torch.Tensor:
    return (given.get("alpha", 0.2) * x + given.get("beta", 0.5)).clamp(0, 1)


def averaged(given: Attributes, x: torch.Tensor) -> torch.Tensor:
    return x.mean(tuple(given["axes"]), keepdim=bool(given.get("keepdims", 1)))


OPERATORS: dict[str, Callable[..., torch.Tensor]] = {
    "Add": lambda given, a, b: a + b, "Sub": lambda given, a, b: a - b, "Mul": lambda given, a, b: a * b,
    "Div": lambda given, a, b: a / b if a.is_floating_point() else a // b, "Pow": lambda given, a, b: a**b,
    "Sqrt": lambda given, x: x.sqrt(), "Relu": lambda given, x: x.relu(), "Sigmoid": lambda given, x: x.sigmoid(),
    "Clip": lambda given, x, low=None, high=None: x.clamp(low, high), "HardSigmoid": hard_sigmoid,
    "Softmax": lambda given, x: x.softmax(given.get("axis", -1)), "MatMul": lambda given, a, b: a @ b,
    "Conv": convolved, "AveragePool": pooled, "GlobalAveragePool": lambda given, x: x.mean((2, 3), keepdim=True),
    "BatchNormalization": normalised, "ReduceMean": averaged, "Reshape": reshaped, "Squeeze": squeezed,
    "Transpose": lambda given, x: x.permute(*given["perm"]), "Slice": sliced, "Cast": cast,
    "Concat": lambda given, *parts: torch.cat(parts, given["axis"]),
    "Shape": lambda given, x: torch.tensor(x.shape),
}  # fmt: skip
