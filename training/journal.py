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
        done: Rows after so many samples (`key`) are dropped: a resumed training writes them again.
        report: Gets every row as well.
        resumed: The training goes on; else the folder may hold no record.
        key: What counts: `samples`, or `step`.

    Raises:
        ValueError: For a new training in a folder that holds the record of another.

    Example:
        >>> journal = Journal(Path("runs/journal"))
        >>> journal.write({"samples": 100, "loss": 0.25})
        >>> journal.rows()
        [{'samples': 100, 'loss': 0.25}]
    """

    def __init__(
        self, folder: Path, done: int = 0, report: Report = lambda row: None, resumed: bool = False,
        key: str = "samples",
    ) -> None:  # fmt: skip
        self.path, self.report = folder / FILE, report
        refuse_used(folder, resumed)
        kept = [row for row in self.rows() if done and row[key] <= done]
        folder.mkdir(parents=True, exist_ok=True)
        with whole(self.path) as part:
            part.write_text("".join(json.dumps(row) + "\n" for row in kept))

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row; floats with 8 decimals, NaN as null."""
        line = rounded(dict(row))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.report(line)

    def rows(self) -> list[Row]:
        """All rows."""
        return rows_of(self.path.parent)


def rows_of(folder: Path) -> list[Row]:
    """The rows of a training's record; [] where there is no file yet."""
    path = folder / FILE
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def refuse_used(folder: Path, resumed: bool) -> None:
    """ValueError where a new training would overwrite the record of an earlier one."""
    if not resumed and rows_of(folder):
        path = folder / FILE
        raise ValueError(f"{path}: the record of an earlier run; go on with --resume, or name another folder (-o)")


def rounded(value: Any) -> Any:
    """Numbers as the journal writes them."""
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return (round(value, 8) if math.isfinite(value) else None) if isinstance(value, float) else value
