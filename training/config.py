"""What a training takes: a pydantic model, from TOML, keywords or a command line."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rnr.training.card import LICENSE, MEANING

Precision = Literal["auto", "fp32", "bf16"]


class Settings(BaseModel):
    """Settings that say what they mean; names that nobody knows are refused.

    Example:
        >>> class Mine(Settings):
        ...     rate: float = 1e-3
        >>> Mine.of({"rate": 2e-3}, "here").rate
        0.002
    """

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def read(cls, path: str | Path, **overrides: Any) -> Self:
        """Settings of a TOML file, some of them overridden (None leaves one).

        Raises:
            ValueError: Names the file and each mistake.
        """
        try:
            given = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"{path}: cannot be read as a training's settings ({error})") from None
        return cls.of(given | {name: value for name, value in overrides.items() if value is not None}, str(path))

    @classmethod
    def of(cls, given: Mapping[str, Any], where: str) -> Self:
        """Settings by name. ValueError names `where` they came from and each mistake."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ValueError(f"{where}: {mistakes(error)}") from None

    @classmethod
    def parse(cls, argv: Sequence[str] | None = None, prog: str | None = None, about: str = "", **short: str) -> Self:
        """Settings of a command line: an option for each field, its description as the help; for programs alone.

        Args:
            argv: The arguments; None: those of this process.
            prog: Name of the program, for its help.
            about: What it does, for its help.
            short: One more name by field, such as `output="-o"`.
        """
        parser = argparse.ArgumentParser(prog=prog, description=about, argument_default=argparse.SUPPRESS)
        for name, field in cls.model_fields.items():
            options = [*([short[name]] if name in short else []), "--" + name.replace("_", "-")]
            if field.annotation is bool:
                parser.add_argument(*options, action="store_true", help=field.description)
            else:
                parser.add_argument(*options, required=field.is_required(), help=field.description)
        try:
            return cls.model_validate(vars(parser.parse_args(argv)))
        except ValidationError as error:
            parser.error(mistakes(error))

    def write(self, folder: Path) -> None:
        """The settings as they took effect, with each one's meaning, as config.json beside the result."""
        values, fields = self.model_dump(mode="json"), type(self).model_fields
        about = {name: {"value": value, "meaning": fields[name].description} for name, value in values.items()}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def mistakes(error: ValidationError) -> str:
    """What is wrong, field by field."""
    found = ((".".join(map(str, e["loc"])), e) for e in error.errors())
    return "; ".join(f"{where + ': ' if where else ''}{e['msg']} (got {e.get('input')!r})" for where, e in found)


class Run(Settings):
    """Settings of a training that do not depend on what is learned.

    Example:
        >>> Run(out="runs/noise", samples=1000).rate
        0.001
    """

    out: Path = Field(description="folder for checkpoint, metrics and weights")
    samples: int = Field(default=150_000, ge=1, description="length of the schedule, in the objective's own unit")
    rate: float = Field(default=1e-3, gt=0, description="learning rate at its highest")
    warm_up: int = Field(default=2_000, ge=1, description="samples until the highest rate")
    seed: int = Field(default=0, ge=0, description="of everything that is drawn")
    license: str = Field(default=LICENSE, description=MEANING)
    ema: float = Field(default=0.999, ge=0, lt=1, description="decay of the average of the weights, reached by a ramp")
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    echo: int = Field(default=1, ge=1, description="times each example is learned from, where making one is dear")
    precision: Precision = Field(default="auto", description="auto: the faster of bf16 and fp32, by a timing")
    device: str = Field(default="cpu", description="cpu, cuda, ...")
    threads: int = Field(default=1, ge=1, description="CPU threads; several trainings side by side take one each")
    minutes: float | None = Field(default=None, gt=0, description="stop, with a checkpoint, after this time")
    checkpoint_seconds: float = Field(default=120, ge=0, description="time between two checkpoints")
    validate_seconds: float = Field(default=600, gt=0, description="time between two validations")
    resume: bool = Field(default=False, description="go on from the checkpoint in `out`")
