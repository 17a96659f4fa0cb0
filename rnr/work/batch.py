"""`rnr restore`: many pictures, one after the other; whatever happens to one, the others get their result.

Each picture is complete or absent: its record and its picture are written together, and an interrupt waits for both.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.text import Text

from rnr.app.console import Meter, complain, err, remark_frames
from rnr.degradation.errors import SetupError
from rnr.degradation.kind import kind_named
from rnr.images.files import MAX_MEGAPIXELS, Picture, PictureError, os_problem, read_picture, write_picture
from rnr.images.frames import Frames, copy_picture, read_frames, write_frames
from rnr.report.plain import Entry, render, report_path
from rnr.work.models import Models, versions
from rnr.work.outputs import Job, Mode, Shelf, printable, record_beside, source_of, write_text
from rnr.work.request import Request
from rnr.work.restoring import Outcome, restore_frames


@dataclass(frozen=True)
class Options:
    """How the batch is run, beside how each picture is restored."""

    mode: Mode = "refuse"
    max_megapixels: float = MAX_MEGAPIXELS
    with_report: bool = True
    with_traceback: bool = False


@dataclass
class Batch:
    """The work and what came of it. `run` fills `entries`, in the order of the jobs."""

    jobs: Sequence[Job]
    out: Path
    models: Models
    request: Request
    options: Options
    entries: list[Entry] = field(default_factory=list)
    skipped: int = 0
    interrupted: bool = False

    def count(self, status: str) -> int:
        return sum(entry.status == status for entry in self.entries)

    def run(self) -> None:
        """All jobs. Stops early, with what is done complete, on Ctrl-C. Raises SetupError where no model can be had."""
        shelf = Shelf(self.out, self.jobs)
        with Meter(len(self.jobs), "loading the models") as meter, terminable():
            try:
                for job in self.jobs:
                    self.entries.append(self._entry(job, shelf, meter))
                    if self.interrupted:  # while it was written
                        break
            except KeyboardInterrupt:
                self.interrupted = True

    def _entry(self, job: Job, shelf: Shelf, meter: Meter) -> Entry:
        name = printable(job.source.name)
        try:
            data = shelf.finished(job, self.options.mode, self._asked())
            entry = self._again(job, data) if data else self._restore(job, lambda stage: meter.tell(f"{name}: {stage}"))
            meter.done(_line(name, entry, "done before" if data else f"{entry.seconds:.1f} s"))
            return entry
        except SetupError:
            raise
        except Exception as error:
            problem = problem_of(job.source, error, self.options.with_traceback)
            complain(problem)
            meter.done()
            return Entry(printable(job.source), "failed", problem=problem.problem, remedy=problem.remedy)

    def _restore(self, job: Job, tell: Callable[[str], None]) -> Entry:
        tell("reading")
        frames = self._read(job)
        tell("loading the models")
        self.models.load()
        outcomes = restore_frames(self.models, frames, self.request, str(job.source), tell)
        tell("writing")
        with uninterrupted(self._later):
            data = self._write(job, frames, outcomes)
            return self._with_previews(job, data, frames.first, None if data["untouched"] else outcomes[0].pixels_HWC3)

    def _read(self, job: Job) -> Frames:
        """The pictures of a file, without positions if they are to have none; what is not used of it is said."""
        frames = read_frames(job.source, self.options.max_megapixels, self.request.frames)
        remark_frames(job.source.name, frames.first.note)
        return frames.without_gps() if self.request.strip_gps else frames

    def _later(self) -> None:
        self.interrupted = True

    def _write(self, job: Job, frames: Frames, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        picture, replace = frames.first, self.options.mode == "overwrite"
        untouched = all(outcome.untouched for outcome in outcomes)
        target = job.picture(self.out, picture, copied=untouched)
        data = self._data(job, frames, outcomes, target)
        with record_beside(job.record(self.out), data):
            if untouched:
                copy_picture(job.source, target, replace, self.request.strip_gps)
            else:
                if self.request.stamp:
                    picture.extras = picture.extras.stamped(stamp_of(data))
                if len(outcomes) > 1:
                    write_frames(frames.showing([each.pixels_HWC3 for each in outcomes]), target, replace)
                else:
                    write_picture(picture, outcomes[0].pixels_HWC3, target, replace)
        if data["notes"] != picture.note:  # what the format could not hold is known only now
            data["notes"] = [printable(note) for note in picture.note]
            with record_beside(job.record(self.out), data):
                pass
        return data

    def _asked(self) -> dict[str, Any]:
        """The settings by which a result is known again."""
        return asked(self.models, self.request)

    def _data(self, job: Job, frames: Frames, outcomes: Sequence[Outcome], target: Path) -> dict[str, Any]:
        source, first = source_of(job.source), outcomes[0]
        data = record_of(self.models, self.request, frames.first, first, source, printable(target.name))
        return {**data, **_of_several(data, frames, outcomes)} if len(outcomes) > 1 else data

    def _again(self, job: Job, data: dict[str, Any]) -> Entry:
        """The entry of a picture that an earlier run finished."""
        self.skipped += 1
        picture = read_picture(job.source, self.options.max_megapixels)
        output = None if data["untouched"] else read_picture(job.written(self.out, data), self.options.max_megapixels)
        return self._with_previews(job, data, picture, output.pixels_HWC3 if output else None)

    def _with_previews(self, job: Job, data: dict[str, Any], picture: Picture, after: Any) -> Entry:
        entry = Entry(printable(job.source), "untouched" if data["untouched"] else "restored", data=data)
        if self.options.with_report:
            from rnr.images.previews import limit_for, previews

            entry.previews = previews(picture, after, limit_for(len(self.jobs)))
        return entry

    def write_report(self, problems: Sequence[PictureError] = ()) -> Path:
        """One page for all pictures, those that could not even be found last. Raises PictureError."""
        failed = [Entry(printable(e.file), "failed", problem=e.problem, remedy=e.remedy) for e in problems]
        path = report_path(self.out, self.options.mode, self.entries)
        write_text(path, render([*self.entries, *failed], self.interrupted))
        return path


def asked(models: Models, request: Request) -> dict[str, Any]:
    """The settings of a restoration. A given diagnosis counts by its content."""
    given = request.diagnosis
    names = dict(zip(("reasoner", "restorer"), models.names))
    return {**request.asked, **names, "diagnosis": given.model_dump() if given else None}


def record_of(
    models: Models, request: Request, picture: Picture, outcome: Outcome, source: dict[str, Any], output: str
) -> dict[str, Any]:
    """The record of one restoration, as it is written beside a picture. `source`: its file name and sha256."""
    width, height = picture.size
    about = {"width": width, "height": height, "format": picture.format, "bit_depth": picture.bit_depth}
    return {
        "source": {**source, **about},
        "output": output,
        "untouched": outcome.untouched,
        "explanation": _explanation(request, outcome),
        "notes": [printable(note) for note in picture.note],
        "before": outcome.before.model_dump(mode="json"),
        "after": outcome.after.model_dump(mode="json"),
        "restoration": {**outcome.settings, "seconds": outcome.seconds},
        "request": asked(models, request),
        "versions": versions(),
    }


def _of_several(data: dict[str, Any], frames: Frames, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What the record of a file with several pictures says otherwise; `before` and `after` are those of the first."""
    untouched = all(outcome.untouched for outcome in outcomes)
    told = [{"number": number, **_in_short(outcome)} for number, outcome in enumerate(outcomes, 1)]
    why = data["explanation"]
    source = {**data["source"], "frames": len(outcomes), "animated": frames.animated}
    why = f"{frames.words(1)}: {why}" if why and not untouched else why
    return {"source": source, "untouched": untouched, "explanation": why, "frames": told}


