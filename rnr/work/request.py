"""How a picture is to be restored, and the diagnosis that somebody gives along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation.errors import SetupError
from rnr.degradation.strength import FULL, Strength, checked
from rnr.images.frames import Which

if TYPE_CHECKING:
    from rnr.degradation.diagnosis import Diagnosis
    from rnr.degradation.intent import Intent

STEPS = range(1, 101)


@dataclass(frozen=True)
class Request:
    """How to restore. `only` limits the removal to some kinds; `diagnosis` replaces the reasoner's own."""

    num_inference_steps: int | None = None  # None: the restorer's own
    seed: int = 0
    only: tuple[str, ...] = ()
    diagnosis: Diagnosis | None = None
    origin: str = ""  # where that diagnosis came from, for the record
    strength: Strength = FULL  # how far each leg goes, 0..100, or by kind
    stamp: bool = False  # write the record into the picture's XMP
    strip_gps: bool = False  # leave positions out of EXIF and XMP
    force: bool = False  # restore also what the reasoner is not sure of
    frames: Which = "all"  # of a file that holds several pictures
    quality: float | None = None  # score 0..100 that the result is to have, of restorers that have this dial
    task: str | None = None  # what the result is for, of restorers that have prompts of tasks
    instruct: str | None = None  # what is wanted, in words

    def check(self) -> Request:
        """Itself. Raises SetupError for a setting that cannot be."""
        from rnr.degradation.intent import checked_quality
        from rnr.degradation.kind import kind_named

        if (steps := self.num_inference_steps) is not None and steps not in STEPS:
            raise SetupError(f"num_inference_steps must lie in {STEPS[0]}..{STEPS[-1]}, not {steps}")
        if not 0 <= self.seed < 2**63:
            raise SetupError(f"the seed must be 0 or more, not {self.seed}")
        if self.instruct is not None and not self.instruct.strip():
            raise SetupError("the instruction is empty; say what is to go, or leave it out")
        try:
            checked(self.strength)
            checked_quality(self.quality)
            return replace(self, only=tuple(dict.fromkeys(kind_named(name).name for name in self.only)))
        except ValueError as error:
            raise SetupError(str(error)) from None

    @property
    def intent(self) -> Intent | None:
        """What is wanted of the restorer; None: all that was found, all the way."""
        from rnr.degradation.intent import RESTORE, Intent

        asked = (self.quality, self.task, self.instruct)
        if not self.only and self.strength == FULL and not self.force and asked == (None, None, None):
            return None
        kinds = list(self.only) or None
        return Intent(kinds, self.task or RESTORE, self.instruct, self.strength, self.force, self.quality)

    @property
    def asked(self) -> dict[str, Any]:
        """The settings by which a result is known again, by their names in records; those that came later where set."""
        settings = {"steps": self.num_inference_steps, "seed": self.seed, "only": list(self.only)}
        usual = {"strength": FULL, "stamp": False, "strip_gps": False, "force": False, "frames": "all"}
        usual |= {"quality": None, "task": None, "instruct": None}
        later = {name: getattr(self, name) for name in usual}
        if isinstance(self.strength, Mapping):
            later["strength"] = dict(self.strength)
        return settings | {name: value for name, value in later.items() if value != usual[name]}


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
