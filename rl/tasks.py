"""Tasks: damaged pictures whose truth is known, and what a reasoner says of them. Task n depends on (seed, n) alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.photographs import random_crops, to_uint8
from rnr.degradation.synthesize import Stage, synthesize

if TYPE_CHECKING:
    import numpy as np
    import torch

    from rnr.degradation.protocols import Diagnoser
else:
    torch = LazyModule("torch")

ConditionedOn = Literal["predicted", "true", "blind"]
TRIES = 20  # draws until something is damaged


@dataclass(frozen=True)
class Task:
    """Pictures are (3, H, W) in [0, 1]; `source` is what the restorer is conditioned on."""

    number: int
    degraded: torch.Tensor
    clean: torch.Tensor
    truth: Diagnosis
    source: DiagnosisRecord | Diagnosis | None

    @property
    def present(self) -> list[str]:
        """The kinds that are truly there."""
        return self.truth.present


class Tasks:
    """`count` tasks on random crops of these photographs, made when asked for and kept.

    `names`: kinds of damage, those that the reasoner at work knows; all by default.
    """

    def __init__(
        self, photographs: Sequence[np.ndarray], count: int, size: int, seed: int, reasoner: Diagnoser | None = None,
        conditioned_on: ConditionedOn = "predicted", stage: Stage = "several", names: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        if conditioned_on == "predicted" and reasoner is None:
            raise ValueError("tasks with predicted diagnoses need a reasoner")
        self.photographs, self.count, self.size, self.seed = list(photographs), count, size, seed
        self.reasoner, self.conditioned_on, self.stage, self.names = reasoner, conditioned_on, stage, names
        self._made: dict[int, Task] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Task:
        if not 0 <= number < self.count:
            raise IndexError(number)
        if number not in self._made:
            self._made[number] = self._make(number)
        return self._made[number]

    def _make(self, number: int) -> Task:
        for attempt in range(TRIES):
            seed = (self.seed * 1_000_003 + number * TRIES + attempt) % 2**31
            clean = random_crops(self.photographs, 1, (self.size, self.size), torch.Generator().manual_seed(seed))
            degraded, truths, _ = synthesize(clean, seed, self.stage, self.names)
            if truths[0].present:
                return Task(number, degraded[0], clean[0], truths[0], self._source(degraded, truths[0]))
        raise ValueError(f"no damage in {TRIES} draws at stage {self.stage}")

    def _source(self, degraded: torch.Tensor, truth: Diagnosis) -> DiagnosisRecord | Diagnosis | None:
        if self.conditioned_on == "predicted":
            assert self.reasoner is not None  # as __init__ has seen to
            return self.reasoner.diagnose([to_uint8(degraded)])[0]
        return truth if self.conditioned_on == "true" else None


def check_truth(tasks: Sequence[Any]) -> None:
    """ValueError if the first task does not know its clean picture: no run could show then that quality follows."""
    if len(tasks) == 0:
        raise ValueError("there are no tasks")
    if getattr(tasks[0], "clean", None) is None or not hasattr(tasks[0], "present"):
        raise ValueError(
            "the tasks have no truth (`clean`, `present`): damage clean photographs, do not collect damage"
        )
