"""`rnr records OUT --to parquet|jsonl|hf|inspect`: the records of a run as one flat table with fixed types.

A row per picture. Columns: who and what (`file`, `picture_sha256`, `width`, `height`, `model`, `model_hash`, `prompt`,
`prompt_version`, `physics`, `seconds`, `error`), the answer (`text`, `plan`, `technical`), by kind `KIND_present`,
`KIND_severity`, `KIND_probability`, `KIND_expected`, `KIND_low`, `KIND_high`, `KIND_evidence`, where the run restored
`KIND_left`, and `record`, the whole record as JSON text. Not asked and could not say are null, never 0. `hf` is a
folder for `datasets.load_from_disk` with the pictures in a column `image`, `inspect` a log for inspect_ai. `rnr view`
reads the flat files.
"""

from __future__ import annotations

import glob
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnr.degradation._lazy import need
from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable, whole
from rnr.degradation.kind import kinds
from rnr.view.items import Item
from rnr.view.sources import sources_of
from rnr.work.outputs import write_text

FORMATS = {"jsonl": ".jsonl", "parquet": ".parquet", "hf": "", "inspect": ".json"}
TEXT = ("file", "picture_sha256", "model", "model_hash", "prompt", "prompt_version", "error", "text")
OF_KIND = {"present": "bool", "severity": "int64", "probability": "float64", "expected": "float64", "low": "float64",
           "high": "float64", "evidence": "string", "left": "float64"}  # fmt: skip
Row = dict[str, Any]


def columns() -> dict[str, str]:
    """Every column and its arrow type, in order."""
    rest = {"width": "int64", "height": "int64", "physics": "int64", "seconds": "float64", "technical": "int64"}
    result = dict.fromkeys(TEXT, "string") | rest | {"plan": "list<string>"}
    result |= {f"{kind}_{name}": form for kind in kinds() for name, form in OF_KIND.items()}
    return result | {"record": "string"}


def rows(results: Path) -> Iterator[tuple[Item, Row]]:
    """Items of a run and their rows. Raises SetupError where there are none."""
    for source in sources_of(results):
        for item, data in source.items():
            yield item, row_of(item, data)


def row_of(item: Item, data: dict[str, Any] | None) -> Row:
    """One row; of a record that cannot be read, its name and error."""
    row: Row = dict.fromkeys(columns()) | {"file": item.name, "error": item.error or None, "record": None}
    if data is None:
        return row
    row["record"] = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    try:
        before = record_of(data.get("before", data))
        after = record_of(data["after"]) if data.get("after") else None
    except ValueError as error:
        return row | {"error": f"no record of a diagnosis ({str(error).splitlines()[0]})"}
    return row | flat(before, after) | {"file": item.name}


def record_of(data: dict[str, Any]) -> DiagnosisRecord:
    """A record, without the fields of its surroundings (`file`, `source`). Raises ValueError."""
    known = {name: value for name, value in data.items() if name in DiagnosisRecord.model_fields}
    return DiagnosisRecord.model_validate({"diagnosis": None} | known)


def flat(record: DiagnosisRecord, after: DiagnosisRecord | None) -> Row:
    """The columns of one record; `after` is the diagnosis of the result."""
    row: Row = {name: getattr(record, name) for name in (*TEXT[1:], "physics", "seconds")}
    row["width"], row["height"] = record.picture_size or (None, None)
    diagnosis = record.diagnosis
    row["technical"] = diagnosis.quality.technical if diagnosis else None
    row["plan"] = list(diagnosis.plan) if diagnosis else None
    for kind in kinds():
        finding = diagnosis.findings.get(kind) if diagnosis else None
        belief = record.belief(kind)
        low, high = (belief.interval if belief else None) or (None, None)
        values = {
            "present": finding.present if finding else None, "severity": finding.severity if finding else None,
            "probability": belief.probability if belief else None, "expected": record.expected_severity(kind),
            "low": low, "high": high, "evidence": finding.evidence if finding else None,
            "left": after.expected_severity(kind) if after else None,
        }  # fmt: skip
        row |= {f"{kind}_{name}": value for name, value in values.items()}
    return row


