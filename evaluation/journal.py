"""Rows of a long benchmark, on disk as soon as they are measured, so that a killed run goes on where it was."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from rnr.evaluation.tables import Row, Table, read_csv


class Journal:
    """A growing CSV. The rows of one `key` are written together, or not at all.

    `settings` are kept beside it: rows that were measured with others are not mixed in.
    """

    def __init__(
        self, path: Path, columns: Sequence[str], key: Sequence[str], settings: dict, resume: bool = False
    ) -> None:
        self.path, self.columns, self.key = path, list(columns), list(key)
        self.rows: list[Row] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".settings.json")
        if resume and path.exists():
            self._check(beside, settings)
            self.rows = read_csv(path, words=self.key).rows
        else:
            Table(path.stem, self.columns).write_csv(path)
            beside.write_text(json.dumps(settings, sort_keys=True) + "\n")
        self._done = {self._key(row) for row in self.rows}

    def _check(self, beside: Path, settings: dict) -> None:
        held = json.loads(beside.read_text()) if beside.exists() else {}
        other = [name for name in settings if held.get(name) != json.loads(json.dumps(settings[name]))]
        if other:
            raise ValueError(
                f"{self.path}: measured with another {', '.join(other)}; leave out --resume to start again"
            )

    def done(self, **key: str) -> bool:
        return tuple(str(key[name]) for name in self.key) in self._done

    def write(self, rows: Sequence[Row]) -> None:
        """Append the rows of one key."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([_cell(row, column) for column in self.columns] for row in rows)
        self.rows += [{column: row.get(column) for column in self.columns} for row in rows]
        self._done |= {self._key(row) for row in rows}

    def _key(self, row: Row) -> tuple[str, ...]:
        return tuple(str(row.get(name)) for name in self.key)


def _cell(row: Row, column: str) -> str:
    value = row.get(column)
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
