"""What is wanted of a restoration, as the Diagnosis is what is there."""

from __future__ import annotations

from dataclasses import dataclass

from rnr.degradation.strength import FULL, Strength, strength_of


@dataclass
class Intent:
    """What is wanted, as the Diagnosis is what is there.

    Attributes:
        kinds: Limits the removal; None: all that was found, but for findings that the model is not sure of.
        task: Name of a task, for restorers that have several.
        instruction: For restorers that read text; the built-in one ignores it and says so.
        strength: How far each leg goes, 0-100, or by kind: 0 gives the same picture back, 100 goes to its end.
        force: Remove also findings that the model is not sure of.

    Example:
        >>> Intent(kinds=["noise"], strength={"noise": 60}).strength_of("noise")
        60.0
    """

    kinds: list[str] | None = None
    task: str = "restore"
    instruction: str | None = None
    strength: Strength = FULL
    force: bool = False

    def strength_of(self, kind: str) -> float:
        """Strength of one kind's leg, 0..100."""
        return strength_of(self.strength, kind)
