"""One picture through the two models: diagnose, restore, diagnose again. Command line and Python API stand on it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr import __version__
from rnr.degradation.errors import SetupError
from rnr.degradation.loading import BUILT_IN, device_named, one_at_a_time
from rnr.images.files import Picture, PictureError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
    from rnr.degradation.intent import Intent
    from rnr.degradation.protocols import Restorer
    from rnr.reasoner import Reasoner
    from rnr.reasoner.server import ServerReasoner

STEPS = range(1, 101)


@dataclass(frozen=True)
class Request:
    """How to restore. `only` limits the removal to some kinds; `diagnosis` replaces the reasoner's own."""

    steps: int | None = None  # None: the restorer's own
    seed: int = 0
    only: tuple[str, ...] = ()
    diagnosis: Diagnosis | None = None
    origin: str = ""  # where that diagnosis came from, for the record
    strength: float | Mapping[str, float] = 100.0  # how far each leg goes, 0..100, or by kind
    stamp: bool = False  # write the record into the picture's XMP
    strip_gps: bool = False  # leave positions out of EXIF and XMP
    force: bool = False  # restore also what the reasoner is not sure of

    def check(self) -> Request:
        """Itself. Raises SetupError for a setting that cannot be."""
        from rnr.degradation.kind import kind_named

        if self.steps is not None and self.steps not in STEPS:
            raise SetupError(f"steps must lie in {STEPS[0]}..{STEPS[-1]}, not {self.steps}")
        if not 0 <= self.seed < 2**63:
            raise SetupError(f"the seed must be 0 or more, not {self.seed}")
        for value in self.strength.values() if isinstance(self.strength, Mapping) else (self.strength,):
            if not 0 <= value <= 100:  # also NaN
                raise SetupError(f"a strength lies in 0..100, not {value:g}")
        try:
            if isinstance(self.strength, Mapping):
                list(map(kind_named, self.strength))
            return replace(self, only=tuple(dict.fromkeys(kind_named(name).name for name in self.only)))
        except ValueError as error:
            raise SetupError(str(error)) from None

    @property
    def intent(self) -> Intent | None:
        """What is wanted of the restorer; None: all that was found, all the way."""
        from rnr.degradation.intent import Intent

        if not self.only and self.strength == 100 and not self.force:
            return None
        return Intent(kinds=list(self.only) or None, strength=self.strength, force=self.force)

    @property
    def asked(self) -> dict[str, Any]:
        """The settings by which a result is known again. Those that came later stand there where they are set."""
        settings = {"steps": self.steps, "seed": self.seed, "only": list(self.only)}
        strength = dict(self.strength) if isinstance(self.strength, Mapping) else self.strength
        later = {"strength": strength, "stamp": self.stamp, "strip_gps": self.strip_gps, "force": self.force}
        usual = {"strength": 100.0, "stamp": False, "strip_gps": False, "force": False}
        return settings | {name: value for name, value in later.items() if value != usual[name]}


@dataclass
class Outcome:
    """What came of one picture. `after` is `before` where it was left untouched, and has an `error` where it failed."""

    pixels_HWC3: NDArray[np.float32]  # in [0, 1]
    untouched: bool
    before: DiagnosisRecord
    after: DiagnosisRecord
    settings: dict[str, Any]  # of the restorer: model, model_hash, steps, seed, ...
    seconds: float  # of the restoration alone


