"""Scores of beliefs, textures and texts: presence, calibration, rank correlation, intervals, spectra, character error.

Legend: N observations; a probability is P(present), `present` the ground truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rnr.degradation._lazy import LazyModule, need

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

BINS = 10  # of the reliability diagram
RINGS = 32  # of the radial spectrum, from 0 to half a cycle per pixel
FLOOR = (0.5 / 255) ** 2 / 12  # power of rounding to half a level: silence below that is no texture
RESAMPLES = 500  # of a bootstrap

Statistic = Callable[["np.ndarray"], float]  # of the indices of what is drawn


class Presence(NamedTuple):
    precision: float
    recall: float
    f1: float


def presence(truth: Sequence[bool], said: Sequence[bool]) -> Presence:
    """Precision, recall and F1 of "present"; NaN where nothing was there to be found or claimed."""
    true, claimed = np.asarray(truth, bool), np.asarray(said, bool)
    hits, misses, inventions = (true & claimed).sum(), (true & ~claimed).sum(), (~true & claimed).sum()
    return Presence(
        _ratio(hits, hits + inventions), _ratio(hits, hits + misses), _ratio(2 * hits, 2 * hits + misses + inventions)
    )


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


class Bin(NamedTuple):
    confidence: float  # mean probability in the bin
    frequency: float  # share that is really present
    findings: int


def reliability(probability: Sequence[float], truth: Sequence[bool], bins: int = BINS) -> list[Bin]:
    """The bins of equal width that are not empty, from 0 to 1."""
    p, true = np.asarray(probability, float), np.asarray(truth, float)
    place = np.minimum((p * bins).astype(int), bins - 1)
    masks = [place == i for i in range(bins)]
    return [Bin(float(p[m].mean()), float(true[m].mean()), int(m.sum())) for m in masks if m.any()]


def calibration_error(probability: Sequence[float], truth: Sequence[bool], bins: int = BINS) -> float:
    """Expected calibration error: mean |confidence - frequency| of the bins by their share (Guo et al., ICML 2017)."""
    rows = reliability(probability, truth, bins)
    total = sum(row.findings for row in rows)
    return sum(abs(row.confidence - row.frequency) * row.findings for row in rows) / total if total else float("nan")


def spearman(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Spearman's rank correlation, ties at their mean rank; NaN for fewer than 3 values or a constant one.

    The ranks' linear correlation: scipy's `spearmanr` takes five times as long, which a bootstrap feels.
    """
    ranks = need("scipy.stats", "bench").rankdata([a, b], axis=1)
    if len(a) < 3 or not np.ptp(ranks, axis=1).all():
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def coverage(intervals: Sequence[tuple[float, float]], truth: Sequence[float]) -> float:
    """Share of true values inside their interval, ends included."""
    inside = [low <= value <= high for (low, high), value in zip(intervals, truth)]
    return float(np.mean(inside)) if inside else float("nan")


def median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def average(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def percent(hits: Sequence[bool]) -> float | None:
    """Share of hits in percent; None of none."""
    return 100 * sum(hits) / len(hits) if hits else None


def worst_twentieth(values: Sequence[float], cap: float = 60.0) -> float:
    """Mean of the lowest 5%, at least one value. Cut at `cap`: a photograph returned bit for bit has infinite PSNR."""
    ordered = np.sort(np.minimum(np.asarray(values, float), cap))
    return float(ordered[: max(1, -(-len(ordered) // 20))].mean()) if len(ordered) else float("nan")


def radial_spectrum(luma_HW: np.ndarray) -> np.ndarray:
    """Power of the Hann-windowed luma, averaged over RINGS rings of frequency below half a cycle per pixel, in dB.

    Normalised so that white noise of variance v gives 10 log10(v) in every ring, whatever the picture's size.
    """
    window_HW = np.hanning(luma_HW.shape[0])[:, None] * np.hanning(luma_HW.shape[1])
    power_HF = np.abs(np.fft.rfft2((luma_HW - luma_HW.mean()) * window_HW)) ** 2 / (window_HW**2).sum()
    frequency_HF = np.hypot(np.fft.fftfreq(luma_HW.shape[0])[:, None], np.fft.rfftfreq(luma_HW.shape[1]))
    ring = np.minimum((frequency_HF * 2 * RINGS).astype(int), RINGS).ravel()  # the last one, the corners, is dropped
    count = np.bincount(ring, minlength=RINGS + 1)
    sums = np.bincount(ring, power_HF.ravel(), RINGS + 1)
    return 10 * np.log10(sums[:RINGS] / np.maximum(count[:RINGS], 1) + FLOOR)


def spectrum_distance(image_HW: np.ndarray, clean_HW: np.ndarray) -> float:
    """Root mean square difference of the two radial spectra over the rings, in dB: 0 = the same amount of texture."""
    difference = radial_spectrum(image_HW) - radial_spectrum(clean_HW)
    return float(np.sqrt((difference**2).mean()))


def interval(count: int, statistic: Statistic, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float]:
    """95% of a statistic over pictures that are drawn again, with replacement."""
    draw = np.random.default_rng(seed)
    values = [statistic(draw.integers(0, count, count)) for _ in range(resamples)]
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)


def character_error(said: Sequence[str], wanted: Sequence[str]) -> float:
    """Character error rate: edits (Levenshtein) of all lines by the characters that were wanted; spaces do not count.

    Example:
        >>> character_error(["he1lo", "word"], ["hello", "world"])
        0.2
    """
    pairs = [("".join(a.split()), "".join(b.split())) for a, b in zip(said, wanted, strict=True)]
    return sum(edits(a, b) for a, b in pairs) / max(1, sum(len(b) for _, b in pairs))


def edits(a: str, b: str) -> int:
    """The fewest insertions, deletions and replacements that make b of a."""
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        row, before = [i], row
        for j, other in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (one != other)))
    return row[-1]
