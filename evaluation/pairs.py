"""Clean and degraded pictures to restore: by task, by kind and severity, or from two folders.

Shapes: images are (1, 3, H, W) float in [0, 1] on 8-bit levels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.kind import kinds
from rnr.degradation.photographs import centre_of, read_folder, to_tensor
from rnr.degradation.synthesize import Mixture, degrade, prescribe, truths
from rnr.evaluation.recipes import Task, build

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

SWEEP = (10, 25, 40, 55, 70, 85)  # severities of the plot, as far as a kind goes


@dataclass
class Pair:
    """One picture of one task. Without a mixture nobody knows what was done to it."""

    task: str
    picture: str
    clean: torch.Tensor
    degraded: torch.Tensor
    mixture: Mixture | None = None
    chains: Sequence[tuple[str, ...]] = ()
    kind: str | None = None  # of a sweep over severities
    severity: float | None = None

    def truth(self) -> Diagnosis | None:
        return truths(self.clean, self.degraded, self.mixture)[0] if self.mixture else None


def task_pairs(photographs: Mapping[str, np.ndarray], tasks: Sequence[Task], size: int, seed: int) -> Iterator[Pair]:
    """Every task on the centre (`size` px; 0 = the whole) of every photograph."""
    for number, (name, photograph) in enumerate(photographs.items()):
        clean = centre_of(photograph, size)
        for task in tasks:
            mixture = build(task.recipe, seed + number)
            yield Pair(task.name, name, clean, degrade(clean, mixture), mixture, task.baselines)


def levels_of(names: Collection[str]) -> list[tuple[str, int]]:
    """Each of these kinds with the severities of the sweep that it can reach."""
    chosen = [kind for kind in kinds().values() if kind.name in names]
    return [(kind.name, level) for kind in chosen for level in SWEEP if level <= kind.top]


def sweep_pairs(
    photographs: Mapping[str, np.ndarray], size: int, seed: int, levels: Sequence[tuple[str, int]]
) -> Iterator[Pair]:
    """Each kind alone at rising severities (`levels_of`)."""
    for number, (name, photograph) in enumerate(photographs.items()):
        clean = centre_of(photograph, size)
        for kind, severity in levels:
            mixture = prescribe({kind: severity}, seed + number)
            task = f"{kind} at {severity}"
            yield Pair(task, name, clean, degrade(clean, mixture), mixture, kind=kind, severity=severity)


def folder_pairs(
    clean: Path, degraded: Path, chains: Sequence[tuple[str, ...]], limit: int | None = None
) -> Iterator[Pair]:
    """Pictures of two folders, matched by their path without suffix; a subfolder of `degraded` is a task of its own.

    Raises ValueError that names a degraded picture whose clean one is missing or of another size.
    """
    originals = {Path(name).with_suffix("").as_posix(): p for name, p in read_folder(clean).items()}
    for name, picture in read_folder(degraded, limit).items():
        path = Path(name).with_suffix("")
        original = originals.get(path.as_posix(), originals.get(path.name))
        if original is None:
            raise ValueError(f"{degraded / name}: no picture called {path.name} in {clean}")
        if original.shape != picture.shape:
            raise ValueError(
                f"{degraded / name}: its clean picture has another size, {original.shape} not {picture.shape}"
            )
        task = path.parent.as_posix() if path.parent != Path() else degraded.name
        yield Pair(task, name, to_tensor(original), to_tensor(picture), chains=chains)
