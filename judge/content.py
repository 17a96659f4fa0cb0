"""Do two images show the same content, whatever their light? One number, calibrated, for agent, reward and report.

A restoration may change light (haze: J = (I - A(1 - t)) / t; low light: I = (a J)^gamma), noise, rain and sharpness; it
may not move, replace, erase or paint anything. So luma and two colour differences of both images are split into
band-pass pyramids, and compared where light cancels: correlation after local contrast normalisation, how much a shift
would raise it, and in windows the structure of one image that the other cannot explain by a gain, against what is
unexplained elsewhere (which is noise). A network of 8 hidden units weighs these numbers. It was fitted on mixtures of
all kinds, the clean image against others, shifted, cropped, erased and flat ones: `python -m rnr.judge.calibrate`.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

WEIGHTS = Path(__file__).parent / "content.json"
PASS = 0.5  # from here on the content is the same; the calibration puts its threshold here
SIDE = 128  # px of the copies that are compared; a choice: 6 ms a pair, rain and noise are averaged in the coarse bands
NATIVE = 2 * SIDE  # px of a cut at the image's own scale, where a shift shows that a small copy of a large image hides
LEVELS = 4  # octaves of a pyramid
WINDOW = (25, 13, 9, 5)  # px of the windows at each level: a fifth to a third of the image
SHIFTS = (8, 4, 2)  # px at the three finest levels of luma up to which a shift is looked for
FLOOR = 0.02  # of the mean energy of a band, below which a window counts as empty


def same(before_HWC3: np.ndarray, after_HWC3: np.ndarray) -> float:
    """Whether `after` shows what `before` shows, 0 (something else) to 1; from `PASS` on it counts as the same.

    Args:
        before_HWC3: uint8, uint16 or float in [0, 1], (H, W, 3); it may be damaged.
        after_HWC3: Of the same height and width, of any of these types.

    Returns:
        The score of the whole, or of a native cut from the middle of a large image if that is lower. A shift
        below about 4 px, and an object smaller than a tenth of the side, are not seen; images below 192 px are judged
        mildly (of 90 mixtures at 128 px every clean image passed, and a fifth of the other photographs).

    Raises:
        ValueError: The sizes differ.

    Example:
        >>> import numpy as np
        >>> from PIL import Image
        >>> image = np.asarray(Image.open("photo.jpg")) / 255
        >>> same(image, 0.2 + 0.6 * image) > PASS, same(image, image[::-1]) > PASS
        (True, False)
    """
    if before_HWC3.shape != after_HWC3.shape:
        raise ValueError(f"images of one size are compared, not {before_HWC3.shape} and {after_HWC3.shape}")
    if before_HWC3 is after_HWC3 or np.array_equal(before_HWC3, after_HWC3):
        return 1.0
    height, width = before_HWC3.shape[:2]
    scores = [score(features(before_HWC3, after_HWC3))]
    if min(height, width) >= NATIVE and max(height, width) > 1.25 * NATIVE:
        top, left = (height - NATIVE) // 2, (width - NATIVE) // 2
        cut = slice(top, top + NATIVE), slice(left, left + NATIVE)
        scores.append(score(features(before_HWC3[cut], after_HWC3[cut])))
    return min(scores)


def score(numbers: np.ndarray) -> float:
    """The fitted network on `features`: 0 to 1."""
    fitted = _weights()
    z = (np.clip(np.nan_to_num(numbers), -fitted["limit"], fitted["limit"]) - fitted["mean"]) / fitted["spread"]
    logit = float(np.tanh(z @ fitted["first"] + fitted["first_bias"]) @ fitted["last"] + fitted["last_bias"])
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))


def features(before_HWC3: np.ndarray, after_HWC3: np.ndarray) -> np.ndarray:
    """What the network sees, (N,): six numbers of each band, of luma's three finest ones also what a shift does."""
    numbers: list[float] = []
    for place, ((level, u), (_, v)) in enumerate(zip(_bands(before_HWC3), _bands(after_HWC3))):
        numbers += _band_numbers(u, v, level)
        if place < len(SHIFTS):
            numbers += _shifted(u, v, SHIFTS[place])
    return np.array(numbers)


