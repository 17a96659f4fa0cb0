"""`rnr restore`: one picture of a batch diagnosed, restored and diagnosed again, and its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnr.degradation.files import printable
from rnr.degradation.kind import kind_named
from rnr.images.files import Picture, read_picture, write_picture
from rnr.images.frames import Frames, copy_picture, read_frames, write_frames
from rnr.report.plain import Entry, render
from rnr.work.console import remark_frames
from rnr.work.models import Models, versions
from rnr.work.outputs import Job, record_beside, source_of
from rnr.work.request import Request
from rnr.work.restoring import Outcome, restore_frames

if TYPE_CHECKING:
    from rnr.work.batch import Batch, Tell


@dataclass(frozen=True)
class PlainWorker:
    """Restores each picture of a batch in one pass, as `request` says."""

    request: Request

    def asked(self, models: Models) -> dict[str, Any]:
        return asked(models, self.request)

    def entry(self, job: Job, held: dict[str, Any] | None, batch: Batch, tell: Tell) -> Entry:
        if held:
            return self._again(job, held, batch)
        tell("reading")
        frames = self._read(job, batch.options.max_megapixels)
        tell("loading the models")
        outcomes = restore_frames(batch.own_models(), frames, self.request, str(job.source), tell)
        tell("writing")
        with batch.uninterrupted():
            data = self._write(job, frames, outcomes, batch)
            after = None if data["untouched"] else outcomes[0].pixels_HWC3
            return _with_previews(job, data, frames.first, after, batch)

    def _again(self, job: Job, data: dict[str, Any], batch: Batch) -> Entry:
        """The entry of a picture that an earlier run finished."""
        most = batch.options.max_megapixels
        picture = read_picture(job.source, most)
        after = None if data["untouched"] else read_picture(job.written(batch.out, data), most).pixels_HWC3
        entry = _with_previews(job, data, picture, after, batch)
        entry.again = True
        return entry

    def _read(self, job: Job, max_megapixels: float) -> Frames:
        """The pictures of a file, without positions if they are to have none; what is not used of it is said."""
        frames = read_frames(job.source, max_megapixels, self.request.frames)
        remark_frames(job.source.name, frames.first.note)
        return frames.without_gps() if self.request.strip_gps else frames

    def _write(self, job: Job, frames: Frames, outcomes: Sequence[Outcome], batch: Batch) -> dict[str, Any]:
        picture, replace = frames.first, batch.options.mode == "overwrite"
        untouched = all(outcome.untouched for outcome in outcomes)
        target, record = job.picture(batch.out, picture, copied=untouched), job.record(batch.out)
        data = record_of(
            batch.models, self.request, picture, outcomes[0], source_of(job.source), printable(target.name)
        )
        data |= _of_several(data, frames, outcomes) if len(outcomes) > 1 else {}
        with record_beside(record, data):
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
            with record_beside(record, data):
                pass
        return data

    def render(self, entries: Sequence[Entry], interrupted: bool) -> str:
        return render(entries, interrupted)

    def failed(self, source: str, problem: str, remedy: str) -> Entry:
        return Entry(source, "failed", problem=problem, remedy=remedy)


def _with_previews(job: Job, data: dict[str, Any], picture: Picture, after: Any, batch: Batch) -> Entry:
    entry = Entry(printable(job.source), "untouched" if data["untouched"] else "restored", data=data)
    if batch.options.with_report:
        from rnr.images.previews import limit_for, previews

        entry.previews = previews(picture, after, limit_for(len(batch.jobs)))
    return entry


def asked(models: Models, request: Request) -> dict[str, Any]:
    """The settings of a restoration. A given diagnosis counts by its content."""
    given = request.diagnosis
    return {**request.asked, **models.asked, "diagnosis": given.model_dump() if given else None}


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
    described = [{"number": number, **_in_short(outcome)} for number, outcome in enumerate(outcomes, 1)]
    why = data["explanation"]
    source = {**data["source"], "frames": len(outcomes), "animated": frames.animated}
    why = f"{frames.words(1)}: {why}" if why and not untouched else why
    return {"source": source, "untouched": untouched, "explanation": why, "frames": described}


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
    reasons = [reason for reason in (_wish(outcome), _doubt(outcome), _beyond(outcome)) if reason]
    if reasons:
        return "; ".join(reasons)
    if not outcome.untouched:
        return ""
    if request.strength == 0:
        return "strength 0, left as it is"
    if request.only:
        return "nothing of what was to be removed was found, left as it is"
    who = "nothing in the given diagnosis" if request.diagnosis else "nothing found"
    return f"{who}, left as it is"


def _wish(outcome: Outcome) -> str:
    """What was read in an instruction, where that is not all that was found."""
    wish = outcome.settings.get("wish")
    if not wish:
        return ""
    found = outcome.before.diagnosis.present if outcome.before.diagnosis else []
    removed = [kind_named(kind).words.title for kind in found if kind in wish["remove"]]
    kept = [kind_named(kind).words.title for kind in found if kind not in wish["remove"]]
    parts = [f"{' and '.join(names)} {done}" for names, done in ((removed, "to go"), (kept, "to stay")) if names]
    unknown = ["some of it is unknown to this restorer"] if wish["unknown"] else []
    return f"read in the instruction: {', '.join([*parts, *unknown]) or 'nothing of what was found'}"


def _doubt(outcome: Outcome) -> str:
    doubts = outcome.settings.get("left_alone") or {}
    if not doubts:
        return ""
    scene = outcome.before.diagnosis.scene if outcome.before.diagnosis else None
    reason = "this looks like no photograph" if scene and scene.is_graphic else "the reasoner is not sure"
    found = ", ".join(f"{kind_named(kind).words.title} (probability {p:.2f})" for kind, p in doubts.items())
    return f"{reason}: {found} left alone; --force restores it"


def _beyond(outcome: Outcome) -> str:
    titles = [kind_named(kind).words.title for kind in outcome.settings.get("beyond") or []]
    return f"{' and '.join(titles)} found, which this restorer cannot undo" if titles else ""
