"""One picture through the two models: diagnose, restore, diagnose again. Command line and Python API stand on it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr import __version__
from rnr.degradation.errors import Error
from rnr.degradation.recipe import recipe_of
from rnr.frames import Frames, Which
from rnr.pictures import Picture, PictureError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
    from rnr.degradation.strength import Strength
    from rnr.reasoner import Reasoner
    from rnr.reasoner.server import ServerReasoner
    from rnr.restorer import Intent

BUILT_IN = "built-in"
EXTRAS = {"ray": "ray", "torchvision": "qwen", "qwen_vl_utils": "qwen"}
STEPS = range(1, 101)
OUT_OF_MEMORY = "a smaller batch or size, gradient_checkpointing, quantisation or offload in the recipe need less"


class SetupError(Error, ValueError):
    """Nothing could be started: missing or broken weights, no such device, a diagnosis that makes no sense."""


@dataclass(frozen=True)
class Request:
    """How to restore. `only` limits the removal to some kinds; `diagnosis` replaces the reasoner's own."""

    steps: int | None = None  # None: the restorer's own
    seed: int = 0
    only: tuple[str, ...] = ()
    diagnosis: Diagnosis | None = None
    origin: str = ""  # where that diagnosis came from, for the record
    strength: Strength = 100.0  # how far each leg goes, 0..100, or by kind
    stamp: bool = False  # write the record into the picture's XMP
    strip_gps: bool = False  # leave positions out of EXIF and XMP
    force: bool = False  # restore also what the reasoner is not sure of
    frames: Which = "all"  # of a file that holds several pictures

    def check(self) -> Request:
        """Itself. Raises SetupError for a setting that cannot be."""
        from rnr.degradation.kind import kind_named
        from rnr.degradation.strength import checked

        if self.steps is not None and self.steps not in STEPS:
            raise SetupError(f"steps must lie in {STEPS[0]}..{STEPS[-1]}, not {self.steps}")
        if not 0 <= self.seed < 2**63:
            raise SetupError(f"the seed must be 0 or more, not {self.seed}")
        try:
            checked(self.strength)
            return replace(self, only=tuple(dict.fromkeys(kind_named(name).name for name in self.only)))
        except ValueError as error:
            raise SetupError(str(error)) from None

    @property
    def intent(self) -> Intent | None:
        """What is wanted of the restorer; None: all that was found, all the way."""
        from rnr.restorer import Intent

        if not self.only and self.strength == 100 and not self.force:
            return None
        return Intent(kinds=list(self.only) or None, strength=self.strength, force=self.force)

    @property
    def asked(self) -> dict[str, Any]:
        """The settings by which a result is known again. Those that came later stand there where they are set."""
        settings = {"steps": self.steps, "seed": self.seed, "only": list(self.only)}
        strength = dict(self.strength) if isinstance(self.strength, Mapping) else self.strength
        later = {"strength": strength, "stamp": self.stamp, "strip_gps": self.strip_gps, "force": self.force}
        later["frames"] = self.frames
        usual = {"strength": 100.0, "stamp": False, "strip_gps": False, "force": False, "frames": "all"}
        return settings | {name: value for name, value in later.items() if value != usual[name]}


@dataclass
class Outcome:
    """What came of one picture. `after` is `before` where it was left untouched, and has an `error` where it failed."""

    pixels_HWC3: NDArray[Any]  # float32 in [0, 1]; of one of several at the depth of the picture
    untouched: bool
    before: DiagnosisRecord
    after: DiagnosisRecord
    settings: dict[str, Any]  # of the restorer: model, model_hash, steps, seed, ...
    seconds: float  # of the restoration alone


class Models:
    """The reasoner and the restorer, each loaded when first used. Raises SetupError where one cannot be."""

    def __init__(self, reasoner: str = BUILT_IN, restorer: str = BUILT_IN, device: str = "auto") -> None:
        self.names, self.device_wanted = (reasoner, restorer), device
        self._loading = threading.RLock()  # transformers cannot load two models at the same time

    def load(self) -> None:
        """Both, now rather than when they are used."""
        _ = self.reasoner, self.pipeline

    @cached_property
    def device(self) -> str:
        import torch

        if self.device_wanted == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        try:
            torch.zeros(1, device=self.device_wanted)
        except Exception as error:  # AssertionError, RuntimeError, NotImplementedError: by the build of torch
            problem = str(error).splitlines()[0]
            raise SetupError(f"device {self.device_wanted!r} cannot be used here ({problem}); try cpu") from None
        return self.device_wanted

    @property
    def reasoner(self) -> Reasoner | ServerReasoner:
        with self._loading:
            return self._reasoner

    @cached_property
    def _reasoner(self) -> Reasoner | ServerReasoner:
        quiet()
        with explained(self.names[0]):
            name, options = recipe_of(self.names[0])
            from rnr.reasoner import is_server, load_reasoner

            return load_reasoner(name, "cpu" if is_server(name) else self.device, **options)

    @property
    def at_once(self) -> int:
        """Pictures that the reasoner takes at the same time: one, or the `workers` of a server's client."""
        return getattr(self.reasoner, "workers", 1)

    @property
    def pipeline(self) -> Any:
        """Anything with the `restore` of `RestorePipeline`."""
        with self._loading:
            return self._pipeline

    @cached_property
    def _pipeline(self) -> Any:
        quiet()
        with explained(self.names[1]):
            name, options = recipe_of(self.names[1])
            from rnr.restorer import load_restorer

            return load_restorer(name, device=self.device, **options)


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """What goes wrong while a model is loaded, as SetupError."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name), "train")
        remedy = f"pip install 'reason-and-restore[{extra}]'"
        raise SetupError(f"{error.name} is not installed, {name} needs it: {remedy}") from error
    except TypeError as error:
        raise SetupError(f"{name}: {error}; is every option of the recipe spelt right?") from error
    except (ValueError, OSError, MemoryError) as error:
        raise SetupError(f"{error}") from error
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's; the models themselves know better what to turn
            raise
        raise SetupError(f"{name}: out of memory; {OUT_OF_MEMORY}") from error


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


def restore_frames(
    models: Models, frames: Frames, request: Request, name: str, tell: Callable[[str], None]
) -> list[Outcome]:
    """Every picture of a file: pages by their own diagnosis, frames of an animation by that of the first, so that
    they do not flicker."""
    outcomes: list[Outcome] = []
    for number, picture in enumerate(frames.pictures, 1):
        place = frames.words(number)
        known = outcomes[0].before if frames.animated and outcomes else None
        told = (lambda stage, at=place: tell(f"{at}, {stage}")) if place else tell
        outcome = restore_picture(models, picture, request, name, told, known)
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
    """Diagnose, restore and diagnose again. `tell` hears of each stage; `known` is a record that was made before."""
    tell("diagnosing")
    given = request.diagnosis is not None
    before = known or (_given(request, picture) if given else diagnose_pixels(models, picture.pixels_HWC3, name))
    tell("restoring")
    result = models.pipeline.restore(
        picture.as_float(),
        before,
        intent=request.intent,
        num_inference_steps=request.steps,
        seed=request.seed,
        callback_on_step_end=lambda pipe, step, time, tensors: tell(
            _stage(tensors.get("kinds", ()), step, request.steps or models.pipeline.steps)
        ),
    )
    tell("diagnosing again")
    after = before if result.untouched else models.reasoner.diagnose([result.pixels_HWC3])[0]
    return Outcome(result.pixels_HWC3, result.untouched, before, after, result.settings, result.seconds)


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
