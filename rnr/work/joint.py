"""Restored pictures with what is truly left in them: what a reasoner must have seen before it judges restorations.

A reasoner that knows only damaged pictures takes a smoothed one for a compressed one, and the agent takes good work
back. What is left of a kind is the share of its own damage that still separates the picture from the clean one, by
least squares over the kinds; its magnitude shrinks by that share. New faults of the restorer, such as lost texture,
are no finding: they lower the technical quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.intent import Intent
from rnr.degradation.kind import interpolate
from rnr.degradation.photographs import random_crops, rounded
from rnr.degradation.protocols import Restorer
from rnr.degradation.synthesize import CLOSE, VISIBLE, Mixture, degrade, draw_mixture, truths
from rnr.reasoner.data import damaged_batch, stage_at

SHARE = 0.25  # of the pictures are restored; a choice, as are the next two
PART = 0.5  # of those by a part of the true diagnosis ...
LEFT = 0.5  # ... which leaves out this share of its kinds
RIDGE = 1e-2  # of a kind's own energy: haze and darkness are nearly the same picture


class WithRestored:
    """`rnr.reasoner.data.damaged_batch`, but a quarter of each batch was restored by its true diagnosis, or a part."""

    def __init__(self, restorer: Restorer) -> None:
        self.restorer = restorer

    def __call__(
        self, photographs: Sequence[np.ndarray], seed: int, number: int, progress: float, batch: int
    ) -> tuple[torch.Tensor, list[Diagnosis]]:
        count = round(SHARE * batch)
        damaged, diagnoses, *_ = damaged_batch(photographs, seed, number, progress, batch - count)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number + 500_000)
        clean = random_crops(list(photographs), count, (damaged.shape[-2], damaged.shape[-1]), generator, upright=True)
        mixture = draw_mixture(count, generator, stage_at(progress, generator))
        degraded = degrade(clean, mixture)
        restored = self.restore(clean, degraded, mixture, generator)
        shares = left(restored, degraded, clean, mixture)
        remains, known = remaining(mixture, shares)
        restored = torch.where(known[:, None, None, None], restored, degraded)
        after, before = truths(clean, restored, remains), truths(clean, degraded, mixture)
        diagnoses += [a if ok else b for a, b, ok in zip(after, before, known.tolist())]
        return torch.cat([damaged, restored]), diagnoses

    def restore(
        self, clean: torch.Tensor, degraded: torch.Tensor, mixture: Mixture, generator: torch.Generator
    ) -> torch.Tensor:
        """The restored pictures (B, 3, H, W), of 8 bits."""
        made = []
        for picture, truth in zip(degraded, truths(clean, degraded, mixture)):
            partly, *leave = torch.rand(1 + len(truth.present), generator=generator).tolist()
            kinds = [kind for kind, chance in zip(truth.present, leave) if partly >= PART or chance >= LEFT]
            pixels = self.restorer.restore(picture.permute(1, 2, 0).numpy(), truth, Intent(kinds)).pixels_HWC3
            made.append(torch.from_numpy(pixels).permute(2, 0, 1))
        return rounded(torch.stack(made))


def left(
    restored: torch.Tensor, degraded: torch.Tensor, clean: torch.Tensor, mixture: Mixture
) -> dict[str, torch.Tensor]:
    """Share 0..1 (B,) of each kind's damage that is still in the restored pictures (B, 3, H, W)."""
    names = sorted({step.kind.name for step in mixture.steps if step.mask_B.any()})
    if not names:
        return {}
    everything = {step.kind.name: torch.ones(len(clean), dtype=torch.bool) for step in mixture.steps}
    own = [degraded - degrade(clean, mixture, {**everything, name: ~everything[name]}) for name in names]
    damage = torch.stack([part.flatten(1) for part in own], 2)  # (B, pixels, kinds)
    normal = damage.mT @ damage
    normal = normal + torch.diag_embed(RIDGE * normal.diagonal(dim1=1, dim2=2) + 1e-6)
    shares = torch.linalg.solve(normal, damage.mT @ (restored - clean).flatten(1)[..., None])[..., 0]
    return dict(zip(names, shares.clamp(0, 1).unbind(1)))


def remaining(mixture: Mixture, shares: dict[str, torch.Tensor]) -> tuple[Mixture, torch.Tensor]:
    """The recipe of what is left, and for which pictures (B,) its factors can say so (a strong gamma cannot shrink)."""
    known, steps = torch.ones(mixture.batch, dtype=torch.bool), []
    for step in mixture.steps:
        if step.kind.name not in shares:
            continue
        magnitude = shares[step.kind.name] * step.kind.magnitude(step.factors)
        severity = interpolate(magnitude, step.kind.curve)
        factors = step.kind.with_severity(severity, step.factors)
        mask = step.mask_B & (severity >= VISIBLE)
        known &= ~mask | ((step.kind.severity(factors) - severity).abs() <= CLOSE)
        steps.append(replace(step, mask_B=mask, factors=factors))
    return Mixture(steps, mixture.batch), known
