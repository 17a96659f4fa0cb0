"""What the trainings of a reasoner take: the built-in one from photographs, a real Qwen3-VL from a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rnr.training.card import LICENSE, MEANING
from rnr.training.config import Settings


class ReasonerRun(Settings):
    """The settings of `rnr.reasoner.train`, by the names that settings.json and its command line have.

    Example:
        >>> ReasonerRun(data="photographs").samples
        130000
    """

    data: Path = Field(description="folder of clean photographs")
    val: Path | None = Field(default=None, description="folder of other photographs, for validation")
    objects: Path | None = Field(default=None, description="CSV of what the photographs show (recipes/objects.csv)")
    output: Path = Field(default=Path("runs/reasoner"), description="folder for checkpoints, metrics and weights")
    samples: int = Field(default=130_000, ge=1, description="length of the schedule")
    batch: int = Field(default=16, ge=1, description="samples in a step")
    lr: float = Field(default=1e-3, gt=0, description="learning rate at its highest")
    warmup: int = Field(default=200, ge=1, description="steps until the highest rate")
    seed: int = Field(default=0, ge=0, description="of everything that is drawn")
    license: str = Field(default=LICENSE, description=MEANING)
    resume: bool = Field(default=False, description="go on from the last checkpoint in the output folder")
    init: Path | None = Field(default=None, description="start from these weights: new schedule, no easy beginning")
    depth: int | None = Field(default=None, description="with --init: more vision layers, that start as the identity")
    limit: int | None = Field(default=None, ge=1, description="read at most so many photographs")
    save_seconds: float = Field(default=120, ge=0, description="time between two checkpoints")
    log_every: int = Field(default=20, ge=1, description="steps")
    eval_every: int = Field(default=10_000, ge=1, description="samples")
    val_rows: int = Field(default=192, ge=1, description="damaged regions to validate on")
    workers: int = Field(default=0, ge=0, description="processes that make the rows; 1 takes a third off a step")
    threads: int = Field(default=1, ge=1, description="CPU threads")


class Views(BaseModel):
    """Of a checkpoint that brings none of its own."""

    model_config = ConfigDict(extra="forbid")

    side: int = Field(default=448, ge=32, multiple_of=32, description="px of a view; 448 are 196 tokens")


class FinetuneRecipe(Settings):
    """What `rnr.reasoner.finetune` takes, by the names that a recipe (TOML) has.

    Example:
        >>> FinetuneRecipe(lora={"r": 32}).views.side
        448
    """

    prompt: str = Field(default="diagnose_tuned", description="prompt that is trained on and named in the card")
    load: dict[str, Any] = Field(default={}, description="how the model is loaded: dtype, attention, quantization, ...")
    views: Views = Views()
    lora: dict[str, Any] = Field(default={}, description="names of peft.LoraConfig")
    training: dict[str, Any] = Field(default={}, description="names of trl.SFTConfig")
