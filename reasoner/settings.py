"""What a training of the built-in reasoner takes."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rnr.training.card import LICENSE, MEANING
from rnr.training.config import Settings


class ReasonerRun(Settings):
    """The settings of `rnr.reasoner.train`, by the names that settings.json and its command line have.

    Example:
        >>> ReasonerRun(data="photographs").samples
        130000
    """

    data: Path = Field(description="folder of clean photographs")
    val: Path | None = Field(None, description="folder of other photographs, for validation")
    objects: Path | None = Field(None, description="CSV of what the photographs show (examples/label_objects.py)")
    output: Path = Field(Path("runs/reasoner"), description="folder for checkpoints, metrics and weights")
    samples: int = Field(130_000, ge=1, description="length of the schedule")
    batch: int = Field(16, ge=1, description="samples in a step")
    lr: float = Field(1e-3, gt=0, description="learning rate at its highest")
    warmup: int = Field(200, ge=1, description="steps until the highest rate")
    seed: int = Field(0, ge=0, description="of everything that is drawn")
    license: str = Field(LICENSE, description=MEANING)
    resume: bool = Field(False, description="go on from the last checkpoint in the output folder")
    init: Path | None = Field(None, description="start from these weights: new schedule, no easy beginning")
    depth: int | None = Field(None, description="with --init: more vision layers, that start as the identity")
    limit: int | None = Field(None, ge=1, description="read at most so many photographs")
    save_seconds: float = Field(120, ge=0, description="time between two checkpoints")
    log_every: int = Field(20, ge=1, description="steps")
    eval_every: int = Field(10_000, ge=1, description="samples")
    val_rows: int = Field(192, ge=1, description="damaged regions to validate on")
    workers: int = Field(0, ge=0, description="processes that make the rows; 1 takes a third off a step")
    threads: int = Field(1, ge=1, description="CPU threads")
