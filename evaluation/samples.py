"""Damaged regions of photographs with everything that is true of them: what the diagnosis benchmarks run on.

Shapes: clean_BCHW and degraded_BCHW are float in [0, 1] on 8-bit levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.photographs import random_crops
from rnr.degradation.synthesize import Mixture, degrade, draw_mixture, truths

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

SIDES = (160, 320)  # px of a region; what most of the training was shown, and a photograph of BSDS still holds it
BATCH = 8


@dataclass
class Batch:
    """Regions of one size, damaged by one recipe."""

    clean_BCHW: torch.Tensor
    degraded_BCHW: torch.Tensor
    mixture: Mixture
    names: Sequence[str] | None = None  # the kinds that were drawn from

    def truths(self) -> list[Diagnosis]:
        return truths(self.clean_BCHW, self.degraded_BCHW, self.mixture, self.names)

    def pictures(self) -> list[np.ndarray]:
        """The damaged regions as uint8 HWC, as a reasoner takes them."""
        return list((self.degraded_BCHW * 255).round().byte().permute(0, 2, 3, 1).numpy())


def batches(
    photographs: Sequence[np.ndarray],
    count: int,
    seed: int,
    batch: int = BATCH,
    names: Sequence[str] | None = None,
) -> Iterator[Batch]:
    """At least `count` regions of random size and place, each damaged in several ways.

    `names`: kinds to draw from, those of the weights that are measured: a kind that is added later changes no draw.
    """
    for number in range(-(-count // batch)):
        generator = torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**31)
        torch.multinomial(torch.ones(1), 1, generator=generator)  # a draw that published figures rest on
        side = region_side(photographs, generator)
        clean = random_crops(list(photographs), batch, (side, side), generator, upright=True)
        mixture = draw_mixture(batch, generator, "several", names)
        yield Batch(clean, degrade(clean, mixture), mixture, names)


def region_side(photographs: Sequence[np.ndarray], generator: torch.Generator) -> int:
    """A side between SIDES, in steps of 8 px, that fits into every photograph."""
    most = min(SIDES[1], *(min(photograph.shape[:2]) for photograph in photographs))
    least = min(SIDES[0], most)
    return least + 8 * int(torch.randint(0, (most - least) // 8 + 1, (1,), generator=generator))
