"""Classical restoration without learning, to be beaten: what people do when nobody has diagnosed the picture.

Each is a function of image_HWC (float32 in [0, 1]) alone; none knows what was done to the picture. Parameters are the
literature's or the library's, noise levels are estimated. `apply(("nlm", "dark_channel"), image)` runs a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule, need

if TYPE_CHECKING:
    import cv2
    import numpy as np
else:
    np, cv2 = LazyModule("numpy"), LazyModule("cv2")

Baseline = Callable[["np.ndarray"], "np.ndarray"]
ASSUMED_BLUR = 1.5  # px, standard deviation of the kernel that the deconvolutions assume: the true one is not known
LEVELS, SHIFTS = 4, 4  # of the wavelet, and cyclic shifts that are averaged; a choice
MIDDLING = 0.42  # mean of photographs in [0, 1], about


def apply(chain: Sequence[str], image_HWC: np.ndarray) -> np.ndarray:
    """Baselines one after the other; the result is float32 in [0, 1]."""
    for name in chain:
        image_HWC = np.clip(BASELINES[name](image_HWC), 0, 1).astype(np.float32)
    return image_HWC


def noise_level(image_HWC: np.ndarray) -> float:
    """Standard deviation of the noise in [0, 1], from the finest wavelet details (Donoho & Johnstone 1994)."""
    y = image_HWC.mean(2)
    y = y[: y.shape[0] // 2 * 2, : y.shape[1] // 2 * 2]
    diagonal = (y[::2, ::2] - y[::2, 1::2] - y[1::2, ::2] + y[1::2, 1::2]) / 2
    return float(np.median(np.abs(diagonal)) / 0.6745 * 3**0.5)  # the mean of three channels hides a factor of sqrt(3)


def nlm(image_HWC: np.ndarray) -> np.ndarray:
    """Non-local means (Buades, Coll, Morel, CVPR 2005), filter strength from the estimated noise."""
    strength = 255 * noise_level(image_HWC)
    return _from_bytes(cv2.fastNlMeansDenoisingColored(_bytes(image_HWC), None, 0.65 * strength, strength, 5, 15))


def tv(image_HWC: np.ndarray) -> np.ndarray:
    """Total variation (Rudin, Osher, Fatemi 1992; Chambolle 2004), weight from the estimated noise."""
    weight = max(0.02, 0.6 * noise_level(image_HWC))
    return need("skimage.restoration", "bench").denoise_tv_chambolle(image_HWC, weight=weight, channel_axis=2)


def wavelet(image_HWC: np.ndarray) -> np.ndarray:
    """BayesShrink (Chang, Yu, Vetterli, TIP 2000) on Haar details in YCbCr: each band has its threshold."""
    ycc = cv2.cvtColor(image_HWC, cv2.COLOR_RGB2YCrCb)
    channels = [_shrink(channel) for channel in np.moveaxis(ycc, 2, 0)]
    return cv2.cvtColor(np.stack(channels, 2).astype(np.float32), cv2.COLOR_YCrCb2RGB)


def _shrink(channel_HW: np.ndarray) -> np.ndarray:
    """Averaged over cyclic shifts (Coifman & Donoho 1995), which takes the blocks of Haar away."""
    side = 2**LEVELS
    height, width = channel_HW.shape
    padded = np.pad(channel_HW, ((side, side + -height % side), (side, side + -width % side)), mode="symmetric")
    total = np.zeros_like(padded)
    for shift in [(3 * i, 5 * i) for i in range(SHIFTS)]:
        total += np.roll(_haar_shrink(np.roll(padded, shift, (0, 1)), LEVELS, None), (-shift[0], -shift[1]), (0, 1))
    return (total / SHIFTS)[side : side + height, side : side + width]


def _haar_shrink(x: np.ndarray, levels: int, sigma: float | None) -> np.ndarray:
    a, b, c, d = x[::2, ::2], x[::2, 1::2], x[1::2, ::2], x[1::2, 1::2]
    low, bands = (a + b + c + d) / 2, [(a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2]
    sigma = float(np.median(np.abs(bands[2])) / 0.6745) if sigma is None else sigma
    low = _haar_shrink(low, levels - 1, sigma) if levels > 1 else low
    h, v, g = (_soft(band, sigma**2 / max(1e-6, float(band.var()) - sigma**2) ** 0.5) for band in bands)
    result = np.empty_like(x)
    result[::2, ::2], result[::2, 1::2] = (low + h + v + g) / 2, (low - h + v - g) / 2
    result[1::2, ::2], result[1::2, 1::2] = (low + h - v - g) / 2, (low - h - v + g) / 2
    return result


def _soft(x: np.ndarray, threshold: float) -> np.ndarray:
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)


def dark_channel(image_HWC: np.ndarray) -> np.ndarray:
    """Dark channel prior (He, Sun, Tang, CVPR 2009), transmission refined by the guided filter (ECCV 2010)."""
    patch, keep, least = 15, 0.95, 0.1
    dark = _minimum(image_HWC.min(2), patch)
    brightest = np.argsort(dark, axis=None)[-max(1, dark.size // 1000) :]
    airlight = np.maximum(image_HWC.reshape(-1, 3)[brightest].mean(0), 0.05)
    transmission = 1 - keep * _minimum((image_HWC / airlight).min(2), patch)
    transmission = guided_filter(image_HWC.mean(2), transmission.astype(np.float32), 40, 1e-3)
    return (image_HWC - airlight) / np.maximum(transmission, least)[..., None] + airlight


def guided_filter(guide_HW: np.ndarray, image_HW: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Edge-preserving smoothing of `image` along the edges of `guide` (He, Sun, Tang, ECCV 2010)."""
    size = (2 * radius + 1,) * 2

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, size, borderType=cv2.BORDER_REFLECT)

    slope = mean(guide_HW * image_HW) - mean(guide_HW) * mean(image_HW)
    slope = slope / (mean(guide_HW * guide_HW) - mean(guide_HW) ** 2 + epsilon)
    offset = mean(image_HW) - slope * mean(guide_HW)
    return mean(slope) * guide_HW + mean(offset)