def unit(image_HWC3: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float in [0, 1] as float32 in [0, 1]."""
    top = 1.0 if image_HWC3.dtype.kind == "f" else float(np.iinfo(image_HWC3.dtype).max)
    return image_HWC3.astype(np.float32) / np.float32(top)


def _bands(image_HWC3: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(level, band) of luma, red - blue and green - (red + blue) / 2; colour without its finest level."""
    import cv2

    short = [max(0, NATIVE - side) for side in image_HWC3.shape[:2]]
    if all(short):  # mirrored up, so that its pixels have the scale of the calibration
        image_HWC3 = np.pad(image_HWC3, ((0, short[0]), (0, short[1]), (0, 0)), mode="symmetric")
    small = cv2.resize(unit(image_HWC3), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    red, green, blue = (small[..., channel] for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    parts = ((luma, 0), (red - blue, 1), (green - (red + blue) / 2, 1))
    return [band for part, first in parts for band in _pyramid(part)[first:]]


def _pyramid(part_HW: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """A Laplacian pyramid (Burt & Adelson 1983): LEVELS bands, each of half the size."""
    import cv2

    bands, here = [], part_HW
    for level in range(LEVELS - 1):
        coarse = cv2.pyrDown(here)
        bands.append((level, here - cv2.pyrUp(coarse)))
        here = coarse
    return [*bands, (LEVELS - 1, here - cv2.GaussianBlur(here, (0, 0), 4, borderType=cv2.BORDER_REFLECT))]


def _band_numbers(u: np.ndarray, v: np.ndarray, level: int) -> list[float]:
    nu, nv = _flattened(u), _flattened(v)
    correlation = float((nu * nv).sum() / np.sqrt((nu**2).sum() * (nv**2).sum() + 1e-9))
    uu, vv, uv = (_windows(product, level) for product in (u * u, v * v, u * v))
    mean_u, mean_v = uu.mean() + 1e-6, vv.mean() + 1e-6
    agreement = uv / np.sqrt((uu + FLOOR * mean_u) * (vv + FLOOR * mean_v))
    middle = float(np.median(agreement))
    worst = [float(((agreement - middle) * np.sqrt(e / m)).min()) for e, m in ((uu, mean_u), (vv, mean_v))]
    strange = [_strange(uu, vv, uv, mean_u, mean_v), _strange(vv, uu, uv, mean_v, mean_u)]
    return [correlation, middle, *worst, *strange]


def _strange(uu: np.ndarray, vv: np.ndarray, uv: np.ndarray, mean_u: float, mean_v: float) -> float:
    """Log of the most energy of u that no gain on v explains, by what is unexplained in the median window."""
    left = np.maximum(uu - np.maximum(uv, 0) ** 2 / (vv + FLOOR * mean_v), 1e-9)
    return float(np.log(left.max() / (np.median(left) + FLOOR * mean_u)))


def _windows(energy_HW: np.ndarray, level: int) -> np.ndarray:
    import cv2

    size, step = WINDOW[level], max(1, 4 >> level)
    means = cv2.boxFilter(energy_HW, -1, (size, size), borderType=cv2.BORDER_REFLECT)
    inside = slice(size // 2, -(size // 2), step)
    return np.maximum(means[inside, inside], 0) if energy_HW.min() >= 0 else means[inside, inside]


def _flattened(band_HW: np.ndarray) -> np.ndarray:
    """A band with its local contrast divided out: fog that thickens with depth changes it little."""
    import cv2

    energy = band_HW * band_HW
    local = cv2.boxFilter(energy, -1, (7, 7), borderType=cv2.BORDER_REFLECT)
    return band_HW / np.sqrt(local + FLOOR * energy.mean() + 1e-9)


def _shifted(u: np.ndarray, v: np.ndarray, reach: int) -> list[float]:
    """By how much two bands correlate better at the best shift within `reach` than at none, and how far that one is."""
    a, b = _flattened(u), _flattened(v)
    surface = np.fft.irfft2(np.fft.rfft2(a) * np.conj(np.fft.rfft2(b)), s=a.shape)
    near = np.roll(surface, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    gain = (near.max() - near[reach, reach]) / (np.sqrt((a**2).sum() * (b**2).sum()) + 1e-9)
    return [float(gain), float(np.hypot(row - reach, column - reach))]


@lru_cache(maxsize=1)
def _weights() -> dict[str, np.ndarray]:
    fitted = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    return {name: np.array(values) for name, values in fitted.items()}
