"""`rnr diagnose`: records of many pictures, as tables for people and as JSON for programs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.images.files import PictureError, find_pictures
from rnr.images.frames import Which, read_frames
from rnr.work.console import Meter, json_stdout, problem_of, reason_of, remark_frames, tell_skipped
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


def diagnose_all(
    pictures: Sequence[str],
    recursive: bool,
    max_megapixels: float,
    models: Models,
    with_traceback: bool,
    stream: bool,
    skip_unreadable: bool = False,
    which: Which = "all",
) -> Iterator[Row]:
    """Every picture once, errors go to stderr; `stream` prints each row as a line of JSON. Raises SetupError.

    `which`: of a file with several pages or frames all have a row each, or the first alone.

    Files in folders that are not read have a row with an error, unless `skip_unreadable`.
    """
    skipped: list[Path] = []
    found, problems = find_pictures(pictures, recursive, skipped)
    problems += tell_skipped(skipped, skip_unreadable)

    def rows_of(path: Path) -> list[Row]:
        frames = read_frames(path, max_megapixels, which)
        remark_frames(path.name, frames.first.note)
        records = [diagnose_pixels(models, picture.pixels_HWC3, str(path)) for picture in frames.pictures]
        return [Row(printable(path), each, number, frames.words(number)) for number, each in enumerate(records, 1)]

    with Meter(len(found), "loading the model") as meter, ThreadPoolExecutor(models.at_once if found else 1) as pool:
        for path, waiting in ahead(pool, rows_of, found, models.at_once if found else 1):
            meter.tell(printable(path.name))
            try:
                rows = waiting()
            except SetupError:
                raise
            except Exception as error:
                rows = [_failed(problem_of(str(path), error, with_traceback))]
            meter.done()
            for row in rows:
                if stream:
                    json_stdout(fixed(row.as_json()))
                yield row
    for problem in problems:
        row = _failed(problem)
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


def ahead(
    pool: Executor, function: Callable[[Path], list[Row]], paths: Sequence[Path], at_once: int
) -> Iterator[tuple[Path, Callable[[], list[Row]]]]:
    """Each path with a call that waits for its result, in order; never more than `at_once` under way."""
    if at_once == 1:  # in this thread: an interrupt then ends the work itself
        yield from ((path, partial(function, path)) for path in paths)
        return
    queue: deque[tuple[Path, Future[list[Row]]]] = deque()
    for path in paths:
        queue.append((path, pool.submit(function, path)))
        if len(queue) == at_once:
            first, future = queue.popleft()
            yield first, future.result
    yield from ((path, future.result) for path, future in queue)


def _failed(problem: PictureError) -> Row:
    return Row(printable(problem.file), DiagnosisRecord(diagnosis=None, error=reason_of(problem)))