class Models:
    """The reasoner and the restorer, each loaded when first used. Raises SetupError where one cannot be."""

    def __init__(self, reasoner: str = BUILT_IN, restorer: str = BUILT_IN, device: str = "auto") -> None:
        self.names, self.device_wanted = (reasoner, restorer), device

    def load(self) -> None:
        """Both, now rather than when they are used."""
        _ = self.reasoner, self.pipeline

    @cached_property
    def device(self) -> str:
        return device_named(self.device_wanted)

    @property
    def reasoner(self) -> Reasoner | ServerReasoner:
        with one_at_a_time:  # threads share the one that is loaded
            return self._reasoner

    @cached_property
    def _reasoner(self) -> Reasoner | ServerReasoner:
        quiet()
        from rnr.reasoner import load

        return load(self.names[0], self.device_wanted)

    @property
    def at_once(self) -> int:
        """Pictures that the reasoner takes at the same time: one, or the `workers` of a server's client."""
        return getattr(self.reasoner, "workers", 1)

    @property
    def pipeline(self) -> Restorer:
        with one_at_a_time:
            return self._pipeline

    @cached_property
    def _pipeline(self) -> Restorer:
        quiet()
        from rnr.restorer import load

        return load(self.names[1], self.device_wanted)


def quiet() -> None:
    """The libraries' own progress bars and notices would tear ours."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def diagnose_pixels(models: Models, pixels_HWC3: NDArray[Any], name: str) -> DiagnosisRecord:
    """The record of one picture (uint8, uint16 or float in [0, 1]). Raises PictureError if none can be made."""
    record = models.reasoner.diagnose([pixels_HWC3])[0]
    if record.diagnosis is None:
        raise PictureError(name, f"could not be diagnosed ({record.error})", "give a diagnosis yourself (--diagnosis)")
    return record


def restore_picture(
    models: Models, picture: Picture, request: Request, name: str, tell: Callable[[str], None] = lambda stage: None
) -> Outcome:
    """Diagnose, restore and diagnose again. `tell` hears of each stage."""
    tell("diagnosing")
    given = request.diagnosis is not None
    before = _given(request, picture) if given else diagnose_pixels(models, picture.pixels_HWC3, name)
    tell("restoring")
    result = models.pipeline.restore(
        picture.as_float(),
        before,
        intent=request.intent,
        num_inference_steps=request.steps,
        seed=request.seed,
        callback_on_step_end=lambda pipe, step, time, tensors: tell(
            f"restoring, step {step + 1} of {request.steps or models.pipeline.steps}"
        ),
    )
    tell("diagnosing again")
    after = before if result.untouched else models.reasoner.diagnose([result.pixels_HWC3])[0]
    return Outcome(result.pixels_HWC3, result.untouched, before, after, result.settings, result.seconds)


def _given(request: Request, picture: Picture) -> DiagnosisRecord:
    from rnr.degradation.diagnosis import DiagnosisRecord
    from rnr.degradation.editing import beyond_top
    from rnr.degradation.kind import PHYSICS

    picture.note += beyond_top(request.diagnosis) if request.diagnosis else []
    model = f"given by {request.origin or 'the caller'}"
    return DiagnosisRecord(diagnosis=request.diagnosis, picture_size=picture.size, model=model, physics=PHYSICS)


def read_diagnosis(path: Path) -> Diagnosis:
    """A diagnosis, possibly edited, from any file that `rnr` writes. Raises SetupError that names each mistake."""
    from rnr.degradation.diagnosis import Diagnosis

    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if text.lstrip().startswith("[") else None  # what `rnr diagnose --json` prints
        if data is not None and len(data) != 1:
            raise SetupError(f"{path}: holds {len(data)} diagnoses; keep the one to restore by")
        return Diagnosis.from_json(json.dumps(data[0]) if data else text, str(path))
    except OSError as error:
        raise SetupError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError:
        raise SetupError(f"{path}: nested too deeply for a diagnosis") from None
    except ValueError as error:  # not text, not JSON, or not a diagnosis; the last one names the file itself
        problem = str(error) if str(error).startswith(str(path)) else f"{path}: not JSON text ({error})"
        raise SetupError(problem) from error


def versions() -> dict[str, str]:
    """What made a result: this release, the Diagnosis schema, torch, Python."""
    from rnr.degradation.diagnosis import SCHEMA_VERSION

    ours = {"reason-and-restore": __version__, "diagnosis_schema": SCHEMA_VERSION}
    return {**ours, "torch": metadata.version("torch"), "python": platform.python_version()}
