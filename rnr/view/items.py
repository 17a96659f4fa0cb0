"""What a source gives: items, the rows of the table.

Raw records are not kept: 10,000 of them would fill the memory for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnr.degradation.errors import Error
from rnr.view.facts import Facts

AGAIN = "again"  # folder beside a run: what was run again on its pages
NOTES = "view-notes.jsonl"
Held = tuple[Path, Callable[[Path], bytes]]
Rows = Iterator[tuple["Item", dict[str, Any] | None]]


@dataclass
class Item:
    """One row of the table.

    Attributes:
        name: As people see it.
        identity: What it is called in its source for good; its key is made of this.
        folder: Where relative names in the record start.
        read: Reads the raw record, from disk.
        pictures: Pictures that the source holds itself, by role: a file, and what gives a picture's bytes out of it.
        error: Why the record cannot be read; empty if it can.
        facts: What the table knows of it; filled by the library, as are the two below.
        files: By role, the files that may be the picture, and its sha256 (empty where it is not known).
        truth: The ground truth's raw record.
    """

    name: str
    identity: str
    folder: Path
    read: Callable[[], dict[str, Any]]
    pictures: dict[str, Held] = field(default_factory=dict)
    error: str = ""
    facts: Facts = field(default_factory=lambda: Facts("failed"))
    files: dict[str, tuple[list[Path], str]] = field(default_factory=dict)
    truth: Callable[[], dict[str, Any]] | None = None


@dataclass
class Source:
    """A run before its facts are known.

    Attributes:
        path: The folder or file that was given.
        kind: What it is, in words.
        items: Each with its raw record (None where it cannot be read; `item.error` says why).
        figures: Pictures of the whole run, such as an rl run's curves.
    """

    path: Path
    kind: str
    items: Callable[[], Rows]
    figures: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def notes(self) -> Path:
        """Where people's notes go: beside the run."""
        return self.path / NOTES if self.path.is_dir() else self.path.with_name(f"{self.path.name}.{NOTES}")

    @property
    def again(self) -> Path:
        """Where results go that were run again."""
        return self.path / AGAIN if self.path.is_dir() else self.path.with_name(f"{self.path.name}.{AGAIN}")


def read_object(path: Path, start: int = 0) -> dict[str, Any]:
    """The JSON object of a file, or of its line that starts at this byte. Raises ValueError, OSError."""
    with path.open("rb") as file:
        file.seek(start)
        text = file.readline() if start or path.suffix == ".jsonl" else file.read()
    data = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("holds no JSON object")
    return data


def own_folder(path: Path) -> Path:
    """A folder beside a run for results of our own, made where it is missing. Raises Error for a link."""
    if path.is_symlink():
        raise Error(f"{path}: is a link; results are not written through links")
    path.mkdir(exist_ok=True)
    return path
