"""A leg by the network of the first generation, for the kinds that have no expert yet: all of them in one leg.

`RestorerNetwork` is conditioned on the findings; kinds outside the leg are shown to it as absent, so that they stay.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from rnr.restorer.condition import Condition
from rnr.restorer.network import RestorerNetwork, thumbnail

LARGE = 2048  # px; a larger picture is averaged down before its thumbnail is taken
TileEstimate = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # of x_t, x_1 and t


def estimator(network: RestorerNetwork, condition: Condition, image_1CHW: torch.Tensor, ensemble: bool) -> TileEstimate:
    """A function of tiles (x_t, x_1, t) that estimates the end of the leg.

    Args:
        network: The network.
        condition: What is to be removed (B = 1).
        image_1CHW: The whole picture at the start of the leg, for the overview.
        ensemble: Take the mean of two estimates, the second of the picture upside down; half a turn changes no angle
            of a streak or a blur (Lim et al., EDSR, CVPRW 2017, section 3.3; +0.17 dB, docs/lab-log.md).
    """
    device = network.device
    dtype = network.head.weight.dtype
    condition, cast = condition.to(device), condition.to(device, dtype)
    looks = [overview(image_1CHW).to(device, dtype)]
    looks += [turned(looks[0])] if ensemble else []

    def estimate(x: torch.Tensor, start: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        steers = [network.steer(cast, t.to(dtype), look) for look in looks]
        views = [x, start, network.inverted(start, condition, *steers)]
        result = network(*views, steers[0])
        if ensemble:
            result = torch.lerp(result, turned(network(*map(turned, views), steers[1])), 0.5)
        return result

    return estimate


def turned(image_BCHW: torch.Tensor) -> torch.Tensor:
    """By half a turn."""
    return image_BCHW.flip(-2, -1)


def overview(image_1CHW: torch.Tensor) -> torch.Tensor:
    """The thumbnail that the network sees of the whole picture, in bounded memory."""
    step = max(1, max(image_1CHW.shape[-2:]) // LARGE)
    if step > 1:
        image_1CHW = torch.nn.functional.avg_pool2d(image_1CHW, step)
    return thumbnail(image_1CHW)
