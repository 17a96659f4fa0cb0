"""The tasks of the restoration table: damage by exact factors, one picture at a time.

A task is a list of kinds with their factors in order of formation; a pair (low, high) is drawn uniformly, from the
picture's own seed. Levels are aimed at the published table that the built-in weights are held against: `aim` is its
input PSNR in dB, measured there on 256 px crops of CBSD68.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import kind_named
from rnr.degradation.synthesize import Mixture, Step, draw_seed

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

Value = float | str | tuple[float, float]
Recipe = Mapping[str, Mapping[str, Value]]


@dataclass(frozen=True)
class Task:
    """A row of the table. `baselines` chains names from `rnr.evaluation.baselines`, applied from left to right."""

    name: str
    recipe: Recipe
    aim: float | None
    baselines: Sequence[tuple[str, ...]]

    @property
    def kinds(self) -> list[str]:
        return list(self.recipe)


def noise(sigma: float) -> dict[str, Value]:
    return {"type": "gaussian", "sigma": sigma, "colour": "per_channel"}


HAZE: dict[str, Value] = {"transmission": (0.3, 0.7), "airlight": (0.8, 1.0)}
RAIN: dict[str, Value] = {
    "density": (7, 16), "length": (16, 40), "angle": (-30, 30), "width": (1.2, 2.2), "brightness": (0.6, 0.9),
}  # fmt: skip
DARK: dict[str, Value] = {"exposure": (0.25, 0.45), "gamma": (1.2, 1.8), "noise": 0.0}
MOTION_15 = 15 / 12**0.5  # standard deviation of a uniform line of 15 px

DENOISE = [("wavelet",), ("nlm",), ("tv",)]
DEHAZE = [("dark_channel",), ("auto_levels",), ("clahe",)]
DERAIN = [("opening",), ("median",), ("tv",)]
DEBLUR = [("unsharp",), ("wiener",), ("richardson_lucy",)]
RELIGHT = [("auto_levels",), ("gamma",), ("clahe",)]
DEBLOCK = [("tv",), ("bilateral",), ("wavelet",)]
CLEAR = [("wavelet", "dark_channel"), ("dark_channel", "wavelet"), ("wavelet", "auto_levels")]
BRIGHTEN = [("wavelet", "auto_levels"), ("auto_levels", "wavelet"), ("auto_levels",)]
SHARPEN = [("wavelet",), ("wavelet", "unsharp"), ("wiener",), ("tv",)]
DRY = [("opening", "dark_channel"), ("dark_channel", "opening"), ("auto_levels",)]
ALL_THREE = [("wavelet", "dark_channel"), ("wavelet", "opening", "dark_channel"), ("wavelet", "opening", "auto_levels")]

TASKS = (
    Task("noise 15", {"noise": noise(15)}, 24.8, DENOISE),
    Task("noise 25", {"noise": noise(25)}, 20.5, DENOISE),
    Task("noise 50", {"noise": noise(50)}, 15.0, DENOISE),
    Task("haze", {"haze": HAZE}, 11.6, DEHAZE),
    Task("rain", {"rain": RAIN}, 16.3, DERAIN),
    Task("blur 2", {"blur": {"type": "gaussian", "width": 2.0, "angle": 0.0}}, 23.8, DEBLUR),
    Task("motion 15", {"blur": {"type": "motion", "width": MOTION_15, "angle": (0, 175)}}, 22.3, DEBLUR),
    Task("low light", {"low_light": DARK}, 9.5, RELIGHT),
    Task("jpeg 10", {"compression": {"quality": 10.0, "subsampling": "420"}}, 25.3, DEBLOCK),
    Task("haze+noise", {"haze": HAZE, "noise": noise(15)}, 11.5, CLEAR),
    Task("rain+haze", {"haze": HAZE, "rain": RAIN}, 9.9, DRY),
    Task("blur+noise", {"blur": {"type": "gaussian", "width": 1.6, "angle": 0.0}, "noise": noise(10)}, 22.9, SHARPEN),
    Task("low light+noise", {"low_light": DARK, "noise": noise(10)}, 9.3, BRIGHTEN),
    Task(
        "haze+rain+noise",
        {"haze": HAZE | {"transmission": (0.2, 0.6)}, "rain": RAIN, "noise": noise(15)},
        8.5,
        ALL_THREE,
    ),
    Task("clean", {}, None, []),
)


def task_named(name: str) -> Task:
    """Raises ValueError that lists the tasks."""
    for task in TASKS:
        if task.name == name:
            return task
    raise ValueError(f"no task {name!r}; there are {', '.join(task.name for task in TASKS)}")


def build(recipe: Recipe, seed: int) -> Mixture:
    """The recipe as a Mixture for one picture. Raises ValueError for a kind, factor or value that does not exist."""
    generator = torch.Generator().manual_seed(seed)
    steps = []
    for name, values in recipe.items():
        kind = kind_named(name)
        missing = {factor.name for factor in kind.factors} ^ set(values)
        if missing:
            raise ValueError(f"{name}: a recipe names each factor once; check {', '.join(sorted(missing))}")
        factors = {factor.name: _drawn(values[factor.name], factor.value, generator) for factor in kind.factors}
        steps.append(Step(kind, torch.ones(1, dtype=torch.bool), factors, draw_seed(generator)))
    return Mixture(steps, 1)


def _drawn(value: Value, check, generator: torch.Generator) -> torch.Tensor:
    """A factor (1,): a fixed number, a choice by its word, or uniform between two numbers."""
    if not isinstance(value, tuple):
        return torch.tensor([check(value)])
    low, high = check(value[0]), check(value[1])
    return low + (high - low) * torch.rand(1, generator=generator)