def export(
    results: Path, to: str, out: Path | None = None, images: Path | None = None, overwrite: bool = False
) -> tuple[Path, int]:
    """Write the records of a run.

    Args:
        results: A folder or file that `rnr view` reads.
        to: One of `FORMATS`.
        out: File or folder; `records.jsonl`, `records.parquet` or `records-hf` in the working folder by default.
        images: Folder of the pictures, for `hf` and `inspect`; by default they are looked for beside the results.
        overwrite: Replace it.

    Returns:
        What was written, and how many records.

    Raises:
        SetupError: For another format, for results that hold no records, and for an output that exists.
        MissingExtra: Where pyarrow or datasets is missing.
    """
    if to not in FORMATS:
        raise SetupError(f"--to is one of {', '.join(FORMATS)}, not {to}")
    path = out or Path(f"records{FORMATS[to]}" if FORMATS[to] else "records-hf")
    if path.exists() and not overwrite:
        raise SetupError(f"{printable(path)}: already exists; choose another name with -o, or allow --overwrite")
    found = list(rows(results))
    if not found:
        raise SetupError(f"{printable(results)}: holds no records")
    if to in ("jsonl", "parquet"):
        {"jsonl": _jsonl, "parquet": _parquet}[to](found, path)
    else:
        {"hf": _hf, "inspect": _inspect}[to](found, path, images)
    return path, len(found)


def _jsonl(found: list[tuple[Item, Row]], path: Path) -> None:
    with whole(path) as part, part.open("w", encoding="utf-8") as file:
        for _, row in found:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _parquet(found: list[tuple[Item, Row]], path: Path) -> None:
    arrow = need("pyarrow", "view")
    parquet = need("pyarrow.parquet", "view")
    types = {"string": arrow.string(), "int64": arrow.int64(), "float64": arrow.float64(), "bool": arrow.bool_(),
             "list<string>": arrow.list_(arrow.string())}  # fmt: skip
    schema = arrow.schema([(name, types[form]) for name, form in columns().items()])
    with whole(path) as part:
        parquet.write_table(arrow.Table.from_pylist([row for _, row in found], schema=schema), part)


def _hf(found: list[tuple[Item, Row]], path: Path, images: Path | None) -> None:
    datasets = need("datasets", "train")
    form: dict[str, Any] = {
        name: datasets.List(datasets.Value("string")) if kind == "list<string>" else datasets.Value(kind)
        for name, kind in columns().items()
    }
    table: dict[str, list[Any]] = {name: [row[name] for _, row in found] for name in form}
    table["image"] = [_picture(row, images or item.folder) for item, row in found]
    made = datasets.Dataset.from_dict(table, datasets.Features(form | {"image": datasets.Image()}))
    if path.exists():
        shutil.rmtree(path)
    made.save_to_disk(str(path))


def _inspect(found: list[tuple[Item, Row]], path: Path, images: Path | None) -> None:
    from rnr.view.inspect_log import log_of

    held = [(row, _picture(row, images or item.folder)) for item, row in found]
    log = log_of([(row, picture["bytes"] if picture else None) for row, picture in held], path.stem)
    write_text(path, json.dumps(log, ensure_ascii=False))


def _picture(row: Row, folder: Path) -> dict[str, Any] | None:
    """The picture before restoration as PNG bytes, None where its file is gone or is another one."""
    from PIL import Image

    from rnr.images.files import PictureError, read_picture
    from rnr.reasoner.views import as_uint8
    from rnr.work.outputs import digest

    source = (json.loads(row["record"]).get("source") or {}) if row["record"] else {}
    name = Path(row["file"])
    for path in (name, *sorted(folder.rglob(glob.escape(name.name)))):
        if not path.is_file() or source.get("sha256") not in (None, digest(path)):
            continue
        try:
            pixels = as_uint8(read_picture(path).pixels_HWC3)
        except PictureError:
            continue
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "PNG")
        return {"bytes": data.getvalue(), "path": None}
    return None
