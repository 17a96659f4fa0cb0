"""What is wanted of a restoration, as the Diagnosis is what is there."""

from __future__ import annotations

from dataclasses import dataclass

from rnr.degradation.strength import FULL, Strength, strength_of


@dataclass
class Intent:
    """What is wanted, as the Diagnosis is what is there. `kinds` limits the removal; None = all that was found.

    Where `kinds` is None, a model's finding that it is not sure of is left alone (`left_alone`); `force` removes it all
    the same. `strength` (0..100) is how far each leg goes: 0 gives the same picture back, 100 goes to its end; a
    mapping gives it by kind. `instruction` is for restorers that read text; the built-in one ignores it and says so.
    """

    kinds: list[str] | None = None
    task: str = "restore"
    instruction: str | None = None
    strength: Strength = FULL
    force: bool = False

    def strength_of(self, kind: str) -> float:
        """Strength of one kind's leg, 0..100."""
        return strength_of(self.strength, kind)
