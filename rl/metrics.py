"""What is measured and never trains: the ground truth that a run compares its reward with.

Kept apart from `rewards.py` in name and in place: no reward may call these, no configuration can name
one as a reward.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import luma
from rnr.degradation.measure import damage_left, ms_ssim, psnr, ssim
from rnr.degradation.photographs import to_uint8
from rnr.evaluation.metrics import radial_spectrum
from rnr.judge.change import over_correction

if TYPE_CHECKING:
    import numpy as np
    import torch

    from rnr.degradation.protocols import Scorer
else:
    np = LazyModule("numpy")

# name: +1 where more is better, -1 where less is
METRICS = {
    "damage": -1, "structural": -1, "psnr": 1, "ssim": 1, "ms_ssim": 1, "over": -1, "sharpness": 0, "naturalness": -1,
}  # fmt: skip


def measure(restored: torch.Tensor, degraded: torch.Tensor, clean: torch.Tensor) -> dict[str, float | None]:
    """All metrics of one picture (3, H, W) in [0, 1].

    `damage`, `structural`: share of squared error and of 1 - SSIM left (rnr.degradation.measure); `over`: severity
    of the tones that were lost on the way (`judge.over_correction`), beyond those that the clean picture loses, too;
    `sharpness`: gradient energy by the clean picture's (1 is right, more is over-sharpened); `naturalness`: no
    reference, see below.
    """
    one, before, truth = restored[None], degraded[None], clean[None]
    left = damage_left(one, before, truth)
    values = {"damage": left["squared"], "structural": left["structural"], "psnr": psnr(one, truth)}
    values |= {"ssim": ssim(one, truth), "ms_ssim": ms_ssim(one, truth)}
    values |= {"sharpness": _gradient(one) / _gradient(truth).clamp(min=1e-6)}
    known = {name: _finite(float(value)) for name, value in values.items()}
    return known | {"over": over_corrected(restored, degraded, clean), "naturalness": unnatural(restored)}


def over_corrected(restored: torch.Tensor, degraded: torch.Tensor, clean: torch.Tensor) -> float:
    """Severity, 0-100, of over-correction beyond that of the clean picture, whose black sky came out of the haze."""
    found, rightly = (over_correction(to_uint8(degraded), to_uint8(picture)) for picture in (restored, clean))
    return max(0.0, found - rightly)


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