def _minimum(image_HW: np.ndarray, side: int) -> np.ndarray:
    return cv2.erode(image_HW, np.ones((side, side), np.uint8), borderType=cv2.BORDER_REPLICATE)


def opening(image_HWC: np.ndarray) -> np.ndarray:
    """Morphological opening with a horizontal line: bright streaks narrower than 5 px disappear."""
    return cv2.morphologyEx(image_HWC, cv2.MORPH_OPEN, np.ones((1, 5), np.uint8), borderType=cv2.BORDER_REPLICATE)


def median(image_HWC: np.ndarray) -> np.ndarray:
    return cv2.medianBlur(image_HWC, 5)


def unsharp(image_HWC: np.ndarray) -> np.ndarray:
    """Unsharp masking: the picture plus 1.5 times what a gaussian of 1.5 px takes away."""
    return image_HWC + 1.5 * (image_HWC - cv2.GaussianBlur(image_HWC, (0, 0), ASSUMED_BLUR))


def wiener(image_HWC: np.ndarray) -> np.ndarray:
    """Wiener deconvolution (scikit-image) with the assumed kernel; its regularisation grows with the noise."""
    balance = 0.02 + 40 * noise_level(image_HWC) ** 2
    restore = need("skimage.restoration", "bench").wiener
    return _padded(lambda channel, kernel: restore(channel, kernel, balance, clip=False), image_HWC)


def richardson_lucy(image_HWC: np.ndarray) -> np.ndarray:
    """Richardson-Lucy deconvolution (1972, 1974; scikit-image), 8 iterations with the assumed kernel."""
    restore = need("skimage.restoration", "bench").richardson_lucy
    return _padded(lambda channel, kernel: restore(channel, kernel, num_iter=8), image_HWC)


def _padded(function: Callable[[np.ndarray, np.ndarray], np.ndarray], image_HWC: np.ndarray) -> np.ndarray:
    """Each channel with mirrored borders, so that the deconvolution does not ring from the frame."""
    line = cv2.getGaussianKernel(11, ASSUMED_BLUR)
    border = 16
    padded = cv2.copyMakeBorder(image_HWC, border, border, border, border, cv2.BORDER_REFLECT)
    result = np.stack([function(channel, line @ line.T) for channel in np.moveaxis(padded, 2, 0)], 2)
    return result[border:-border, border:-border]


def auto_levels(image_HWC: np.ndarray) -> np.ndarray:
    """Stretch between the 0.1% and 99.9% quantiles, then gamma to a middling mean."""
    low, high = np.quantile(image_HWC, (0.001, 0.999))
    return gamma(np.clip((image_HWC - low) / max(high - low, 0.02), 0, 1))


def gamma(image_HWC: np.ndarray) -> np.ndarray:
    """Gamma correction towards a mean of MIDDLING."""
    mean = float(np.clip(image_HWC.mean(), 1e-3, 0.999))
    return image_HWC ** np.clip(np.log(MIDDLING) / np.log(mean), 0.2, 2)


def clahe(image_HWC: np.ndarray) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation of the lightness (Zuiderveld 1994)."""
    lab = cv2.cvtColor(_bytes(image_HWC), cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(lab[..., 0]))
    return _from_bytes(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def bilateral(image_HWC: np.ndarray) -> np.ndarray:
    """Bilateral filter (Tomasi & Manduchi, ICCV 1998)."""
    return cv2.bilateralFilter(image_HWC, 7, 0.08, 2.0)


def _bytes(image_HWC: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray((np.clip(image_HWC, 0, 1) * 255 + 0.5).astype(np.uint8))


def _from_bytes(image_HWC: np.ndarray) -> np.ndarray:
    return image_HWC.astype(np.float32) / 255


BASELINES: dict[str, Baseline] = {
    function.__name__: function
    for function in (
        nlm, tv, wavelet, dark_channel, opening, median, unsharp, wiener, richardson_lucy, auto_levels, gamma, clahe,
        bilateral,
    )
}  # fmt: skip
