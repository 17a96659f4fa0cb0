"""Where results go: what already stands there, and writing without leaving halves (`rnr.work.naming` finds the names).

For a picture `photo.jpg` the folder gets `photo.jpg` and `photo.diagnosis.json`. The JSON names its source by content
and by a hash of its place, so that a batch that was cut off can go on where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.images.files import SUFFIXES, WRITTEN, Picture, PictureError

RECORD = ".diagnosis.json"
REPORT = "report.html"
ROOM = 1 << 20  # bytes that must be free at the very least
LONGEST = 255  # bytes of a file name, on all file systems in use
Mode = Literal["refuse", "overwrite", "skip"]
_ELSEWHERE = "choose another output folder, or allow --overwrite"


def fitted(name: str, suffix: str) -> str:
    """The path with the suffix; a last part that is longer than a file name may be is cut and ends in its own hash."""
    folder, last = os.path.split(name)
    room = LONGEST - len(os.fsencode(suffix))
    if len(os.fsencode(last)) > room:
        cut = os.fsencode(last)[: room - 9].decode("utf-8", "ignore")
        last = f"{cut}-{hashlib.sha256(os.fsencode(last)).hexdigest()[:8]}"
    return os.path.join(folder, last + suffix)


def place_of(path: Path) -> str:
    """A hash of where a file lies, by which its results are known again without naming anybody's folders."""
    return hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()[:16]


def source_of(path: Path) -> dict[str, str]:
    """How a record names the picture that it is about."""
    return {"file": printable(path.name), "sha256": digest(path), "place": place_of(path)}


@dataclass(frozen=True)
class Job:
    """One picture of a batch and the name of its results, that no other picture of the batch has.

    Attributes:
        source: The picture.
        name: Below the output folder, without suffix, or with that of the picture (`whole`).
        whole: Whether the name holds the suffix.
    """

    source: Path
    name: str
    whole: bool = False

    def record(self, out: Path) -> Path:
        return out / fitted(self.name, RECORD)

    @property
    def link(self) -> str:
        """The record as a page in the output folder links to it; `./` keeps a colon from being a scheme."""
        return "./" + quote(os.fsencode(fitted(self.name, RECORD)).replace(os.fsencode(os.sep), b"/"))

    @property
    def file(self) -> str:
        """The output of a picture that keeps its format."""
        return fitted(self.name.removesuffix(self.source.suffix) if self.whole else self.name, self.source.suffix)

    @property
    def claims(self) -> set[str]:
        """The files that it may write, as a file system sees them that does not tell capitals."""
        files = {fitted(self.name, RECORD), self.file}
        if SUFFIXES.get(self.source.suffix.lower()) not in WRITTEN:
            files.add(fitted(self.name, ".png"))
        return {file.casefold() for file in files}

    def picture(self, out: Path, picture: Picture, copied: bool) -> Path:
        """The output: the source's own suffix wherever that fits its format."""
        fits = SUFFIXES.get(self.source.suffix.lower()) == picture.format and (copied or picture.writable)
        return out / (self.file if fits else fitted(self.name, picture.copied_suffix if copied else picture.suffix))

    def written(self, out: Path, data: dict[str, Any]) -> Path:
        """The output that a record speaks of."""
        output = str(data.get("output", ""))
        own = Path(self.file)
        return out / (self.file if output == printable(own.name) else fitted(self.name, Path(output).suffix))


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
    """The output folder, and the pictures of the batch, which nothing may replace."""

    def __init__(self, out: Path, jobs: Sequence[Job]) -> None:
        self.out = out
        self.originals = {identity for job in jobs if (identity := _identity(job.source))}

    def finished(self, job: Job, mode: Mode, request: dict[str, Any]) -> dict[str, Any] | None:
        """The record of a picture that is done already, None if there is work to do. Raises PictureError if refused."""
        data = read_record(job.record(self.out))
        places = {self.out / job.file, job.written(self.out, data), job.record(self.out)}
        there = sorted(path for path in places if os.path.lexists(path))
        for path in there:
            if _identity(path) in self.originals:
                problem = "the result would take the place of an original"
                raise PictureError(path, problem, "choose another output folder")
        if not there or mode == "overwrite":
            return None
        if mode == "refuse":
            remedy = "choose another output folder, allow --overwrite, or go on with --skip-existing"
            raise PictureError(there[0], "already exists", remedy)
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


def read_record(path: Path) -> dict[str, Any]:
    """What a record holds; empty if there is none that can be read."""
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
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        remedy = "free some space or choose another folder"
        raise PictureError(path, f"cannot be written ({error.strerror})", remedy) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def report_path(out: Path, mode: Mode, results: set[str]) -> Path:
    """report.html, report-2.html, ...: one is replaced if asked for, or if it holds none but these results (keys)."""
    path, count = out / REPORT, 1
    while path.exists() and mode != "overwrite" and not (mode == "skip" and _results_of(path) <= results):
        count += 1
        path = out / f"report-{count}.html"
    return path


def _results_of(path: Path) -> set[str]:
    """The keys of a report's results; a file that is no such report has one that nothing else has."""
    with contextlib.suppress(OSError):
        found = re.search(r'<meta name="results" content="([0-9a-f ]*)">', path.read_text("utf-8", "replace"))
        if found:
            return set(found[1].split())
    return {"another's"}


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
