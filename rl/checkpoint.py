"""The state of a run as one safetensors file: trained weights, their average, the optimiser's moments, the step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rnr.degradation.files import whole

NAME = "checkpoint.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")


class Average:
    """Exponential moving average of trained weights; the decay ramps up with the steps."""

    def __init__(self, weights: dict[str, torch.nn.Parameter], decay: float) -> None:
        self.live, self.decay = weights, decay
        self.held = {name: p.detach().clone() for name, p in weights.items()}

    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.held.values()), list(self.live.values()), 1 - decay)

    def swap(self) -> None:
        """Exchange the live weights and the average; call it twice."""
        with torch.no_grad():
            for name, p in self.live.items():
                before = p.detach().clone()
                p.copy_(self.held[name])
                self.held[name].copy_(before)


def save(folder: Path, average: Average, optimizer: torch.optim.Optimizer, about: dict[str, Any]) -> None:
    """Written under a temporary name and renamed: a kill leaves the old one or the new one."""
    tensors = {f"live.{name}": p.detach().contiguous() for name, p in average.live.items()}
    tensors |= {f"average.{name}": p.contiguous() for name, p in average.held.items()}
    for name, p in average.live.items():
        state = optimizer.state.get(p, {})
        tensors |= {f"{key}.{name}": state[key].contiguous() for key in MOMENTS if key in state}
        tensors |= {f"step.{name}": state["step"].float()} if "step" in state else {}
    path = folder / NAME
    with whole(path) as part:
        save_file(tensors, str(part), metadata={"about": json.dumps(about)})


def load(folder: Path, average: Average, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Back to where `save` was; returns its `about`. ValueError where there is nothing to resume from."""
    path = folder / NAME
    if not path.exists():
        raise ValueError(f"{folder}: no {NAME} here to resume from; start without --resume")
    with safe_open(str(path), "pt") as file:
        about = json.loads(file.metadata()["about"])
    tensors = load_file(str(path))
    with torch.no_grad():
        for name, p in average.live.items():
            if f"live.{name}" not in tensors:
                raise ValueError(f"{path}: holds no {name}; it is of another model or adapter")
            p.copy_(tensors[f"live.{name}"])
            average.held[name].copy_(tensors[f"average.{name}"])
            if f"step.{name}" in tensors:
                moments = {key: torch.empty_like(p).copy_(tensors[f"{key}.{name}"]) for key in MOMENTS}
                optimizer.state[p] = {"step": tensors[f"step.{name}"], **moments}
    return about
