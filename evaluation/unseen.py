"""Damage that no training shows: what a quality model makes of it tells whether it has learned kinds or quality.

Each takes pictures (B, 3, H, W) in [0, 1] and a strength 0-1 and is a textbook operation. Not a kind of degradation:
nothing is ever trained on these.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import avg_pool2d, interpolate

from rnr.degradation.kind import kind_named
from rnr.degradation.photographs import rounded
from rnr.quality.views import smooth

Damage = Callable[[torch.Tensor, float], torch.Tensor]


def contrast(image_BCHW: torch.Tensor, strength: float) -> torch.Tensor:
    """Values drawn towards the mean, to a tenth of their spread at most."""
    mean = image_BCHW.mean((1, 2, 3), keepdim=True)
    return mean + (image_BCHW - mean) * (1 - 0.9 * strength)


def quantised(image_BCHW: torch.Tensor, strength: float) -> torch.Tensor:
    """32 down to 2 levels a colour."""
    steps = 2 ** (5 - 4 * strength) - 1
    return (image_BCHW * steps).round() / steps


def pixelated(image_BCHW: torch.Tensor, strength: float) -> torch.Tensor:
    """Squares of 2 to 12 px of one colour."""
    size, (height, width) = round(2 + 10 * strength), image_BCHW.shape[-2:]
    small = avg_pool2d(image_BCHW, size, ceil_mode=True)
    return interpolate(small, scale_factor=size, mode="nearest")[..., :height, :width]


def chromatic(image_BCHW: torch.Tensor, strength: float) -> torch.Tensor:
    """Red and blue moved apart by up to 8 px each."""
    shift = round(1 + 7 * strength)
    red, green, blue = image_BCHW.unbind(1)
    return torch.stack([red.roll(shift, -1), green, blue.roll(-shift, -1)], 1)


def over_sharpened(image_BCHW: torch.Tensor, strength: float) -> torch.Tensor:
    """Unsharp masking by up to eight times what a mean over 5 px takes away."""
    return image_BCHW + (1 + 7 * strength) * (image_BCHW - smooth(image_BCHW, 5))


def over_corrected(image_BCHW: torch.Tensor, strength: float) -> torch.Tensor:
    """Haze undone that is not there, by the model's own inverse, up to severity 90."""
    kind = kind_named("haze")
    severity = torch.full((len(image_BCHW),), 10 + 80 * strength)
    return kind.invert(image_BCHW, kind.draw(severity, torch.Generator().manual_seed(1)))


UNSEEN: dict[str, Damage] = {f.__name__: f for f in (contrast, quantised, pixelated, chromatic, over_sharpened,
                                                     over_corrected)}  # fmt: skip


def damaged(name: str, image_BCHW: torch.Tensor, strength: float) -> torch.Tensor:
    """One of `UNSEEN`, on 8-bit levels."""
    return rounded(UNSEEN[name](image_BCHW, strength))