def _in_short(outcome: Outcome) -> dict[str, Any]:
    """One of several pictures: both diagnoses without the way to them, and what each leg did."""
    sides = {"before": outcome.before, "after": outcome.after}
    diagnoses = {side: record.diagnosis and record.diagnosis.model_dump(mode="json") for side, record in sides.items()}
    return {"untouched": outcome.untouched, **diagnoses, "legs": outcome.settings.get("legs", [])}


def stamp_of(data: dict[str, Any]) -> dict[str, Any]:
    """What of a record goes into a picture's XMP: both diagnoses, the settings and the versions."""
    diagnoses = {side: data[side]["diagnosis"] for side in ("before", "after")}
    kept = ("source", "restoration", "request", "versions")
    source = {key: value for key, value in data["source"].items() if key != "place"}
    return {**{key: data[key] for key in kept}, "source": source, **diagnoses}


def _explanation(request: Request, outcome: Outcome) -> str:
    """Why a picture was left as it is, or a finding was; empty where all that was found was removed."""
    doubts = outcome.settings.get("left_alone") or {}
    if doubts:
        scene = outcome.before.diagnosis.scene if outcome.before.diagnosis else None
        reason = "this looks like no photograph" if scene and scene.medium == "graphic" else "the reasoner is not sure"
        found = ", ".join(f"{kind_named(kind).words.title} (probability {p:.2f})" for kind, p in doubts.items())
        return f"{reason}: {found} left alone; --force restores it"
    if not outcome.untouched:
        return ""
    if request.strength == 0:
        return "strength 0, left as it is"
    if request.only:
        return "nothing of what was to be removed was found, left as it is"
    who = "nothing in the given diagnosis" if request.diagnosis else "nothing found"
    return f"{who}, left as it is"


def problem_of(source: Path, error: Exception, with_traceback: bool = False) -> PictureError:
    """Any error as one that names the picture and says what to do."""
    if isinstance(error, PictureError):
        return error
    if with_traceback:
        err.print("".join(traceback.format_exception(error)), markup=False)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        remedy = str(error).removeprefix("out of memory: ") if isinstance(error, MemoryError) else ""
        remedy = remedy or "make it smaller, close other programs"
        return PictureError(source, "not enough memory to restore it", remedy)
    if isinstance(error, OSError):
        return os_problem(source, error)
    problem = f"unexpected {type(error).__name__}: {error}"
    return PictureError(source, problem, "run again with --traceback and report what it shows")


def _line(name: str, entry: Entry, how_long: str) -> Text:
    """photo.jpg  haze 62 → 8; the reasoner is not sure: noise (probability 0.70) left alone; ...  2.1 s"""
    changes = [f"{title} {a.number or a.words} → {b.number or b.words}" for title, a, b in entry.changes]
    parts = [", ".join(changes), entry.explanation] if entry.status == "restored" else [entry.explanation]
    story = "; ".join(filter(None, parts)) or entry.words
    return Text.assemble((name, "bold"), f"  {story}  ", (how_long, "dim"))


@contextlib.contextmanager
def uninterrupted(later: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and a kill wait until the block is through; `later` hears of them and ends the batch afterwards."""

    def wait(number: int, frame: object) -> None:
        later()

    with _handler(signal.SIGINT, wait), _handler(signal.SIGTERM, wait):
        yield


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """A polite kill (SIGTERM) ends the batch as Ctrl-C does."""
    with _handler(signal.SIGTERM, signal.default_int_handler):
        yield


@contextlib.contextmanager
def _handler(number: signal.Signals, handler: Callable[..., Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
