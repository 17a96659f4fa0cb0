"""metrics.jsonl: a JSON object a line, keyed by the samples seen; rows after a checkpoint are dropped on resume."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rnr.degradation.files import whole

FILE = "metrics.jsonl"
Row = dict[str, Any]
Report = Callable[[Row], None]


class Journal:
    """The record of a training.

    Args:
        folder: Where metrics.jsonl lies.
        samples: Rows after so many samples are dropped: a resumed training writes them again. 0 starts anew.
        report: Gets every row as well.

    Raises:
        ValueError: For a new training in a folder that holds the record of another.
    """

    def __init__(self, folder: Path, samples: int = 0, report: Report = lambda row: None) -> None:
        self.path, self.report = folder / FILE, report
        rows = self.rows()
        if rows and not samples:
            raise ValueError(f"{self.path}: the record of an earlier run; go on with --resume, or name another folder")
        with whole(self.path) as part:
            part.write_text("".join(json.dumps(row) + "\n" for row in rows if row["samples"] <= samples))

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row; floats with 8 decimals, NaN as null."""
        line = rounded(dict(row))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.report(line)

    def rows(self) -> list[Row]:
        """All rows; [] where there is no file yet."""
        if not self.path.is_file():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]


def rounded(value: Any) -> Any:
    """Numbers as the journal writes them."""
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return (round(value, 8) if math.isfinite(value) else None) if isinstance(value, float) else value
