"""What is measured and never trains: the ground truth that a run compares its reward with.

Kept apart from `rewards.py` in name and in place: no reward may call these, no configuration can name
one as a reward.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import luma
from rnr.degradation.measure import damage_left, psnr, ssim
from rnr.evaluation.metrics import radial_spectrum

if TYPE_CHECKING:
    import numpy as np
    import torch

    from rnr.degradation.protocols import Scorer
else:
    np = LazyModule("numpy")

# name: +1 where more is better, -1 where less is
METRICS = {"damage": -1, "structural": -1, "psnr": 1, "ssim": 1, "sharpness": 0, "naturalness": -1}


def measure(restored: torch.Tensor, degraded: torch.Tensor, clean: torch.Tensor) -> dict[str, float | None]:
    """All metrics of one picture (3, H, W) in [0, 1].

    `damage`, `structural`: share of squared error and of 1 - SSIM left (rnr.degradation.measure); `sharpness`: gradient
    energy by the clean picture's (1 is right, more is over-sharpened); `naturalness`: no reference, see below.
    """
    one, before, truth = restored[None], degraded[None], clean[None]
    left = damage_left(one, before, truth)
    values = {"damage": left["squared"], "structural": left["structural"], "psnr": psnr(one, truth)}
    values |= {"ssim": ssim(one, truth), "sharpness": _gradient(one) / _gradient(truth).clamp(min=1e-6)}
    return {name: _finite(float(value)) for name, value in values.items()} | {"naturalness": unnatural(restored)}


def scored(scorer: Scorer | None, picture_CHW: torch.Tensor) -> dict[str, float | None]:
    """{"quality": 0-100} by a scorer that no reward sees; {} without one."""
    if scorer is None:
        return {}
    return {"quality": scorer.score([picture_CHW.permute(1, 2, 0).cpu().numpy()])[0].technical}


def unnatural(picture_CHW: torch.Tensor) -> float:
    """How far the slope of the log power spectrum lies from the -2 of photographs (Field, JOSA A 1987); 0 is best."""
    spectrum = radial_spectrum(luma(picture_CHW[None])[0, 0].double().cpu().numpy())[1:] / 10
    rings = np.log10(np.arange(1, len(spectrum) + 1))
    return abs(float(np.polyfit(rings, spectrum, 1)[0]) + 2)


def _gradient(image_BCHW: torch.Tensor) -> torch.Tensor:
    grey = luma(image_BCHW)
    return grey.diff(dim=-1).square().mean() + grey.diff(dim=-2).square().mean()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
