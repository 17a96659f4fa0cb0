"""Damage by other hands: a second generator, deliberately different from `degradation/`, for tests only.

Other physics where there is a choice (polylines and blurred noise instead of convolved drops, painted and drawn flakes,
layered depth planes, a radial fog and fractal clouds under a coloured airlight, laplacian noise, photons that are
counted, an interpolated mosaic, box kernels, an S-shaped tone curve, JPEG encodings by Pillow and WebP instead of
OpenCV's, resizing by Pillow and scikit-image), other code for all of it. What works here is not overfitted to ours.

All pictures are float32 (H, W, 3) in [0, 1]; every function draws from the generator that it is handed.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
import torch
from PIL import Image

Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def rain(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bent polylines of three distances, anti-aliased, softened and screened over the picture."""
    height, width = picture_HWC.shape[:2]
    slant = rng.uniform(-0.5, 0.5)
    veil = np.zeros((height, width), np.float32)
    for thickness, length, share in ((1, 12, 1.0), (1, 22, 0.7), (2, 34, 0.35)):
        layer = np.zeros((height, width), np.uint8)
        for _ in range(int(share * height * width / 700)):
            x, y = rng.uniform(0, width), rng.uniform(-length, height)
            bend = rng.normal(0, 0.06)
            points = [(x + slant * s + bend * s * s / length, y + s) for s in (0, length / 2, length)]
            level = int(rng.uniform(110, 230))
            cv2.polylines(layer, [np.array(points, np.int32)], False, level, thickness, cv2.LINE_AA)
        veil = np.maximum(veil, cv2.GaussianBlur(layer, (0, 0), 0.4 + 0.3 * thickness).astype(np.float32) / 255)
    return 1 - (1 - picture_HWC) * (1 - 0.8 * veil[..., None])


