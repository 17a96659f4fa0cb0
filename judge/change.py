"""What a restoration changed: severity removed, new severity, over-correction, and whether the content is the same.

The agent accepts by it, the reward pays by it, reports print it. Severity alone is monotone: an image whose haze was
undone twice looks less hazy than the right one. So tones that were lost on the way count as severity, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.judge.content import PASS, same, unit

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

CELL = 4  # px: structure is what differs between cells; noise within them is averaged away
NEAR = 1.5 / 255  # of black or white: a clipped tone, of 8-bit images too
FLAT = 0.5 / 255  # standard deviation below which nothing is left to see
SEEN = 2 / 255  # standard deviation from which there was something; a choice
AGAINST = -0.5  # correlation below which tones are inverted; noise in 49 cells stays above
# By `python -m rnr.judge.calibrate` on photographs that nothing is measured on:
FREE = 0.089  # share of lost structure that is no over-correction: 95% of the clean images of mixtures stay below
LOSS = 0.62  # loss of MS-SSIM by the share of structure lost, of haze and low light undone too far
# Points by which the reading of a kind may rise by itself, when the image changes and the kind does not. Chosen on the
# sweeps of `rnr bench judge` with the six-kind reasoner (0, 3, 5 and 8 were tried); new weights may want another one.
JITTER = 5.0


@dataclass(frozen=True)
class Seen:
    """An image and what was read in it.

    Attributes:
        pixels_HWC3: uint8, uint16 or float in [0, 1].
        severity: 0-100 by kind (`reading.severities`); what could not be said is missing.
        present: The kinds that are to be removed, or were found.

    Example:
        >>> import numpy as np
        >>> Seen(np.zeros((64, 64, 3), np.uint8), {"noise": 40.0}, {"noise"}).severity["noise"]
        40.0
    """

    pixels_HWC3: np.ndarray
    severity: Mapping[str, float]
    present: Collection[str]


@dataclass(frozen=True)
class Change:
    """From one image to another, in points of severity.

    Attributes:
        removed: By how much the kinds present before fell in sum; negative where they rose.
        new: By how much the other kinds rose in sum, each beyond JITTER; 0 or more.
        over: Over-correction: clipped, flattened or inverted tones that the image before did not have, 0-100.
        content: `content.same`, 0-1.
        before: Severity of the kinds present before, in sum.

    Example:
        >>> found = Change(removed=40.0, new=5.0, over=0.0, content=1.0, before=50.0)
        >>> found.gain, found.same
        (35.0, True)
    """

    removed: float
    new: float
    over: float
    content: float
    before: float

    @property
    def gain(self) -> float:
        """What is left of the removed severity after what came up for it."""
        return self.removed - self.new - self.over

    @property
    def same(self) -> bool:
        return self.content >= PASS


def change(before: Seen, after: Seen) -> Change:
    """Compare two images of one size; see `Change`.

    Kinds that were not scored in both images do not count: what could not be said is no fall.

    Args:
        before: The image that was restored.
        after: The result.

    Raises:
        ValueError: The sizes differ.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        >>> before, after = Seen(image, {"noise": 40.0}, {"noise"}), Seen(image, {"noise": 10.0}, set())
        >>> change(before, after).gain
        30.0
    """
    content = same(before.pixels_HWC3, after.pixels_HWC3)
    over = over_correction(before.pixels_HWC3, after.pixels_HWC3)
    return reread(Change(0.0, 0.0, over, content, 0.0), before, after)


def reread(found: Change, before: Seen, after: Seen) -> Change:
    """The same change of pixels with other readings of it, such as of another view."""
    both = [kind for kind in before.severity if kind in after.severity]
    falls = {kind: before.severity[kind] - after.severity[kind] for kind in both}
    return replace(
        found,
        removed=sum(fall for kind, fall in falls.items() if kind in before.present),
        new=sum(max(0.0, -fall - JITTER) for kind, fall in falls.items() if kind not in before.present),
        before=sum(before.severity[kind] for kind in both if kind in before.present),
    )


def over_correction(before_HWC3: np.ndarray, after_HWC3: np.ndarray) -> float:
    """Severity, 0-100, of the tones that were lost, by the loss of MS-SSIM that they cost, as of all kinds."""
    import torch

    from rnr.degradation.measure import severity_of_loss

    beyond = max(0.0, lost_tones(before_HWC3, after_HWC3) - FREE)
    return float(severity_of_loss(torch.tensor(LOSS * beyond)))


def lost_tones(before_HWC3: np.ndarray, after_HWC3: np.ndarray) -> float:
    """Share, 0-1, of the structure of `before` that lies where `after`, and only `after`, is clipped, flat or inverted.

    Structure is the standard deviation among neighbouring cells of CELL px, without the share that noise has in it. A
    black sky that comes out of a haze is clipped, too, but it had no structure to lose.
    """
    a, b = unit(before_HWC3), unit(after_HWC3)
    clipped = _cells((((b < NEAR) & (a >= NEAR)) | ((b > 1 - NEAR) & (a <= 1 - NEAR))).astype(np.float32))
    mean_a, mean_b = _cells(a), _cells(b)
    grain = np.maximum(_cells(a * a) - mean_a**2, 0) / CELL**2
    structure = np.sqrt(np.maximum(_spread(mean_a, mean_a, 3) - grain, 0))
    flat = (np.sqrt(np.maximum(_spread(mean_b, mean_b, 3), 0)) < FLAT) & (structure > SEEN)
    scale = np.sqrt(np.maximum(_spread(mean_a, mean_a, 7) * _spread(mean_b, mean_b, 7), 1e-12))
    inverted = (_spread(mean_a, mean_b, 7) < AGAINST * scale) & (structure > SEEN)
    lost = np.maximum(clipped, (flat | inverted).astype(np.float32))
    return float((lost * structure).sum() / max(float(structure.sum()), 1e-6))


def _cells(image_HWC: np.ndarray) -> np.ndarray:
    """Means over cells of CELL px; of an image smaller than a cell, of the whole."""
    import cv2

    size = max(1, image_HWC.shape[1] // CELL), max(1, image_HWC.shape[0] // CELL)
    return cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA)


def _spread(a_HWC: np.ndarray, b_HWC: np.ndarray, size: int) -> np.ndarray:
    """Covariance in windows of so many cells."""
    import cv2

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, (size, size), borderType=cv2.BORDER_REFLECT)

    return mean(a_HWC * b_HWC) - mean(a_HWC) * mean(b_HWC)
