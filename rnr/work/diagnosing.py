"""`rnr diagnose`: records of many pictures, as tables for people and as JSON for programs."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rnr.app.console import (
    Meter,
    complain,
    detail_table,
    err,
    json_stdout,
    out,
    overview_table,
    remark_frames,
    tell_skipped,
)
from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.errors import SetupError
from rnr.images.files import PictureError, SkippedFile, find_pictures, read_picture
from rnr.work.models import Models
from rnr.work.outputs import printable
from rnr.work.restoring import diagnose_pixels

IN_DETAIL = 3  # pictures up to which each gets a table of its own


@dataclass(frozen=True)
class Row:
    """A file and its record; one that failed has `error` and no diagnosis."""

    file: str
    record: DiagnosisRecord

    def as_json(self) -> dict[str, Any]:
        return {"file": self.file, **self.record.model_dump(mode="json")}


def diagnose_all(
    pictures: Sequence[str],
    recursive: bool,
    max_megapixels: float,
    models: Models,
    with_traceback: bool,
    stream: bool,
    skip_unreadable: bool = False,
) -> Iterator[Row]:
    """Every picture once, errors go to stderr; `stream` prints each row as a line of JSON. Raises SetupError.

    Files in folders that are not read have a row with an error, unless `skip_unreadable`.
    """
    skipped: list[Path] = []
    found, problems = find_pictures(pictures, recursive, skipped)
    problems += tell_skipped(skipped, skip_unreadable)

    def row_of(path: Path) -> Row:
        picture = read_picture(path, max_megapixels)
        remark_frames(path.name, picture.note)
        return Row(printable(path), diagnose_pixels(models, picture.pixels_HWC3, str(path)))

    with Meter(len(found), "loading the model") as meter, ThreadPoolExecutor(models.at_once if found else 1) as pool:
        for path, waiting in ahead(pool, row_of, found, models.at_once if found else 1):
            meter.tell(printable(path.name))
            try:
                row = waiting()
            except SetupError:
                raise
            except Exception as error:
                if with_traceback and not isinstance(error, PictureError):
                    err.print("".join(traceback.format_exception(error)), markup=False)
                row = _failed(_problem(str(path), error))
            meter.done()
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
    pool: Executor, function: Callable[[Path], Row], paths: Sequence[Path], at_once: int
) -> Iterator[tuple[Path, Callable[[], Row]]]:
    """Each path with a call that waits for its result, in order; never more than `at_once` under way."""
    if at_once == 1:  # in this thread: an interrupt then ends the work itself
        yield from ((path, partial(function, path)) for path in paths)
        return
    queue: deque[tuple[Path, Future[Row]]] = deque()
    for path in paths:
        queue.append((path, pool.submit(function, path)))
        if len(queue) == at_once:
            first, future = queue.popleft()
            yield first, future.result
    yield from ((path, future.result) for path, future in queue)


def _problem(file: str, error: Exception) -> PictureError:
    if isinstance(error, PictureError):
        return error
    return PictureError(file, f"unexpected {type(error).__name__}: {error}", "run again with --traceback and report it")


def _failed(problem: PictureError) -> Row:
    if not isinstance(problem, SkippedFile):  # these are counted in one line
        complain(problem)
    record = DiagnosisRecord(diagnosis=None, error=f"{problem.problem}; {problem.remedy}")
    return Row(printable(problem.file), record)


def print_for_people(rows: Sequence[Row]) -> None:
    """A table in detail for each of a few pictures, one table with a row each for many."""
    good = [(row.file, row.record) for row in rows if row.record.diagnosis]
    if len(good) <= IN_DETAIL:
        for name, record in good:
            out.print(detail_table(name, record), soft_wrap=False)
    elif good:
        short = [Path(name).name for name, _ in good]
        unique = len(set(short)) == len(short)
        out.print(overview_table([(Path(n).name if unique else n, r) for n, r in good]), soft_wrap=False)
