"""Where results go: a name for every picture, what already stands there, and writing without leaving halves.

For a picture `photo.jpg` the folder gets `photo.jpg` and `photo.diagnosis.json`. Two sources of one name get `photo`
and `photo-2`. The JSON names its source by content, so that a batch that was cut off can go on where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rnr.core import SetupError
from rnr.pictures import SUFFIXES, Picture, PictureError

RECORD = ".diagnosis.json"
REPORT = "report.html"
ROOM = 1 << 20  # bytes that must be free at the very least
Mode = Literal["refuse", "overwrite", "skip"]
_ELSEWHERE = "choose another output folder, or allow --overwrite"


def printable(path: str | os.PathLike[str]) -> str:
    """A file name as people may see it: no control characters, no bytes that are not UTF-8."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text)


@dataclass(frozen=True)
class Job:
    """One picture of a batch and the name of its results, without suffix, that no other picture of the batch has."""

    source: Path
    name: str

    def record(self, out: Path) -> Path:
        return out / (self.name + RECORD)

    def picture(self, out: Path, picture: Picture, copied: bool) -> Path:
        """The output: the source's own suffix wherever that fits its format."""
        own = self.source.suffix
        fits = SUFFIXES.get(own.lower()) == picture.format and (copied or picture.format != "GIF")
        return out / (self.name + (own if fits else ".gif" if copied and picture.format == "GIF" else picture.suffix))

    def written(self, out: Path, data: dict[str, Any]) -> Path:
        """The output that a record speaks of."""
        return out / (self.name + Path(str(data.get("output", ""))).suffix)


def plan(sources: Sequence[Path]) -> list[Job]:
    """Names that differ even where capitals do not count; the first of several keeps its own."""
    taken = {source.stem.casefold() for source in sources}
    seen: set[str] = set()
    jobs = []
    for source in sources:
        name, count = source.stem, 1
        while name.casefold() in seen or (count > 1 and name.casefold() in taken):
            count += 1
            name = f"{source.stem}-{count}"
        seen.add(name.casefold())
        jobs.append(Job(source, name))
    return jobs


def leave_out(sources: list[Path], arguments: Sequence[str], out: Path) -> list[Path]:
    """Without earlier results: what a folder or a glob found inside the output folder, unless it was named outright."""
    named = {Path(argument) for argument in arguments if os.path.lexists(argument)}
    inside = out.resolve()
    return [source for source in sources if source in named or inside not in source.resolve().parents]


def prepare_folder(out: Path, sources: Sequence[Path]) -> None:
    """Make the folder and write a probe. Raises SetupError before any work is done."""
    if out.suffix.lower() in SUFFIXES and not out.is_dir():
        raise SetupError(f"{printable(out)}: -o names a folder, not a picture; the results keep their own names")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".{secrets.token_hex(8)}.tmp"
        probe.touch()
        probe.unlink()
        free = shutil.disk_usage(out).free
    except FileExistsError:
        raise SetupError(f"{printable(out)}: is a file; choose another output folder") from None
    except OSError as error:
        problem = f"cannot write here ({error.strerror}); choose another output folder"
        raise SetupError(f"{printable(out)}: {problem}") from None
    wanted = max(ROOM, sum(_size(source) for source in sources) // 4)  # restored pictures are often smaller files
    if free < wanted:
        problem = f"only {free / 1e6:.1f} MB are free, at least {wanted / 1e6:.1f} MB are needed"
        raise SetupError(f"{printable(out)}: {problem}; free some space or choose another output folder")


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


class Shelf:
    """What the output folder held when the batch began."""

    def __init__(self, out: Path, jobs: Sequence[Job]) -> None:
        self.out = out
        self.files: dict[str, list[Path]] = {}
        for path in sorted(out.iterdir()):
            if path.suffix.lower() in SUFFIXES or path.name.endswith(RECORD):
                stem = path.name[: -len(RECORD)] if path.name.endswith(RECORD) else path.stem
                self.files.setdefault(stem.casefold(), []).append(path)
        self.originals = {identity for job in jobs if (identity := _identity(job.source))}

    def finished(self, job: Job, mode: Mode, request: dict[str, Any]) -> dict[str, Any] | None:
        """The record of a picture that is done already, None if there is work to do. Raises PictureError if refused."""
        there = self.files.get(job.name.casefold(), [])
        for path in there:
            if _identity(path) in self.originals:
                problem = "the result would take the place of an original"
                raise PictureError(path, problem, "choose another output folder")
        if not there or mode == "overwrite":
            return None
        if mode == "refuse":
            remedy = "choose another output folder, allow --overwrite, or go on with --skip-existing"
            raise PictureError(there[0], "already exists", remedy)
        data = _read_record(job.record(self.out))
        if data.get("source", {}).get("sha256") != digest(job.source):
            raise PictureError(there[0], "already exists and is not a result of this picture", _ELSEWHERE)
        if data.get("request") != request:
            raise PictureError(there[0], "already exists, restored with other settings", _ELSEWHERE)
        return data if job.written(self.out, data).is_file() else None


def _identity(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None


def _read_record(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict):
            return data
    return {}


def digest(path: Path) -> str:
    """sha256 of the file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def write_text(path: Path, text: str) -> None:
    """All or nothing. Raises PictureError."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        remedy = "free some space or choose another folder"
        raise PictureError(path, f"cannot be written ({error.strerror})", remedy) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def record_beside(path: Path, data: dict[str, Any]) -> Iterator[None]:
    """Write the record, then do the body, which writes the picture; if that fails, the record is as it was before."""
    before = path.read_text(encoding="utf-8") if path.is_file() else None
    try:
        write_text(path, json.dumps(data, ensure_ascii=False, indent=1) + "\n")
        yield
    except BaseException:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            write_text(path, before)
        raise
