"""One picture through the two models: diagnose, restore, diagnose again. Commands and Python API stand on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnr.images.files import Picture, PictureError
from rnr.images.frames import Frames
from rnr.work.instructing import intent_by, wish_of
from rnr.work.models import Models
from rnr.work.request import Request
from rnr.work.scoring import with_quality

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnr.degradation.diagnosis import DiagnosisRecord


@dataclass
class Outcome:
    """What came of one picture. `after` is `before` where it was left untouched, and has an `error` where it failed."""

    pixels_HWC3: NDArray[Any]  # float32 in [0, 1]; of one of several at the depth of the picture
    untouched: bool
    before: DiagnosisRecord
    after: DiagnosisRecord
    settings: dict[str, Any]  # of the restorer: model, model_hash, steps, seed, ...
    seconds: float  # of the restoration alone


def diagnose_pixels(models: Models, pixels_HWC3: NDArray[Any], name: str) -> DiagnosisRecord:
    """The record of one picture (uint8, uint16 or float in [0, 1]). Raises PictureError if none can be made."""
    record = models.reasoner.diagnose([pixels_HWC3])[0]
    if record.diagnosis is None:
        raise PictureError(name, f"could not be diagnosed ({record.error})", "give a diagnosis yourself (--diagnosis)")
    return with_quality(models, record, pixels_HWC3)


def restore_frames(
    models: Models, frames: Frames, request: Request, name: str, tell: Callable[[str], None]
) -> list[Outcome]:
    """Every picture of a file: pages by their own diagnosis, frames of an animation by that of the first, so that
    they do not flicker."""
    outcomes: list[Outcome] = []
    for number, picture in enumerate(frames.pictures, 1):
        place = frames.words(number)
        known = outcomes[0].before if frames.animated and outcomes else None
        say = (lambda stage, at=place: tell(f"{at}, {stage}")) if place else tell
        outcome = restore_picture(models, picture, request, name, say, known)
        outcome.pixels_HWC3 = picture.rounded(outcome.pixels_HWC3) if place else outcome.pixels_HWC3
        outcomes.append(outcome)
    return outcomes


def restore_picture(
    models: Models,
    picture: Picture,
    request: Request,
    name: str,
    tell: Callable[[str], None] = lambda stage: None,
    known: DiagnosisRecord | None = None,
) -> Outcome:
    """Diagnose, restore and diagnose again. `tell` hears of each stage; `known` is a record that was made before.

    Raises SetupError for an instruction that cannot be followed.
    """
    intent, words = request.intent, "" if models.unified else request.instruct or ""
    wish = wish_of(words) if words else None  # a unified pair reads its own
    tell("diagnosing")
    given = request.diagnosis is not None
    before = known or (_given(request, picture) if given else diagnose_pixels(models, picture.pixels_HWC3, name))
    tell("restoring")
    if wish and intent:
        intent = intent_by(wish, intent, before)
    result = models.pipeline.restore(
        picture.as_float(),
        before,
        intent=intent,
        num_inference_steps=request.num_inference_steps,
        seed=request.seed,
        callback_on_step_end=lambda pipe, step, time, tensors: tell(
            _stage(tensors.get("kinds", ()), step, request.num_inference_steps or models.pipeline.steps)
        ),
    )
    tell("diagnosing again")
    after = before if result.untouched else models.reasoner.diagnose([result.pixels_HWC3])[0]
    after = after if result.untouched else with_quality(models, after, result.pixels_HWC3)
    settings = {**result.settings, "wish": wish.as_record(words)} if wish else result.settings
    return Outcome(result.pixels_HWC3, result.untouched, before, after, settings, result.seconds)


def _stage(kinds: Sequence[str], step: int, steps: int) -> str:
    """`restoring noise, step 2 of 4`: of the leg, where `step` counts over all legs."""
    words = ", ".join(kinds).replace("_", " ")
    return f"restoring {words}".rstrip() + f", step {step % steps + 1} of {steps}"


def _given(request: Request, picture: Picture) -> DiagnosisRecord:
    from rnr.degradation.diagnosis import DiagnosisRecord
    from rnr.degradation.editing import beyond_top
    from rnr.degradation.kind import PHYSICS

    picture.note += beyond_top(request.diagnosis) if request.diagnosis else []
    model = f"given by {request.origin or 'the caller'}"
    return DiagnosisRecord(diagnosis=request.diagnosis, picture_size=picture.size, model=model, physics=PHYSICS)
