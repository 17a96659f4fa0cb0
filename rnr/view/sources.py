"""Where records come from: folders, JSON lines, JSON, parquet, an agent's store, rl runs.

A source gives items: a name, how to read the raw record again, and what the table has to know. Raw records are not
kept: 10,000 of them would fill the memory for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rnr.core import SetupError
from rnr.degradation._lazy import need
from rnr.outputs import RECORD, printable
from rnr.rl.record import FILE as METRICS
from rnr.view.facts import Facts

AGAIN = "again"  # folder beside a run: what was run again on its pages
NOTES = "view-notes.jsonl"
Held = tuple[Path, Callable[[Path], bytes]]
TABLES = (".jsonl", ".json", ".parquet")
OBJECTS = {"record", "before", "after", "diagnosis", "truth", "scene", "findings", "beliefs", "factors", "settings"}


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
    items: Callable[[], Iterator[tuple[Item, dict[str, Any] | None]]]
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


def sources_of(path: Path) -> list[Source]:
    """The runs at a path: itself, or each subfolder that holds one. Empty for a folder that holds pictures only.

    Raises:
        SetupError: If there is nothing, or nothing that could hold records.
    """
    if path.is_file():
        return [_table(path)]
    if not path.is_dir():
        raise SetupError(f"{printable(path)}: no such file or folder; name a folder of results or a file of records")
    one = _folder(path)
    if one:
        return [one]
    inside = (e for e in sorted(path.iterdir()) if e.is_dir() and not e.is_symlink() and not e.name.startswith("."))
    return [found for each in inside if each.name != AGAIN and (found := _folder(each))]


def _folder(path: Path) -> Source | None:
    if (path / METRICS).is_file():
        return _rl(path)
    names = sorted(each.name for each in path.iterdir() if not each.is_symlink())  # a link may lead out of the folder
    if any(name.endswith(RECORD) for name in names):
        return Source(path, "folder of records", partial(_records, path))
    if any(len(name) == 2 and next((path / name).glob("?" * 64 + ".png"), None) for name in names):
        return Source(path, "agent's store", partial(_store, path))
    tables = [path / name for name in names if name.endswith(TABLES) and not name.endswith(NOTES)]
    parts = [_table(table) for table in tables if _holds_records(table)]
    return Source(path, "folder of tables", lambda: (row for part in parts for row in part.items())) if parts else None


def _records(folder: Path) -> Iterator[tuple[Item, dict[str, Any] | None]]:
    """NAME.diagnosis.json; ground truth (`rnr degrade`) is no item of its own."""
    for path in sorted(path for path in folder.glob(f"*{RECORD}") if not path.is_symlink()):
        name = path.name.removesuffix(RECORD)
        item = Item(printable(name), name, folder, partial(read_object, path))
        try:
            data = item.read()
        except (OSError, ValueError) as error:
            yield replace(item, error=f"{printable(path.name)}: {error}"), None
            continue
        if "made" not in data:
            item.name = str((data.get("source") or {}).get("file") or item.name)
            yield item, data


def read_object(path: Path, start: int = 0) -> dict[str, Any]:
    """The JSON object of a file, or of its line that starts at this byte. Raises ValueError, OSError."""
    with path.open("rb") as file:
        file.seek(start)
        text = file.readline() if start or path.suffix == ".jsonl" else file.read()
    data = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("holds no JSON object")
    return data


def _table(path: Path) -> Source:
    read = {".jsonl": _lines, ".json": _array, ".parquet": _parquet}.get(path.suffix)
    if read is None:
        raise SetupError(f"{printable(path)}: is no file of records; name one that ends in {', '.join(TABLES)}")
    return Source(path, f"{path.suffix[1:]} of records", partial(read, path))


def _holds_records(path: Path) -> bool:
    """Looks at the first row: a folder may hold tables of other things."""
    try:
        first = next(_table(path).items(), None)
    except (SetupError, OSError, ValueError):
        return False
    return first is not None and first[1] is not None and any(k in first[1] for k in ("diagnosis", "before"))


def _lines(path: Path) -> Iterator[tuple[Item, dict[str, Any] | None]]:
    seen: dict[str, int] = {}
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _row(path, line, f"line {number}", partial(read_object, path, start), seen)
            start += len(line)


def _array(path: Path) -> Iterator[tuple[Item, dict[str, Any] | None]]:
    seen: dict[str, int] = {}
    rows = json.loads(path.read_bytes())
    for number, row in enumerate(rows if isinstance(rows, list) else [rows]):
        yield _row(path, row, f"row {number + 1}", partial(_of_array, path, number), seen)


def _of_array(path: Path, number: int) -> dict[str, Any]:
    rows = json.loads(path.read_bytes())
    return rows[number] if isinstance(rows, list) else rows


def _row(
    path: Path, row: Any, place: str, read: Callable[[], dict[str, Any]], seen: dict[str, int]
) -> tuple[Item, dict[str, Any] | None]:
    """An item of a table; `seen` counts names, for a picture may be in it twice."""
    data, error = row, ""
    if isinstance(row, bytes):
        try:
            data = json.loads(row)
        except ValueError as problem:
            data, error = None, f"{place}: not JSON ({problem})"
    if not error and not isinstance(data, dict):
        data, error = None, f"{place}: holds no JSON object"
    name = str(data.get("file") or (data.get("source") or {}).get("file") or place) if data else place
    seen[name] = seen.get(name, 0) + 1
    identity = name if seen[name] == 1 else f"{name} #{seen[name]}"
    return Item(printable(name), identity, path.parent, read, error=error), data


def _parquet(path: Path) -> Iterator[tuple[Item, dict[str, Any] | None]]:
    """Rows with the fields of `rnr diagnose --jsonl`, or with the record as JSON text in a column `record`.

    A column `image` (bytes, or {bytes, path} as `datasets` writes it) holds the pictures.
    """
    try:
        file = need("pyarrow.parquet", "view").ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are both
        raise SetupError(f"{printable(path)}: cannot be read as parquet ({error})") from None
    columns = [name for name in file.schema_arrow.names if name != "image"]
    with_pictures = "image" in file.schema_arrow.names
    seen: dict[str, int] = {}
    for group in range(file.num_row_groups):
        for number, row in enumerate(file.read_row_group(group, columns).to_pylist()):
            read = partial(_of_parquet, path, group, number, columns)
            item, data = _row(path, _record(row), f"row {group}.{number}", read, seen)
            if with_pictures:
                item.pictures["before"] = path, partial(_picture_of_parquet, group=group, number=number)
            yield item, data


def _of_parquet(path: Path, group: int, number: int, columns: list[str]) -> dict[str, Any]:
    from pyarrow.parquet import ParquetFile

    return _record(ParquetFile(path).read_row_group(group, columns).slice(number, 1).to_pylist()[0])


def _picture_of_parquet(path: Path, group: int, number: int) -> bytes:
    from pyarrow.parquet import ParquetFile

    held = ParquetFile(path).read_row_group(group, ["image"]).slice(number, 1)["image"][0].as_py()
    return (held.get("bytes") if isinstance(held, Mapping) else held) or b""


def _record(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the record it was before a table's fixed columns changed it."""
    parsed = _as_written(row)
    record = parsed.pop("record", None)
    return parsed | record if isinstance(record, dict) else parsed


