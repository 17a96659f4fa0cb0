"""What every training takes: one pydantic model, from TOML or keywords."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Precision = Literal["auto", "fp32", "bf16"]


class Run(BaseModel):
    """Settings of a training that do not depend on what is learned.

    Example:
        >>> Run(out="runs/noise", samples=1000).rate
        0.001
    """

    model_config = ConfigDict(extra="forbid")

    out: Path = Field(description="folder for checkpoint, metrics and weights")
    samples: int = Field(150_000, ge=1, description="length of the schedule, in the objective's own unit")
    rate: float = Field(1e-3, gt=0, description="learning rate at its highest")
    warm_up: int = Field(2_000, ge=1, description="samples until the highest rate")
    seed: int = Field(0, ge=0, description="of everything that is drawn")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the average of the weights, reached by a ramp")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    echo: int = Field(1, ge=1, description="updates on each batch, where making a batch is dear")
    precision: Precision = Field("auto", description="auto: the faster of bf16 and fp32 on this machine, by a timing")
    device: str = Field("cpu", description="cpu, cuda, ...")
    threads: int = Field(1, ge=1, description="CPU threads; several trainings side by side take one each")
    minutes: float | None = Field(None, gt=0, description="stop, with a checkpoint, after this time")
    checkpoint_seconds: float = Field(120, ge=0, description="time between two checkpoints")
    validate_seconds: float = Field(600, gt=0, description="time between two validations")
    resume: bool = Field(False, description="go on from the checkpoint in `out`")

    @classmethod
    def read(cls, path: str | Path, **overrides: Any) -> Run:
        """Settings of a TOML file, some of them overridden.

        Raises:
            ValueError: Names the file and each mistake.
        """
        try:
            given = tomllib.loads(Path(path).read_text(encoding="utf-8"))
            return cls(**given | {name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            mistakes = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError(f"{path}: {mistakes}") from None
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"{path}: cannot be read as a training's settings ({error})") from None
