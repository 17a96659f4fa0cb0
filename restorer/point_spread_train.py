"""What the reader of point spread functions learns from: crops that were blurred or not, with the earlier kinds beside.

Of later-formed kinds, which were removed before, there is the rounding and a little noise on half of the crops (a
choice); where their experts are given, a share of the batches went through them. Each crop is seen mirrored, too, which
turns its angle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rnr.degradation.blur import TYPES
from rnr.degradation.kind import kind_named
from rnr.degradation.log_spectrum import log_spectrum
from rnr.degradation.photographs import centre_crop, random_crops, rounded, to_tensor
from rnr.degradation.synthesize import degrade
from rnr.restorer.expert import ExpertNetwork, Experts
from rnr.restorer.expert_data import draw_formation, without_later
from rnr.restorer.point_spread import Factors, loss

SIDE, BATCH = 192, 32  # px and number of the crops; a choice
NOISE = 2 / 255  # largest standard deviation of what noise is left; a choice
RESIDUE = 0.3  # share of batches that went through the experts of later-formed kinds; a choice
HELD_OUT_WIDTHS = {"gaussian": 2.0, "defocus": 1.5, "motion": 15 / 12**0.5}  # px, of validation
CLOSE = 7.5  # degrees: up to here Wiener's filter for a motion gains (docs/lab-log.md, 2026-11-29)

Read = tuple[torch.Tensor, torch.Tensor, Factors]  # spectra, whether blurred, true factors


class PointSpreadObjective:
    """The reader of a blur's expert; the rest of it stands still.

    Args:
        network: The expert, with a reader.
        photographs: Undamaged photographs to train on, uint8 HWC.
        held_out: Others, for validation; their centres of 256 px are used.
        experts: Those of later-formed kinds, for their residue.
    """

    def __init__(
        self,
        network: ExpertNetwork,
        photographs: Sequence[np.ndarray],
        held_out: Sequence[np.ndarray] = (),
        experts: Experts | None = None,
    ) -> None:
        assert network.reader is not None
        self.experts = experts
        network.requires_grad_(False)
        network.reader.requires_grad_(True)
        self.model, self.kind, self.photographs = network, kind_named(network.config["kind"]), list(photographs)
        crops = [centre_crop(p, 256) for p in held_out]
        self.clean = torch.cat([to_tensor(c) for c in crops if c.shape[:2] == (256, 256)]) if crops else None

    def batch(self, progress: float, seed: int) -> tuple[Read, int]:
        """Spectra of crops, and their number in units of 64x64 px."""
        generator = torch.Generator().manual_seed(seed)
        clean = random_crops(self.photographs, BATCH, (SIDE, SIDE), generator)
        removed_B = torch.zeros(BATCH).bool()
        if self.experts is not None:
            removed_B = (torch.rand(1, generator=generator) < RESIDUE).expand(BATCH)
        mixture = draw_formation(self.kind, BATCH, removed_B, generator)
        sigma = NOISE * torch.rand(BATCH, 1, 1, 1, generator=generator)
        sigma = sigma * (torch.rand(BATCH, 1, 1, 1, generator=generator) < 0.5)
        noise = torch.randn(clean.shape, generator=generator)
        (step,) = mixture.of(self.kind.name)
        blurred = degrade(clean, mixture)
        if self.experts is not None:
            blurred = without_later(self.kind, blurred, mixture, removed_B, self.experts)
        seen = log_spectrum(rounded(blurred + sigma * noise))
        return (seen, step.mask_B, step.factors), BATCH * (SIDE // 64) ** 2

    def loss(self, batch: Read, progress: float, seed: int) -> torch.Tensor:
        """Of the crops and of the crops mirrored."""
        seen, blurred, factors = batch
        reader = self.model.reader
        assert reader is not None
        mirrored = factors | {"angle": (180 - factors["angle"]) % 180}
        other = reader(seen.flip(-1).roll(1, -1))
        return (loss(reader(seen), blurred, factors) + loss(other, blurred, mirrored)) / 2

    def validate(self, model: Any) -> dict[str, float]:
        """Share of held-out pictures whose type is right, of motions whose angle is close, of clean ones left alone."""
        if self.clean is None or model.reader is None:
            return {}
        count, result = len(self.clean), {}
        angle = torch.linspace(0, 175, count)
        for index, name in enumerate(TYPES):
            factors = {"type": torch.full((count,), index), "angle": angle}
            factors["width"] = torch.full((count,), HELD_OUT_WIDTHS[name])
            blurred, read = model.reader.read(rounded(self.kind.apply(self.clean, factors, 7)))
            result[f"type {name}"] = share(blurred & (read["type"] == index))
        off = (read["angle"] - angle).abs()
        result["angle"] = share(torch.minimum(off, 180 - off) <= CLOSE)
        return result | {"clean": share(~model.reader.read(self.clean)[0])}


def share(of_B: torch.Tensor) -> float:
    return round(float(of_B.float().mean()), 3)
