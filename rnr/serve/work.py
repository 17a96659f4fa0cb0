"""The tasks of the service: bytes of a picture in, a record and bytes out. This runs in a worker.

A task is plain data (pydantic), so it is at once the request of an endpoint, its OpenAPI schema, and what a worker is
sent. `name` is a label for messages and suffixes: no file is opened by it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from rnr.degradation.files import printable
from rnr.degradation.strength import Strength, parsed
from rnr.images.files import Picture, PictureError, encoded, read_stream
from rnr.serve.errors import ServiceError
from rnr.serve.wire import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
    from rnr.work.agents import Workplace
    from rnr.work.models import Models

Format = Literal["same", "png", "jpeg", "tiff", "webp"]
Level = Annotated[float, Field(ge=0, le=100)]
Words = Annotated[str, Field(max_length=500, description='what is to go: "only remove the rain, keep the mist"')]
Tell = Callable[[dict[str, Any]], None]
SUFFIX = {"png": ".png", "jpeg": ".jpg", "tiff": ".tif", "webp": ".webp"}
MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".tif": "image/tiff", ".webp": "image/webp", ".bmp": "image/bmp"}
MEDIA |= {".gif": "image/gif", ".avif": "image/avif", ".jp2": "image/jp2", ".ppm": "image/x-portable-pixmap"}
MEDIA |= {".tga": "image/x-tga", ".heic": "image/heic", ".jxl": "image/jxl"}
AGENT_SHARE = 0.8  # of a request's time may go into the agent's models; a choice: the rest is reading and writing


@dataclass
class Shop:
    """Where a worker works."""

    models: Models
    megapixels: float
    seconds: float
    scratch: Path  # for runs of the agent that nobody keeps
    agent_folder: str = ""

    def opened(self, data: bytes, name: str) -> Picture:
        """Raises PictureError; one that is too large is refused by its header."""
        return read_stream(io.BytesIO(data), name, self.megapixels)


class Task(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="picture", max_length=255, description="a label for messages; nothing is opened by it")

    @field_validator("name")
    @classmethod
    def _label(cls, name: str) -> str:
        return printable(PurePath(name.replace("\\", "/").replace("\0", "")).name) or "picture"

    def perform(self, shop: Shop, data: bytes, tell: Tell) -> Message:
        raise NotImplementedError


class Diagnose(Task):
    """What happened to the picture."""

    action: Literal["diagnose"] = "diagnose"

    def perform(self, shop: Shop, data: bytes, tell: Tell) -> Message:
        from rnr.work.restoring import diagnose_pixels

        picture = shop.opened(data, self.name)
        tell({"event": "stage", "stage": "diagnosing"})
        record = diagnose_pixels(shop.models, picture.pixels_HWC3, self.name)
        return Message(
            {
                "source": {**_source(self.name, data), **_about(picture)},
                "summary": summary(record),
                "record": record.model_dump(mode="json"),
                "notes": _notes(picture),
            }
        )


class _Pictured(Task):
    """A task that answers with a picture."""

    format: Format = Field(
        default="same", description="of the picture that comes back; `same` keeps depth and metadata, too"
    )
    thumbnail: int = Field(
        default=0, ge=0, le=1024, description="longer side of small copies before and after, px; 0: none"
    )

    def _written(self, picture: Picture, after: Any, data: bytes) -> tuple[str, bytes]:
        """(suffix, bytes). `after` None: nothing was found, so the very bytes that came in, if the format stays."""
        if after is None and self.format == "same":
            return picture.copied_suffix, data
        suffix = SUFFIX.get(self.format, picture.suffix)
        return suffix, encoded(picture, picture.as_float() if after is None else after, "picture" + suffix)

    def _answer(self, head: dict[str, Any], picture: Picture, after: Any, written: tuple[str, bytes]) -> Message:
        suffix, blob = written
        head["picture"] = {"name": PurePath(self.name).stem + suffix, "media_type": MEDIA[suffix]}
        if self.thumbnail:
            from rnr.images.previews import thumbnail

            before = thumbnail(picture.pixels_HWC3, self.thumbnail)
            later = before if after is None else thumbnail(after, self.thumbnail)
            head["thumbnails"] = {"before": before, "after": later}
        return Message(head, [blob])


class _Dosed(_Pictured):
    """A task that restores, all the way or partly."""

    strength: Level | dict[str, Level] | list[str] = Field(
        default=100.0,
        description='how far to go: 0..100, or by kind, {"haze": 20}, in a form haze=20; 0: the same pixels',
    )

    @property
    def how_far(self) -> Strength:
        """What a form has as texts is parsed here, in a worker: the front knows no kinds."""
        return parsed(self.strength) if isinstance(self.strength, list) else self.strength


class Restore(_Dosed):
    """Diagnose, restore, diagnose again."""

    action: Literal["restore"] = "restore"
    num_inference_steps: int | None = Field(
        default=None, ge=1, le=100, description="of each leg; the restorer's own number by default"
    )
    seed: int = Field(default=0, ge=0, lt=2**63)
    only: list[str] = Field(default=[], max_length=32, description="remove these kinds and nothing else")
    instruct: Words = ""  # a page of forms sends no null
    diagnosis: dict[str, Any] | None = Field(default=None, description="restore by this Diagnosis (`rnr schema`)")

    @field_validator("diagnosis", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        """A form has it as text."""
        try:
            return json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            raise ValueError("not the JSON text of a Diagnosis") from None

    def perform(self, shop: Shop, data: bytes, tell: Tell) -> Message:
        from rnr.work.plain_worker import record_of
        from rnr.work.request import Request
        from rnr.work.restoring import restore_picture

        given, only = self._given(), tuple(self.only)
        request = Request(
            self.num_inference_steps,
            self.seed,
            only,
            given,
            "the request",
            self.how_far,
            instruct=self.instruct or None,
        ).check()
        picture = shop.opened(data, self.name)

        def stage(words: str) -> None:
            tell({"event": "stage", "stage": words})

        outcome = restore_picture(shop.models, picture, request, self.name, stage)
        after = None if outcome.untouched else outcome.pixels_HWC3
        written = self._written(picture, after, data)  # before the record: it may add a note
        output = PurePath(self.name).stem + written[0]
        record = record_of(shop.models, request, picture, outcome, _source(self.name, data), output)
        seen = {"before": summary(outcome.before), "after": summary(outcome.after)}
        return self._answer({"summary": seen, "record": record}, picture, after, written)

    def _given(self) -> Diagnosis | None:
        from rnr.degradation.diagnosis import Diagnosis

        return None if self.diagnosis is None else Diagnosis.from_json(json.dumps(self.diagnosis), "diagnosis")


class Agent(_Dosed):
    """Step by step: each step is checked and kept, or rolled back."""

    action: Literal["agent"] = "agent"
    strategy: Literal["auto", "one-pass", "stepwise"] = "auto"
    max_restorations: int = Field(default=6, ge=1, le=32, description="restorations at most")
    candidates: int = Field(default=1, ge=1, le=8, description="restorations that compete in each step")
    seed: int = Field(default=0, ge=0, lt=2**63)
    instruct: Words = ""  # a page of forms sends no null
    report: bool = Field(default=False, description="with the run's report, one HTML page")

    def perform(self, shop: Shop, data: bytes, tell: Tell) -> Message:
        from rnr.work.agents import AgentRequest, story

        seconds = shop.seconds * AGENT_SHARE
        asked = AgentRequest(
            self.strategy,
            self.max_restorations,
            seconds,
            self.candidates,
            self.seed,
            strength=self.how_far,
            instruct=self.instruct or None,
        )
        asked.check()
        picture = shop.opened(data, self.name)
        with _workplace(shop, asked) as workplace:
            stem = PurePath(self.name).stem
            run = workplace.run(shop.models, picture, stem, on_event=lambda event: tell(dict(event)))
            after = None if run.untouched else workplace.result(run)
            written = self._written(picture, after, data)
            first, best = workplace.records(run)
            head = {
                "run": run.thread,
                "status": run.status,
                "reason": run.reason,
                "story": story(run),
                "summary": {"before": summary(first), "after": summary(best)},
                "record": {
                    "source": {**_source(self.name, data), **_about(picture)},
                    "untouched": after is None,
                    "notes": _notes(picture),
                    "before": first.model_dump(mode="json"),
                    "after": best.model_dump(mode="json"),
                    "steps": run.steps,
                    **asked.read,
                },
            }
            answer = self._answer(head, picture, after, written)
            if self.report:
                answer.blobs.append(self._report(workplace, run, picture, head["picture"]["name"]))
        return answer

    def _report(self, workplace: Workplace, run: Any, picture: Picture, output: str) -> bytes:
        from rnr.report.agent import AgentEntry, render

        name, read = printable(self.name), workplace.request.reading
        return render([AgentEntry.of(name, picture, workplace.store, run, output, read)]).encode()


class Explain(Task):
    """What a run of the agent did, from the folder where runs are kept."""

    action: Literal["explain"] = "explain"
    run: str = Field(max_length=255)

    def perform(self, shop: Shop, data: bytes, tell: Tell) -> Message:
        from rnr.work.agents import AgentRequest, Workplace, story

        with Workplace(Path(shop.agent_folder), AgentRequest()) as workplace:
            run = workplace.held(self.run)
            first, best = workplace.records(run)
        seen = {"before": summary(first), "after": summary(best)}
        return Message({"run": run.thread, "status": run.status, "reason": run.reason, "story": story(run), **seen})


AnyTask: TypeAdapter[Task] = TypeAdapter(Annotated[Diagnose | Restore | Agent | Explain, Field(discriminator="action")])


@contextmanager
def _workplace(shop: Shop, request: Any) -> Iterator[Workplace]:
    from rnr.work.agents import Workplace

    if shop.agent_folder:
        with Workplace(Path(shop.agent_folder), request) as workplace:
            yield workplace
    else:
        with tempfile.TemporaryDirectory(dir=shop.scratch) as folder, Workplace(Path(folder), request) as workplace:
            yield workplace


def _source(name: str, data: bytes) -> dict[str, Any]:
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}


def _about(picture: Picture) -> dict[str, Any]:
    width, height = picture.size
    return {"width": width, "height": height, "format": picture.format, "bit_depth": picture.bit_depth}


def _notes(picture: Picture) -> list[str]:
    return [printable(note) for note in picture.note]


def summary(record: DiagnosisRecord) -> dict[str, Any]:
    """A diagnosis in short: severity by kind, with evidence and factors of what is present."""
    from rnr.judge.reading import severity as reading

    diagnosis = record.diagnosis
    if diagnosis is None:
        return {"error": record.error or "no diagnosis"}
    severity = {kind: reading(record, kind).severity for kind in diagnosis.findings}
    present = {kind: {"evidence": f.evidence, "factors": f.factors}
               for kind, f in diagnosis.findings.items() if f.present}  # fmt: skip
    return {
        "expected_severity": {kind: None if value is None else round(value, 1) for kind, value in severity.items()},
        "present": present,
        "quality": diagnosis.quality.technical,
        "plan": diagnosis.plan,
    }


def refusal(error: Exception) -> ServiceError:
    """Any error of a task as what the client is answered. Words of an unexpected one stay in the log."""
    from rnr.images.codecs import TooLarge

    if isinstance(error, PictureError):
        large = isinstance(error.__cause__, TooLarge)
        return ServiceError(413 if large else 422, "picture_too_large" if large else "picture_refused", str(error))
    if isinstance(error, ValueError):  # SetupError, ThreadError and pydantic's are
        return ServiceError(422, "request_refused", str(error))
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return ServiceError(503, "out_of_memory", "not enough memory for this picture; send a smaller one")
    return ServiceError(500, "internal", f"unexpected {type(error).__name__}; the service's log has it")


def trace_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