def photoshop_rain(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise that is blurred along a line, stretched between two percentiles and screened (image editors' tutorials)."""
    height, width = picture_HWC.shape[:2]
    dots = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 0.8)
    length, angle = int(rng.integers(11, 31)), rng.uniform(-25, 25)
    line = cv2.warpAffine(
        np.pad(np.ones((length, 1), np.float32), ((0, 0), (length // 2, length // 2))),
        cv2.getRotationMatrix2D((length // 2, length / 2), angle, 1),
        (length // 2 * 2 + 1, length),
    )
    streaks = cv2.filter2D(dots, -1, line / line.sum(), borderType=cv2.BORDER_REFLECT)
    low, high = np.percentile(streaks, [rng.uniform(75, 90), 99.8])
    veil = np.clip((streaks - low) / (high - low), 0, 1)[..., None] * rng.uniform(0.5, 0.9)
    return 1 - (1 - picture_HWC) * (1 - veil)


def snow(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ellipses of three distances, painted one by one, near ones out of focus, over a slightly paler picture."""
    height, width = picture_HWC.shape[:2]
    result = picture_HWC + rng.uniform(0, 0.08) * (0.9 - picture_HWC)
    drift = rng.uniform(-60, 60)
    for radius, share, focus in ((1.0, 1.0, 0.5), (1.8, 0.5, 0.7), (3.5, 0.12, 1.6)):
        mask: np.ndarray = np.zeros((height, width), np.float32)
        for _ in range(int(share * height * width / 250)):
            centre = (float(rng.uniform(0, width)), float(rng.uniform(0, height)))
            size = (2 * radius * rng.uniform(0.8, 1.2), 2 * radius * rng.uniform(1.0, 1.8))
            cv2.ellipse(mask, (centre, size, drift + rng.normal(0, 12)), float(rng.uniform(0.5, 1)), -1, cv2.LINE_AA)
        mask = cv2.GaussianBlur(mask, (0, 0), focus)[..., None]
        result = result * (1 - mask) + 0.96 * mask
    return result


def snowfall(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Peaks of smooth noise, lightened (the larger of two): flakes without any outline that was drawn."""
    from scipy.ndimage import gaussian_filter

    height, width = picture_HWC.shape[:2]
    flakes = np.zeros((height, width))
    for sd, share in ((0.7, 2.5), (1.5, 1.2)):
        field = gaussian_filter(rng.normal(0, 1, (height, width)), (sd * rng.uniform(1, 2), sd))
        level = np.percentile(field, 100 - share)
        flakes = np.maximum(flakes, np.clip((field - level) / (field.max() - level) * 2.5, 0, 1))
    return np.maximum(picture_HWC, rng.uniform(0.75, 0.95) * flakes[..., None])


def low_resolution(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Down and up by two of Pillow's filters, each drawn apart."""
    height, width = picture_HWC.shape[:2]
    small = [max(1, int(side / rng.uniform(1.8, 4))) for side in (width, height)]
    down, up = rng.choice([Image.Resampling.LANCZOS, Image.Resampling.BOX, Image.Resampling.HAMMING], 2)
    shrunk = Image.fromarray(to_bytes(picture_HWC)).resize((small[0], small[1]), int(down))
    return np.asarray(shrunk.resize((width, height), int(up))).astype(np.float32) / 255


def splines(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every n-th pixel of a blurred picture, and splines through them (scikit-image)."""
    from skimage.transform import rescale, resize

    factor = float(rng.uniform(2, 4))
    small = rescale(picture_HWC, 1 / factor, order=0, anti_aliasing=True, channel_axis=2)
    return resize(small, picture_HWC.shape, order=int(rng.integers(0, 4)))


def clouds(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Fractal noise in 0..1: octaves of smooth random grids (Perlin 1985, value noise)."""
    total = np.zeros((height, width), np.float32)
    for octave in range(4):
        grid = rng.uniform(0, 1, (2 + 2**octave, 2 + 2**octave)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return (total - total.min()) / (total.max() - total.min())


def haze(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A few planes at different distances, clouds between them, and an airlight with a colour of its own."""
    height, width = picture_HWC.shape[:2]
    horizon = rng.uniform(0.2, 0.8) * height
    rows = np.arange(height, dtype=np.float32)[:, None]
    planes = np.floor(4 / (1 + np.exp((rows - horizon) / (0.15 * height)))) / 3
    depth = 0.35 + cv2.GaussianBlur(np.repeat(planes, width, 1), (0, 0), 6) + 0.5 * clouds(height, width, rng)
    transmission = np.exp(-rng.uniform(0.4, 0.9) * depth.clip(0.2, 2))[..., None]
    airlight = rng.uniform(0.75, 0.95) * np.array([1.0, 0.98, 0.94]) ** rng.uniform(-1, 1)
    return picture_HWC * transmission + airlight * (1 - transmission)


def fog(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Concentric: thicker with the distance from a point (albumentations and CARLA do likewise), one step a pixel."""
    height, width = picture_HWC.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    middle = rng.uniform(0.2, 0.8, 2) * (height, width)
    away = np.hypot(y - middle[0], x - middle[1]) / np.hypot(height, width)
    share = np.clip(rng.uniform(0.35, 0.55) + rng.uniform(-0.6, 0.6) * (away - away.mean()), 0, 0.9)[..., None]
    return picture_HWC * (1 - share) + rng.uniform(0.7, 1) * share


def laplacian_noise(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return picture_HWC + rng.laplace(0, rng.uniform(14, 26) / 255 / 2**0.5, picture_HWC.shape)


def photon_noise(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photons, counted."""
    photons = rng.uniform(40, 120)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    counts = torch.poisson(torch.from_numpy(picture_HWC.astype(np.float32)).clamp(min=0) * photons, generator)
    return counts.numpy() / photons


def mosaic_noise(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of a sensor behind a Bayer filter, interpolated by OpenCV, then smoothed by its bilateral filter."""
    noisy = picture_HWC + rng.normal(0, rng.uniform(18, 32) / 255, picture_HWC.shape)
    mosaic = np.zeros(picture_HWC.shape[:2], np.float32)
    for channel, (row, column) in ((0, (0, 0)), (1, (0, 1)), (1, (1, 0)), (2, (1, 1))):
        mosaic[row::2, column::2] = noisy[row::2, column::2, channel]
    raw = (np.clip(mosaic, 0, 1) * 65535).astype(np.uint16)
    colour = cv2.cvtColor(raw, cv2.COLOR_BayerRGGB2RGB_EA).astype(np.float32) / 65535
    return cv2.bilateralFilter(colour, 5, 0.06, 1.2)


def salt_noise(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dead and saturated pixels: a noise that was never taught."""
    where = rng.uniform(0, 1, picture_HWC.shape[:2])
    picture_HWC = picture_HWC.copy()
    picture_HWC[where < 0.015], picture_HWC[where > 0.985] = 0, 1
    return picture_HWC


def blur(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A box, a gaussian, or a box that is turned: a straight motion."""
    shape = rng.integers(3)
    if shape == 0:
        side = int(rng.choice([5, 7, 9]))
        return cv2.blur(picture_HWC, (side, side), borderType=cv2.BORDER_REFLECT)
    if shape == 1:
        return cv2.GaussianBlur(picture_HWC, (0, 0), rng.uniform(1.4, 2.6), borderType=cv2.BORDER_REFLECT)
    kernel = np.zeros((17, 17), np.float32)
    end = 8 + 6 * np.array([np.cos(angle := rng.uniform(0, np.pi)), np.sin(angle)])
    cv2.line(kernel, tuple(np.round(16 - end).astype(int)), tuple(np.round(end).astype(int)), 1.0, 1, cv2.LINE_AA)
    return cv2.filter2D(picture_HWC, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def low_light(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light taken away before the camera's S curve, not after it, and a little banding of the sensor."""
    linear = picture_HWC**2.2 * rng.uniform(0.04, 0.12)
    developed = linear ** (1 / 2.2)
    curved = developed + 0.12 * developed * (developed - 0.5) * (1 - developed)
    return curved + rng.normal(0, 0.003, (1, picture_HWC.shape[1], 1))


def compression(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Saved twice by Pillow, the second time with another quality on a grid that was moved by a crop."""
    for quality, shift in ((int(rng.integers(25, 60)), 0), (int(rng.integers(8, 20)), 3)):
        image = Image.fromarray(to_bytes(np.roll(picture_HWC, shift, (0, 1))))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        picture_HWC = np.roll(np.asarray(Image.open(file)).astype(np.float32) / 255, -shift, (0, 1))
    return picture_HWC


def webp(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A JPEG with its colours at full resolution, saved again as WebP."""
    file = io.BytesIO()
    Image.fromarray(to_bytes(picture_HWC)).save(file, "JPEG", quality=int(rng.integers(10, 25)), subsampling=0)
    image, file = Image.open(file), io.BytesIO()
    image.save(file, "WEBP", quality=int(rng.integers(40, 70)))
    return np.asarray(Image.open(file)).astype(np.float32) / 255


KINDS: dict[str, tuple[Damage, ...]] = {
    "rain": (rain, photoshop_rain),
    "snow": (snow, snowfall),
    "haze": (haze, fog),
    "noise": (laplacian_noise, photon_noise, mosaic_noise),
    "blur": (blur,),
    "low_light": (low_light,),
    "low_resolution": (low_resolution, splines),
    "compression": (compression, webp),
}


def damage(picture_HWC: np.ndarray, names: list[str], seed: int) -> np.ndarray:
    """These kinds in this order on a uint8 picture; float32 on 8-bit levels."""
    rng = np.random.default_rng(seed)
    result = picture_HWC.astype(np.float32) / 255
    for name in names:
        forms = KINDS[name]
        result = np.clip(forms[int(rng.integers(len(forms)))](result, rng), 0, 1).astype(np.float32)
    return to_bytes(result).astype(np.float32) / 255


def to_bytes(picture_HWC: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray((np.clip(picture_HWC, 0, 1) * 255 + 0.5).astype(np.uint8))
