"""Words about a picture's quality: captions from a Diagnosis, and the ladders that a score is read from.

A caption of synthetic damage is true by construction: kind and level come from the recipe, the rung of the ladder from
the full-reference quality. UniQA has captions written by a multimodal model from a level hint; here the Diagnosis is
the hint. Of aesthetics nothing is said, because nothing is known: lighting and colours stand in captions as they are
measured, never as a judgement.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from rnr.degradation.diagnosis import Diagnosis, Scene
from rnr.degradation.kind import kinds

LEVELS = ((75, "severe"), (50, "strong"), (25, "moderate"), (1, "slight"))  # least severity; a choice
RUNGS = 5
VALUES = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the rungs (UniQA, section 3.4); the adapter learns its own
JOINTS = (",", ".", "and", "with", "no", "damage", "visible", "mostly", "light")


@dataclass(frozen=True)
class Ladder:
    """Five words from worst to best in one sentence."""

    sentence: str
    words: tuple[str, str, str, str, str]

    @property
    def prompts(self) -> tuple[str, ...]:
        return tuple(self.sentence.format(word) for word in self.words)


LADDERS = (
    Ladder("a {} photo", ("bad", "poor", "fair", "good", "perfect")),
    Ladder("{} quality", ("terrible", "low", "average", "high", "excellent")),
    Ladder("a {} picture", ("ruined", "badly damaged", "visibly damaged", "hardly damaged", "undamaged")),
    Ladder("{} of the picture is lost", ("nearly all", "much", "a part", "little", "nothing")),
)


def rung(score: float) -> int:
    """0-4, worst to best, of a quality 0-100.

    Example:
        >>> rung(5), rung(50), rung(100)
        (0, 2, 4)
    """
    return min(RUNGS - 1, int(score / 100 * RUNGS))


def level(severity: float) -> str:
    """A word for a severity 1-100."""
    return next(word for edge, word in LEVELS if severity >= edge)


def findings_text(diagnosis: Diagnosis) -> str:
    """Damage and its level, the worst first.

    Example:
        >>> from rnr.degradation.diagnosis import Finding
        >>> findings_text(Diagnosis(findings={"haze": Finding(present=True, severity=60)}))
        'strong haze'
    """
    present = sorted(diagnosis.present, key=lambda name: -(diagnosis.findings[name].severity or 0))
    named = [f"{level(diagnosis.findings[name].severity or 1)} {title(name)}" for name in present]
    return " , ".join(named) or "no visible damage"


def title(kind: str) -> str:
    """A kind as captions call it."""
    return kind.replace("_", " ")


def scene_text(scene: Scene) -> str:
    """Lighting, texture and colours as they were measured; "" where they are not known."""
    words = [f"{scene.lighting} light"] if scene.lighting else []
    words += [scene.texture.replace("_", " ")] if scene.texture else []
    words += ["mostly " + " and ".join(scene.colours)] if scene.colours else []
    return " , ".join(words)


def captions_of(diagnosis: Diagnosis, score: float | None = None, seed: int = 0) -> list[str]:
    """Captions of one picture, from short to long; the last one says all.

    Args:
        diagnosis: What happened to it: of synthetic damage, or a reasoner's own.
        score: Its quality 0-100; None: the diagnosis' own, and without one no caption names a rung.
        seed: Draws the ladder.

    Example:
        >>> from rnr.degradation.diagnosis import Finding
        >>> captions_of(Diagnosis(findings={"noise": Finding(present=True, severity=30)}), 65)[:2]
        ['little of the picture is lost', 'moderate noise']
    """
    score = diagnosis.quality.technical if score is None else score
    found, scene = findings_text(diagnosis), scene_text(diagnosis.scene)
    if score is None:
        return [found, *([f"{found} . {scene}"] if scene else [])]
    ladder = LADDERS[random.Random(seed).randrange(len(LADDERS))]
    rated = ladder.prompts[rung(score)]
    whole = f"{rated} with {found}"
    return [rated, found, whole, *([f"{whole} . {scene}"] if scene else [])]


def vocabulary(extra: Sequence[str] = ()) -> list[str]:
    """All words that captions can hold, sorted; `extra`: texts of other words, such as a teacher's."""
    from rnr.degradation.scene import COLOURS, LIGHTING, TEXTURE

    texts = [prompt for ladder in LADDERS for prompt in ladder.prompts]
    texts += [*JOINTS, *(word for _, word in LEVELS), *(title(name) for name in kinds())]
    texts += [word.replace("_", " ") for word in (*COLOURS, *LIGHTING, *TEXTURE)]
    return sorted({word for text in [*texts, *extra] for word in text.split()})
