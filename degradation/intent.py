"""What is wanted of a restoration, as the Diagnosis is what is there."""

from __future__ import annotations

from dataclasses import dataclass

from rnr.degradation.errors import SetupError
from rnr.degradation.strength import FULL, Strength, strength_of

RESTORE = "restore"  # the task where nobody asks for another


@dataclass
class Intent:
    """What is wanted, as the Diagnosis is what is there.

    Attributes:
        kinds: Limits the removal; None: all that was found, but for findings that the model is not sure of.
        task: What the result is for, of restorers that have prompts of tasks: `classification`, `reading`, ...;
            `restore` is for people. Others refuse all but that.
        instruction: What was asked in words, for restorers that read text. The built-in one does not: `rnr.restore(...,
            instruct=...)` reads it and limits `kinds`.
        strength: How far each leg goes, 0-100, or by kind: 0 gives the same picture back, 100 goes to its end.
        force: Remove also findings that the model is not sure of.
        quality: Score 0-100 that the result is to have, for restorers that can be asked for one: a latent one (None:
            the best), and experts with an adapter (None: without it). Others refuse it.

    Example:
        >>> Intent(kinds=["noise"], strength={"noise": 60}).strength_of("noise")
        60.0
    """

    kinds: list[str] | None = None
    task: str = RESTORE
    instruction: str | None = None
    strength: Strength = FULL
    force: bool = False
    quality: float | None = None

    def strength_of(self, kind: str) -> float:
        """Strength of one kind's leg, 0..100."""
        return strength_of(self.strength, kind)


def checked_quality(quality: float | None, best: float = 100.0) -> float:
    """The score that is asked for; None: `best`. Raises SetupError for one outside 0..100.

    Example:
        >>> checked_quality(None), checked_quality(90)
        (100.0, 90.0)
    """
    if quality is not None and not 0 <= quality <= 100:  # also NaN
        raise SetupError(f"a quality lies in 0..100, not {quality:g}")
    return best if quality is None else float(quality)


def refuse_quality(intent: Intent | None, restorer: str) -> None:
    """Raises SetupError where a quality is asked of a restorer that cannot be asked for one."""
    if intent is not None and intent.quality is not None:
        raise SetupError(
            f"{restorer}: has no dial of quality; leave out --quality, or name a latent one (rnr train codes) or a "
            "--quality-adapter (rnr train quality-adapter)"
        )


def refuse_task(intent: Intent | None, restorer: str) -> None:
    """Raises SetupError where a task is asked of a restorer that has no prompts of tasks."""
    if intent is not None and intent.task != RESTORE:
        raise SetupError(
            f"{restorer}: has no prompts of tasks; leave out --task, or name one that has (rnr train tasks)"
        )
