"""Photographs with known damage, as the tests of faithfulness use them: a minimal pair, and what is true of it.

x holds one kind that the case is about and perhaps others; x' is the same photograph with the same random layers and
without that kind. Whatever differs between the two was caused by the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.kind import kinds
from rnr.degradation.photographs import random_crops, to_uint8
from rnr.degradation.synthesize import Mixture, degrade, prescribe, truths

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

SIDE = 144  # px of a case; a view of the built-in reasoner is 128
SEVERITY = (25, 75)  # of the kinds of a case; a choice: below nothing is seen, above little else
OTHERS = (0, 1, 1, 2)  # how many other kinds a case holds, drawn with equal chance
SCENES = 48  # synthetic crops a kind from which `rule` is read


@dataclass
class Case:
    """One minimal pair.

    Attributes:
        kind: What the pair is about.
        clean: (1, 3, H, W) in [0, 1].
        mixture: The recipe of x.
        damaged: x, (1, 3, H, W) in [0, 1] on 8-bit levels.
        spared: x', without the kind.
        names: The kinds that are asked for.
    """

    kind: str
    clean: torch.Tensor
    mixture: Mixture
    damaged: torch.Tensor
    spared: torch.Tensor
    names: Sequence[str]

    @property
    def picture(self) -> np.ndarray:
        """x as uint8 (H, W, 3)."""
        return to_uint8(self.damaged)

    @property
    def pair(self) -> np.ndarray:
        """x' as uint8 (H, W, 3)."""
        return to_uint8(self.spared)

    @property
    def truth(self) -> Diagnosis:
        """The true diagnosis of x."""
        return truths(self.clean, self.damaged, self.mixture, self.names)[0]

    @property
    def severity(self) -> float:
        """True severity of the kind."""
        return float(self.mixture.severity(self.kind)[0])


def draw_cases(
    photographs: Sequence[np.ndarray], count: int, names: Sequence[str], seed: int = 0, side: int = SIDE
) -> list[Case]:
    """Cases in which the kinds take turns.

    Args:
        photographs: Clean, uint8 (H, W, 3).
        count: How many.
        names: Kinds to draw from: those of the weights that are measured.
        seed: Of everything that is drawn.
        side: Of the crops, px.
    """
    rng = np.random.default_rng(seed)
    cases = []
    for number in range(count):
        kind = names[number % len(names)]
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        clean = random_crops(
            [photographs[int(rng.integers(len(photographs)))]], 1, (side, side), generator, upright=True
        )
        others = rng.permutation([name for name in names if name != kind])[: rng.choice(OTHERS)]
        wanted = {name: min(int(rng.integers(*SEVERITY)), int(kinds()[name].top)) for name in (kind, *others.tolist())}
        cases.append(case_of(clean, wanted, kind, names, int(rng.integers(2**31))))
    return cases


def case_of(clean: torch.Tensor, severities: dict[str, int], kind: str, names: Sequence[str], seed: int) -> Case:
    """The minimal pair of a clean crop (1, 3, H, W), damaged by these kinds at these severities."""
    mixture = prescribe(dict(severities), seed)
    keep = {step.kind.name: torch.tensor([step.kind.name != kind]) for step in mixture.steps}
    return Case(kind, clean, mixture, degrade(clean, mixture), degrade(clean, mixture, keep), names)


class Rule:
    """What the evidence of a kind says about its severity: the mean true severity of synthetic crops, word by word.

    The physics' own answer to "which severity follows from these words", read off mixtures as the reasoner was trained
    on; words that were never met take their neighbour's value, and the curve is made monotone.
    """

    def __init__(
        self, photographs: Sequence[np.ndarray], names: Sequence[str], seed: int = 0, scenes: int = SCENES
    ) -> None:
        self.scenes, self.names = scenes, list(names)
        self.words = {name: kinds()[name].measurement.texts for name in names}
        self._photographs, self._seed = list(photographs), seed
        self._table = lru_cache(None)(self._read)

    def __call__(self, kind: str, evidence: str) -> float:
        """Severity 0..100 that follows from the words. Raises ValueError for words that are none of the kind's."""
        return self._table(kind)[self.words[kind].index(evidence)]

    def _read(self, kind: str) -> list[float]:
        found: dict[int, list[float]] = {}
        generator = torch.Generator().manual_seed(self._seed)
        for number in range(self.scenes):
            clean = random_crops(self._photographs, 1, (SIDE, SIDE), generator, upright=True)
            severity = number / (self.scenes - 1) * kinds()[kind].top
            image = degrade(clean, prescribe({kind: severity}, number)) if severity > 1 else clean
            value = float(kinds()[kind].measure(image)[0])
            place = self.words[kind].index(kinds()[kind].measurement.text(value))
            found.setdefault(place, []).append(severity)
        known = {place: float(np.mean(values)) for place, values in found.items()}
        values = [known[nearest(list(known), place)] for place in range(len(self.words[kind]))]
        return monotone(values, kinds()[kind].measurement.falls)

    def opposite(self, kind: str, evidence: str) -> str:
        """The words of the kind whose severity is furthest from that of these words."""
        here = self(kind, evidence)
        return max(self.words[kind], key=lambda other: abs(self(kind, other) - here))


def monotone(values: Sequence[float], falls: bool) -> list[float]:
    """The middle between the least monotone curve above the values and the greatest below them."""
    curve = np.array(values[::-1] if falls else values, float)
    above, below = np.maximum.accumulate(curve), np.minimum.accumulate(curve[::-1])[::-1]
    middle = ((above + below) / 2).tolist()
    return middle[::-1] if falls else middle


def nearest(places: Sequence[int], place: int) -> int:
    """The one of some places that is nearest."""
    return min(places, key=lambda other: abs(other - place))
