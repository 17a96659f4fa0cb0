"""Damaged images with their clean ones, and what must not pass for these: the cases that `content.same` is fitted on.

Shapes: uint8 (SIDE, SIDE, 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.photographs import random_crops, to_uint8
from rnr.degradation.synthesize import degrade, draw_mixture

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

SIDE = 256
SHIFT = 8  # px
BATCH = 8
TRIES = 8  # places of which the one is erased that changes the image most: there was an object
OBJECT = (0.12, 0.2)  # half axes of the erased ellipse, by the side: 5-12% of the image


@dataclass(frozen=True)
class Case:
    """A damaged image, the clean one, and impostors by name; `severity` of the mixture by kind."""

    degraded: np.ndarray
    clean: np.ndarray
    impostors: dict[str, np.ndarray]
    severity: dict[str, float]


def cases(photographs: Sequence[np.ndarray], count: int, seed: int) -> Iterator[Case]:
    """Mixtures of 0-3 of all kinds. Raises ValueError where no photograph is large enough."""
    large = [photograph for photograph in photographs if min(photograph.shape[:2]) >= SIDE + SHIFT]
    if not large:
        raise ValueError(f"no photograph is {SIDE + SHIFT} px high and wide; name a folder with larger ones")
    generator, numbers = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    for place in range(count):
        if place % BATCH == 0:
            wide = random_crops(large, BATCH, (SIDE + SHIFT, SIDE + SHIFT), generator, upright=True)
            mixture = draw_mixture(BATCH, generator, "several")
            damaged = degrade(wide[..., :SIDE, :SIDE], mixture)
            others = random_crops(large, BATCH, (SIDE, SIDE), generator, upright=True)
            severity = {step.kind.name: mixture.severity(step.kind.name).tolist() for step in mixture.steps}
        i = place % BATCH
        here = {kind: values[i] for kind, values in severity.items() if values[i]}
        whole = to_uint8(wide[i])
        clean = whole[:SIDE, :SIDE]
        yield Case(to_uint8(damaged[i]), clean, _impostors(whole, to_uint8(others[i]), numbers), here)


def _impostors(whole: np.ndarray, other: np.ndarray, numbers: np.random.Generator) -> dict[str, np.ndarray]:
    import cv2

    clean = np.ascontiguousarray(whole[:SIDE, :SIDE])
    crop = clean[: 3 * SIDE // 4, SIDE // 4 :]
    return {
        "another photograph": other,
        "another crop": cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR),
        "shifted down": whole[SHIFT:, :SIDE],
        "shifted right": whole[:SIDE, SHIFT:],
        "object erased": erased(clean, numbers),
        "flat": np.full_like(clean, clean.mean((0, 1)).astype(np.uint8)),
    }


def erased(image_HWC: np.ndarray, numbers: np.random.Generator) -> np.ndarray:
    """An ellipse filled from its rim (Telea 2004), where that changes the coarse image most of `TRIES` places."""
    made = [_without(image_HWC, numbers) for _ in range(TRIES)]
    return max(made, key=lambda pair: pair[0])[1]


def _without(image_HWC: np.ndarray, numbers: np.random.Generator) -> tuple[float, np.ndarray]:
    import cv2

    height, width = image_HWC.shape[:2]
    tall, wide = numbers.uniform(*OBJECT) * height, numbers.uniform(*OBJECT) * width
    middle = numbers.uniform(tall, height - tall), numbers.uniform(wide, width - wide)
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (int(middle[1]), int(middle[0])), (int(wide), int(tall)), 0, 0, 360, 255, -1)
    half = (width // 2, height // 2)
    small = cv2.resize(image_HWC, half, interpolation=cv2.INTER_AREA)
    small_mask = cv2.resize(mask, half, interpolation=cv2.INTER_NEAREST)
    filled = cv2.resize(cv2.inpaint(small, small_mask, 3, cv2.INPAINT_TELEA), (width, height))
    result = np.where(mask[..., None] > 0, filled, image_HWC)
    coarse = [cv2.GaussianBlur(x.astype(np.float32), (0, 0), 3) for x in (result, image_HWC)]
    return float(((coarse[0] - coarse[1])[mask > 0] ** 2).mean()), result
