"""Records in one file: JSON lines, a JSON array, parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rnr.degradation._lazy import need
from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.view.items import Item, Rows, Source, read_object

OBJECTS = {"record", "before", "after", "diagnosis", "truth", "scene", "findings", "beliefs", "factors", "settings"}


def table(path: Path) -> Source:
    """The run that a file holds. Raises SetupError for another suffix."""
    if path.suffix not in READERS:
        raise SetupError(f"{printable(path)}: is no file of records; name one that ends in {', '.join(READERS)}")
    return Source(path, f"{path.suffix[1:]} of records", partial(READERS[path.suffix], path))


def holds_records(path: Path) -> bool:
    """Looks at the first row: a folder may hold tables of other things."""
    try:
        first = next(table(path).items(), None)
    except (SetupError, OSError, ValueError):
        return False
    return first is not None and first[1] is not None and any(k in first[1] for k in ("diagnosis", "before"))


def _lines(path: Path) -> Rows:
    seen: dict[str, int] = {}
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _row(path, line, f"line {number}", partial(read_object, path, start), seen)
            start += len(line)


def _array(path: Path) -> Rows:
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


def _parquet(path: Path) -> Rows:
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


READERS: dict[str, Callable[[Path], Rows]] = {".jsonl": _lines, ".json": _array, ".parquet": _parquet}
