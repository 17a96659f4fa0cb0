"""The tasks of the restoration table: damage by exact factors, one picture at a time.

A task is a list of kinds with their factors in order of formation. A pair (low, high) is drawn uniformly, from the
picture's own seed; a severity in place of the factors draws all of them. A kind without a task here gets one at its
validation severity, so that nothing has to be written for a new kind. Levels are aimed at the published table that the
built-in weights are compared with: `aim` is its input PSNR in dB, measured there on 256 px crops of CBSD68.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Kind, kind_named, kinds
from rnr.degradation.synthesize import Mixture, Step, draw_seed, reaching

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

Value = float | str | tuple[float, float]
Recipe = Mapping[str, Mapping[str, Value] | float]


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


def tasks_of(names: Collection[str]) -> list[Task]:
    """The tasks of these kinds: those above that hold no other, and one for each kind that none of them shows."""
    written = [task for task in TASKS if set(task.recipe) <= set(names)]
    shown = {kind for task in TASKS for kind in task.recipe}
    rest = [kind for kind in kinds().values() if kind.name in names and kind.name not in shown]
    return written + [
        Task(f"{kind.words.title} {kind.validation_severity}", {kind.name: kind.validation_severity}, None, [])
        for kind in rest
    ]


def task_named(name: str) -> Task:
    """Raises ValueError that lists the tasks."""
    found = {task.name: task for task in tasks_of(kinds())}
    if name not in found:
        raise ValueError(f"no task {name!r}; there are {', '.join(found)}")
    return found[name]


def build(recipe: Recipe, seed: int) -> Mixture:
    """The recipe as a Mixture for one picture. Raises ValueError for a kind, factor or value that does not exist."""
    generator = torch.Generator().manual_seed(seed)
    steps = []
    for name, values in recipe.items():
        kind = kind_named(name)
        if isinstance(values, Mapping):
            factors = _factors(kind, values, generator)
        else:
            factors = reaching(kind, torch.tensor([float(values)]), generator)
        steps.append(Step(kind, torch.ones(1, dtype=torch.bool), factors, draw_seed(generator)))
    return Mixture(steps, 1)


def _factors(kind: Kind, values: Mapping[str, Value], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Those of a recipe, (1,) each. ValueError for one that is missing or too many.

    Factors that are newer than physics 1 may be missing: they are at their lowest then, as the kind was without them.
    """
    known = {factor.name for factor in kind.factors}
    wrong = ({factor.name for factor in kind.as_of(1).factors} - set(values)) | (set(values) - known)
    if wrong:
        raise ValueError(f"{kind.name}: a recipe names each factor once; check {', '.join(sorted(wrong))}")
    given = {factor.name: factor.written(factor.low) for factor in kind.factors} | dict(values)
    return {factor.name: _drawn(given[factor.name], factor.value, generator) for factor in kind.factors}


def _drawn(value: Value, check, generator: torch.Generator) -> torch.Tensor:
    """A factor (1,): a fixed number, a choice by its word, or uniform between two numbers."""
    if not isinstance(value, tuple):
        return torch.tensor([check(value)])
    low, high = check(value[0]), check(value[1])
    return low + (high - low) * torch.rand(1, generator=generator)
