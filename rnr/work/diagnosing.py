"""`rnr diagnose`: records of many pictures, as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.files import printable
from rnr.images.files import PictureError
from rnr.images.frames import Frames
from rnr.work.console import json_stdout, reason_of
from rnr.work.each import Files
from rnr.work.models import Models
from rnr.work.restoring import diagnose_pixels


@dataclass(frozen=True)
class Row:
    """A file, or one of its pages or frames, and its record; one that failed has `error` and no diagnosis."""

    file: str
    record: DiagnosisRecord
    frame: int = 1
    place: str = ""  # page 2 of 3

    @property
    def title(self) -> str:
        return f"{self.file}, {self.place}" if self.place else self.file

    def as_json(self) -> dict[str, Any]:
        return {"file": self.file, "frame": self.frame, **self.record.model_dump(mode="json")}


def diagnose_all(files: Files, models: Models, stream: bool = False) -> Iterator[Row]:
    """Every picture once; `stream` prints each row as a line of JSON. Raises SetupError."""

    def rows_of(path: Path, frames: Frames) -> list[Row]:
        records = [diagnose_pixels(models, picture.pixels_HWC3, str(path)) for picture in frames.pictures]
        return [Row(printable(path), each, number, frames.words(number)) for number, each in enumerate(records, 1)]

    for row in files.each(rows_of, _failed, lambda: models.at_once):
        if stream:
            json_stdout(fixed(row.as_json()))
        yield row


def fixed(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose columns have the same type in every line: tables take the types of the first lines for all.

    `error` is a string, empty where there is none, and numbers among the factors are floats.
    """
    findings = (row["diagnosis"] or {}).get("findings", {})
    typed = {
        name: {
            **finding,
            "factors": {key: float(v) if isinstance(v, int) else v for key, v in finding["factors"].items()},
        }
        for name, finding in findings.items()
    }
    diagnosis = {**row["diagnosis"], "findings": typed} if row["diagnosis"] else None
    return {**row, "diagnosis": diagnosis, "error": row["error"] or ""}


def _failed(problem: PictureError) -> Row:
    return Row(printable(problem.file), DiagnosisRecord(diagnosis=None, error=reason_of(problem)))
