"""Damage by other hands: a second generator, deliberately different from `degradation/`, for tests only.

Other physics where there is a choice (polylines instead of convolved drops, layered depth planes and fractal clouds
under a coloured airlight, laplacian noise and photons that are counted, box kernels, an S-shaped tone curve, two JPEG
encodings by Pillow instead of one by OpenCV), other code for all of it. What works here is not overfitted to ours.

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


def laplacian_noise(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return picture_HWC + rng.laplace(0, rng.uniform(14, 26) / 255 / 2**0.5, picture_HWC.shape)


def photon_noise(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photons, counted."""
    photons = rng.uniform(40, 120)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    counts = torch.poisson(torch.from_numpy(picture_HWC.astype(np.float32)).clamp(min=0) * photons, generator)
    return counts.numpy() / photons


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


KINDS: dict[str, tuple[Damage, ...]] = {
    "rain": (rain,),
    "haze": (haze,),
    "noise": (laplacian_noise, photon_noise),
    "blur": (blur,),
    "low_light": (low_light,),
    "compression": (compression,),
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
