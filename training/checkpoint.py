"""The state of a training as one safetensors file, and the moving average of its weights.

A file is written under a temporary name and renamed: a kill leaves the old one or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rnr.degradation.files import whole

CHECKPOINT = "checkpoint.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq", "mean", "square")  # of AdamW, of Muon
Weights = Mapping[str, torch.nn.Parameter]


class Average:
    """Exponential moving average of weights by diffusers' EMAModel: after n updates its decay is n / (9 + n) at most.

    Args:
        weights: The trained parameters, by name.
        decay: The largest decay, 0..1.
    """

    def __init__(self, weights: Weights, decay: float) -> None:
        self.weights = list(weights.values())
        self.ema = EMAModel(self.weights, decay=decay, foreach=True)
        self.held = dict(zip(weights, self.ema.shadow_params))

    def update(self, number: int) -> None:
        """Take in the weights after this update, counted from 1."""
        self.ema.optimization_step = number - 1
        self.ema.step(self.weights)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the live weights and the average; call it twice."""
        for p, held in zip(self.weights, self.held.values()):
            before = p.detach().clone()
            p.copy_(held)
            held.copy_(before)


def save(
    path: Path, weights: Weights, optimizer: torch.optim.Optimizer, about: Mapping[str, Any],
    average: Average | None = None,
) -> None:  # fmt: skip
    """Weights, their average and the optimiser's state; `about` is JSON, with `step` at least."""
    tensors = {f"average.{name}": held.contiguous() for name, held in average.held.items()} if average else {}
    for name, p in weights.items():
        state = optimizer.state.get(p, {})
        tensors[f"live.{name}"] = p.detach().contiguous()
        tensors |= {f"{key}.{name}": state[key].contiguous() for key in MOMENTS if key in state}
        tensors |= {f"step.{name}": torch.as_tensor(state["step"], dtype=torch.float32)} if "step" in state else {}
    with whole(path) as part:
        save_file(tensors, str(part), metadata={"about": json.dumps(about)})


@torch.no_grad()
def load(
    path: Path, weights: Weights, optimizer: torch.optim.Optimizer, average: Average | None = None
) -> dict[str, Any]:
    """Back to where `save` was; returns its `about`.

    Raises:
        ValueError: Where there is nothing to resume, or another model's checkpoint.
    """
    about, tensors = read(path)
    if missing := [name for name in weights if f"live.{name}" not in tensors]:
        raise ValueError(f"{path}: holds no {missing[0]}; it is of another model")
    for name, p in weights.items():
        p.copy_(tensors[f"live.{name}"])
        if average:
            average.held[name].copy_(tensors[f"average.{name}"])
        if kept := [key for key in MOMENTS if f"{key}.{name}" in tensors]:
            # Laid out as the parameter is: the fused optimiser goes by memory, not by index.
            moments = {key: torch.empty_like(p).copy_(tensors[f"{key}.{name}"]) for key in kept}
            step = tensors.get(f"step.{name}", torch.tensor(float(about["step"])))  # older files: one for all
            optimizer.state[p] = {"step": step, **moments}
    return about


def read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a checkpoint says of itself, and its tensors. ValueError where there is none."""
    if not path.exists():
        raise ValueError(f"{path.parent}: no {path.name} here to resume from; start without --resume")
    with safe_open(str(path), "pt") as file:
        about = json.loads((file.metadata() or {}).get("about", "null"))
    if about is None:
        raise ValueError(f"{path}: a checkpoint of an older release; train anew, without --resume")
    return about, load_file(str(path))
