"""What worked on pictures before, by their diagnosis: the doses of steps that were kept, and of those that were not.

Two pictures count as alike where the same kinds were found, each in the same fifth of the scale. What is known of them
is a note in the store, under the hash of that description, so that all threads and processes of a store share it. It is
off by default (`Context.memory`), since a run's result then depends on the runs before it; where a remembered dose is
used, the plan says so.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from filelock import FileLock

from rnr.degradation.strength import FULL
from rnr.graph.state import Look, Step
from rnr.graph.store import Store
from rnr.judge.change import Change

FIFTH = 20.0  # severity points of a class; a choice
ENOUGH = 2  # pictures on which a dose must have been kept before it is tried first; a choice
NOTE = "memory"


@dataclass(frozen=True)
class Remembered:
    """The dose to try first.

    Attributes:
        dose: Percent of each leg.
        kept: Pictures on which it was kept.
        tried: Pictures on which it was tried.
        gain: Severity points by which damage fell, the mean over those that tried it; a step rolled back counts as 0.
    """

    dose: float
    kept: int
    tried: int
    gain: float

    def __str__(self) -> str:
        return f"dose {self.dose:g}% was kept on {self.kept} of {self.tried} pictures with such a diagnosis"


def place(look: Look, kinds: list[str]) -> str:
    """The hash under which steps for these kinds on such a picture are remembered."""
    severity = {kind: int(look["severity"].get(kind, 0) // FIFTH) for kind in sorted(look["present"])}
    return hashlib.sha256(json.dumps([sorted(kinds), severity], sort_keys=True).encode()).hexdigest()


def recall(store: Store, look: Look, kinds: list[str]) -> Remembered | None:
    """The dose with the highest mean gain among those that were kept often enough; None where nothing is known."""
    doses = (store.note(place(look, kinds), NOTE) or {}).get("doses", {})
    known = [
        Remembered(float(dose), seen["kept"], seen["tried"], seen["gain"] / seen["tried"])
        for dose, seen in doses.items() if seen["kept"] >= ENOUGH
    ]  # fmt: skip
    return max(known, key=lambda each: (each.gain, each.dose), default=None)


def remember(store: Store, step: Step) -> None:
    """Add what a judged step showed of each of its doses."""
    sha256 = place(step["start"], step["proposal"]["kinds"])
    with FileLock(store.folder / f".{NOTE}.lock"):
        note = store.note(sha256, NOTE) or {"kinds": sorted(step["proposal"]["kinds"]), "doses": {}}
        for candidate in step["candidates"]:
            dose = f"{candidate['draw'].get('dose', FULL):g}"
            seen = note["doses"].setdefault(dose, {"kept": 0, "tried": 0, "gain": 0.0})
            accepted = bool(candidate.get("accepted"))
            seen["tried"] += 1
            seen["kept"] += accepted
            seen["gain"] += Change(**candidate["change"]).gain if accepted else 0.0
        store.keep_note(sha256, NOTE, note)
