"""A network that reads a picture's point spread function: a blur is nearly all global, and its spectrum shows it.

A small network reads type, angle and width from the mean log power of windows and from its cepstrum
(`rnr.degradation.log_spectrum`). Wiener's filter for what it read (`Blur.invert`) is then an input of the blur's expert
(`expert.ExpertNetwork`).

Shapes: image_BCHW in [0, 1], of any size.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from rnr.degradation.blur import TYPES
from rnr.degradation.log_spectrum import WINDOW, log_spectrum

ANGLES, WIDTHS = 36, 24  # bins of 5 degrees, and of the width on a logarithmic scale: choices
NARROWEST, WIDEST = 0.4, 8.0  # px, of the width's bins
CHANNELS = 48  # a choice
NOTHING = len(TYPES)  # the class of pictures that are not blurred
Factors = dict[str, torch.Tensor]


class PointSpreadReader(nn.Module):
    """Spectrum -> type, angle and width of the point spread function, as logits of bins.

    Example:
        >>> blurred_B, factors = PointSpreadReader().read(torch.rand(1, 3, 128, 128))
        >>> sorted(factors)
        ['angle', 'type', 'width']
    """

    def __init__(self) -> None:
        super().__init__()
        wide, rest = 2 * CHANNELS, WINDOW // 8
        self.body = nn.Sequential(
            halved(6, CHANNELS), halved(CHANNELS, CHANNELS), halved(CHANNELS, wide), nn.Flatten(),
            nn.Linear(wide * rest * rest, 256), nn.ReLU(),
        )  # fmt: skip
        self.out = nn.Linear(256, NOTHING + 1 + ANGLES + WIDTHS)

    def forward(self, plane_B4HW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of the type (B, 4), the last for no blur, of the angle (B, 36) and of the width (B, 24)."""
        place = directions(plane_B4HW).expand(len(plane_B4HW), -1, -1, -1)
        seen = torch.cat([plane_B4HW, place], 1).to(self.out.weight.dtype)
        kind, angle, width = self.out(self.body(seen)).float().split((NOTHING + 1, ANGLES, WIDTHS), 1)
        return kind, angle, width

    @torch.no_grad()
    def read(self, image_BCHW: torch.Tensor) -> tuple[torch.Tensor, Factors]:
        """What pictures show; those of less than WINDOW px nothing.

        Returns:
            (B,) whether a picture is blurred, and the factors (B,) of `degradation/blur.py`: type, angle in degrees,
            width in px.
        """
        if min(image_BCHW.shape[-2:]) < WINDOW:
            nothing = torch.zeros(len(image_BCHW), device=image_BCHW.device)
            return nothing.bool(), {"type": nothing.long(), "angle": nothing, "width": nothing}
        kind, angle, width = self(log_spectrum(image_BCHW))
        bins = torch.linspace(math.log(NARROWEST), math.log(WIDEST), WIDTHS, device=width.device)
        return kind.argmax(1) < NOTHING, {
            "type": kind[:, :NOTHING].argmax(1),
            "angle": around(angle.softmax(1)) * 180 / ANGLES % 180,
            "width": torch.exp((width.softmax(1) * bins).sum(1)),
        }


def halved(inside: int, outside: int) -> nn.Sequential:
    """Two convolutions, the first to half the resolution."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, 2, 1), nn.ReLU(), nn.Conv2d(outside, outside, 3, 1, 1), nn.ReLU()
    )


def around(p_BN: torch.Tensor) -> torch.Tensor:
    """The likeliest bin of a circle, refined by its neighbours: (B,), 0..N."""
    count = p_BN.shape[1]
    top, near = p_BN.argmax(1), torch.arange(-2, 3, device=p_BN.device)
    weight = p_BN.gather(1, (top[:, None] + near) % count)
    return (top + (weight * near).sum(1) / weight.sum(1)) % count


def directions(plane_BCHW: torch.Tensor) -> torch.Tensor:
    """Where a cell lies: cosine of twice its angle, and its distance from the middle (1, 2, WINDOW, WINDOW)."""
    axis = torch.linspace(-1, 1, WINDOW, device=plane_BCHW.device, dtype=plane_BCHW.dtype)
    down, across = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([torch.cos(2 * torch.atan2(down, across)), torch.hypot(across, down)])[None]


def loss(logits: tuple[torch.Tensor, ...], blurred_B: torch.Tensor, factors: Factors) -> torch.Tensor:
    """Cross-entropy of the type, of the width where there is blur, and of the angle where a motion shows one.

    Args:
        logits: Of the network.
        blurred_B: Whether a picture is blurred.
        factors: The true ones.
    """
    kind, angle, width = logits
    motion_B = blurred_B & (factors["type"].long() == TYPES.index("motion")) & (factors["width"] > 1)
    steps = (factors["angle"][:, None] * ANGLES / 180 - torch.arange(ANGLES)).abs() % ANGLES
    span = math.log(WIDEST / NARROWEST) / (WIDTHS - 1)
    place = (factors["width"].clamp(NARROWEST, WIDEST) / NARROWEST).log() / span
    return (
        functional.cross_entropy(kind, torch.where(blurred_B, factors["type"].long(), NOTHING))
        + (entropy(angle, torch.minimum(steps, ANGLES - steps)) * motion_B).mean()
        + (entropy(width, place[:, None] - torch.arange(WIDTHS)) * blurred_B).mean()
    )


def entropy(logits_BN: torch.Tensor, distance_BN: torch.Tensor) -> torch.Tensor:
    """Cross-entropy (B,) with a target that falls off by the distance in bins: neighbours are nearly right."""
    return -(torch.softmax(-(distance_BN**2), 1) * logits_BN.log_softmax(1)).sum(1)
