"""Every figure of this room: how many samples, a bootstrap interval, and AUROC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rnr.degradation._lazy import LazyModule

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

DRAWS = 1000
COVERAGE = 0.95
T = TypeVar("T")


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval; NaN where it could not be measured.

    Attributes:
        value: The figure.
        low: Lower end of the interval.
        high: Upper end.
        n: Samples behind it.

    Example:
        >>> print(Estimate(0.76, 0.43, 0.99, 12))
        0.76 [0.43, 0.99], n = 12
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}], n = {self.n}"


def bootstrap(samples: Sequence[T], measure: Callable[[Sequence[T]], float], seed: int = 0) -> Estimate:
    """Percentile bootstrap over samples (Efron 1979): what a measure says of them, with its 95% interval.

    Args:
        samples: What is drawn again with replacement: pictures, or pairs of numbers.
        measure: Of a list of samples; draws for which it is NaN are left out.
        seed: Of the draws.

    Example:
        >>> print(bootstrap([3.0, 3.0, 3.0], max))
        3.00 [3.00, 3.00], n = 3
    """
    if not samples:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(samples), (DRAWS, len(samples)))
    drawn = np.array([measure([samples[i] for i in row]) for row in picks], float)
    drawn = drawn[np.isfinite(drawn)]
    edge = (1 - COVERAGE) / 2
    low, high = np.quantile(drawn, [edge, 1 - edge]) if len(drawn) else (float("nan"), float("nan"))
    return Estimate(float(measure(samples)), float(low), float(high), len(samples))


def mean_of(values: Sequence[float], seed: int = 0) -> Estimate:
    """Mean of the values that are numbers, with its interval by the percentile bootstrap (Efron 1979), 1000 draws.

    Args:
        values: NaN is left out.
        seed: Of the draws.

    Example:
        >>> mean_of([1.0, 1.0, float("nan")])
        Estimate(value=1.0, low=1.0, high=1.0, n=2)
    """
    kept = np.array([float(value) for value in values if value == value])
    if not len(kept):
        return bootstrap([], lambda drawn: 0.0)
    picks = np.random.default_rng(seed).integers(0, len(kept), (DRAWS, len(kept)))
    low, high = np.quantile(kept[picks].mean(1), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Estimate(float(kept.mean()), float(low), float(high), len(kept))


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive scores above a negative one, ties half (Hanley & McNeil 1982).

    Args:
        positive: Scores of what should be high.
        negative: Scores of what should be low.

    Returns:
        0..1; 0.5 is chance, NaN where there are none of either.

    Example:
        >>> auroc([2.0, 3.0], [1.0, 3.0])
        0.625
    """
    if not len(positive) or not len(negative):
        return float("nan")
    above = np.asarray(positive, float)[:, None] - np.asarray(negative, float)
    return float(((above > 0) + 0.5 * (above == 0)).mean())
