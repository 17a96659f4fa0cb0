"""Damage that no training shows: what a quality model makes of it tells whether it has learned kinds or quality.

Each takes pictures (B, 3, H, W) in [0, 1] and a strength 0-1 and is a textbook operation. Not a kind of degradation:
nothing is ever trained on these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, interpolate

from rnr.degradation.kind import kind_named
from rnr.degradation.photographs import rounded
from rnr.degradation.synthesize import degrade, prescribe, truths
from rnr.quality.views import smooth

if TYPE_CHECKING:
    from rnr.degradation.protocols import Restorer

DIM, DOSE = 20, 80  # severity of low light that is there, most that is undone; a choice
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


def over_restored(restorer: Restorer) -> Damage:
    """Low light undone by a restorer at doses above the true one: a true diagnosis whose severity is raised.

    Low light, because there the pixels do not show how much (`Kind.said_alone`) and the dose is obeyed; the experts of
    other kinds stop by themselves.
    """

    def undone(image_1CHW: torch.Tensor, dose: int) -> torch.Tensor:
        mixture = prescribe({"low_light": DIM}, seed=1)
        dark = degrade(image_1CHW, mixture)
        (true,) = truths(image_1CHW, dark, mixture, ["low_light"])
        result = restorer.restore(dark[0].permute(1, 2, 0).numpy(), true.edit("low_light", severity=dose))
        return torch.from_numpy(np.array(result.pixels_HWC3)).permute(2, 0, 1)

    def damage(image_BCHW: torch.Tensor, strength: float) -> torch.Tensor:
        return torch.stack([undone(image[None], round(DIM + strength * (DOSE - DIM))) for image in image_BCHW])

    return damage


UNSEEN: dict[str, Damage] = {f.__name__: f for f in (contrast, quantised, pixelated, chromatic, over_sharpened,
                                                     over_corrected)}  # fmt: skip


def damaged(damage: Damage, image_BCHW: torch.Tensor, strength: float) -> torch.Tensor:
    """Such damage on 8-bit levels."""
    return rounded(damage(image_BCHW, strength))