def _as_written(value: Any, name: str = "") -> Any:
    """Objects that became JSON text are parsed; a map has no null for what was not asked."""
    if isinstance(value, str) and name in OBJECTS and value[:1] == "{":
        value = json.loads(value)
    if isinstance(value, dict):
        emptied = name in ("findings", "beliefs", "factors")
        return {k: _as_written(v, k) for k, v in value.items() if not (emptied and v is None)}
    return [_as_written(each, name) for each in value] if isinstance(value, list) else value


def _store(folder: Path) -> Iterator[tuple[Item, dict[str, Any] | None]]:
    """Every diagnosis that the agent noted beside a picture of its store."""
    for path in sorted(path for path in folder.glob("??/*.json") if not path.is_symlink()):
        sha256, _, note = path.name.removesuffix(".json").partition(".")
        item = Item(f"{sha256[:12]} {note[:8]}", path.name, path.parent, partial(read_object, path))
        item.pictures["before"] = path.with_name(f"{sha256}.png"), Path.read_bytes
        try:
            data = item.read()
        except (OSError, ValueError) as error:
            yield replace(item, error=f"{path.name}: {error}"), None
            continue
        if "diagnosis" in data:  # other notes are of a restoration
            yield item, data


def _rl(folder: Path) -> Source:
    names = ("curves.png", "goodhart.png")
    return Source(folder, "rl run", partial(_tasks, folder), tuple(folder / n for n in names if (folder / n).is_file()))


def _tasks(folder: Path) -> Iterator[tuple[Item, dict[str, Any] | None]]:
    """The held-out pictures of an rl run, each with all of its evaluations."""
    from rnr.view.sheets import pictures_of

    for place, task in enumerate(_evaluations(folder)):
        item = Item(f"task {task}", str(task), folder, partial(_task, folder, task))
        item.pictures = pictures_of(folder, place)
        yield item, item.read()


def _evaluations(folder: Path) -> dict[Any, list[dict[str, Any]]]:
    from rnr.rl.record import rows_of

    tasks: dict[Any, list[dict[str, Any]]] = {}
    for row in rows_of(folder):
        for picture in row.get("pictures", ()):
            tasks.setdefault(picture["task"], []).append({"step": row["step"], **picture})
    return tasks


def _task(folder: Path, task: Any) -> dict[str, Any]:
    return {"task": task, "evaluations": _evaluations(folder)[task]}
