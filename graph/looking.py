"""Looking at a picture: the judge's diagnosis, made once and kept beside the picture."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.intent import Intent
from rnr.degradation.kind import kinds
from rnr.graph.context import Context, lock_of
from rnr.graph.events import Diagnosed, tell
from rnr.graph.state import Look
from rnr.graph.store import ImageRef
from rnr.judge.reading import severities
from rnr.restorer.condition import left_alone


def look_at(ref: ImageRef, runtime: Runtime[Context]) -> tuple[Look, float]:
    """Diagnose a picture of the store, once; (look, seconds it took when it was made). RuntimeError if it cannot be."""
    store, name = runtime.context.pictures, "judged" + runtime.context.judge_id
    note = store.note(ref["sha256"], name)
    if note is None:
        judge = runtime.context.judge
        with lock_of(judge):
            record = judge.diagnose([store.get(ref)])[0]
        if record.diagnosis is None:
            raise RuntimeError(f"the picture could not be diagnosed ({record.error})")
        note = record.model_dump(mode="json")
        store.keep_note(ref["sha256"], name, note)
    record = DiagnosisRecord.model_validate(note)
    severity = severities(record)
    event = Diagnosed(
        event="diagnosed", picture=ref["sha256"], severity=severity, passes=record.forward_passes,
        seconds=record.seconds, model=record.model, model_hash=record.model_hash, prompt=record.prompt,
        prompt_version=record.prompt_version,
    )  # fmt: skip
    tell(runtime, event)
    present, plan = (record.diagnosis.present, record.diagnosis.plan) if record.diagnosis else ([], [])
    look = Look(picture=ref, record=name, severity=severity, present=present, plan=plan, given=False)
    return look, record.seconds


def wished(look: Look, context: Context) -> list[str] | None:
    """The kinds that the context's wish lets be removed from a picture, by its record; None: all that was found."""
    if context.wish is None:
        return None
    return context.wish.narrowed(Intent(), kinds(), left_alone(context.pictures.record(look))).kinds


def read_pixels(path: str) -> Any:
    """uint8 or uint16 (H, W, 3), upright, RGB; for callers that bring a path. The front door reads with more care."""
    import cv2

    bgr = cv2.imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if bgr is None:
        raise ValueError(f"{path}: not a picture that can be read; check the path, or convert it to PNG")
    return bgr[..., ::-1]
