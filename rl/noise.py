"""Exploration noise with a spectrum: gaussian and diagonal in the DCT, so that its log-probability is exact.

White noise explores badly: what differs between restorations is coarse. `pink` has amplitude 1/f over frequency.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Literal

from rnr.degradation._lazy import LazyModule
from rnr.degradation.dct import dct_matrix

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

Colour = Literal["white", "pink"]


def dct(image_BCHW: torch.Tensor) -> torch.Tensor:
    rows, columns = (dct_matrix(n).to(image_BCHW) for n in image_BCHW.shape[-2:])
    return rows @ image_BCHW @ columns.T


def inverse_dct(spectrum_BCHW: torch.Tensor) -> torch.Tensor:
    rows, columns = (dct_matrix(n).to(spectrum_BCHW) for n in spectrum_BCHW.shape[-2:])
    return rows.T @ spectrum_BCHW @ columns


@cache
def spectrum(height: int, width: int, colour: Colour) -> torch.Tensor:
    """Relative standard deviation of each DCT coefficient (H, W), mean square 1 (so the picture's deviation is 1)."""
    if colour == "white":
        return torch.ones(height, width)
    frequency = torch.hypot(torch.arange(height)[:, None] / height, torch.arange(width)[None] / width)
    amplitude = 1 / frequency.clamp(min=1 / max(height, width))
    return amplitude / amplitude.square().mean().sqrt()


def gaussian_log_prob(value: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Log-density of a diagonal gaussian, mean over dimensions (Flow-GRPO, Liu et al. 2025, sec. 4): (B,), float32."""
    value, mean, std = value.float(), mean.float(), std.float()
    density = -((value - mean) / std).square() / 2 - std.log() - math.log(2 * math.pi) / 2
    return density.flatten(1).mean(1)


def gaussian_kl(mean: torch.Tensor, other: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """KL between two gaussians of one spread, mean over dimensions: (B,)."""
    return (((mean.float() - other.float()) / std.float()).square() / 2).flatten(1).mean(1)


def truncated_log_prob(value: torch.Tensor, location: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Log-density of a normal distribution that is cut off above 0, mean over dimensions: (B,), float32.

    That of the normal one minus log Phi(-location / std), the share of it that lies below 0.
    """
    below = torch.special.log_ndtr(-location.float() / std.float())
    return gaussian_log_prob(value, location, std) - below.flatten(1).mean(1)


def truncated_kl(location: torch.Tensor, other: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """KL between two of them of one spread, mean over dimensions: (B,)."""
    location, other, std = location.float(), other.float(), std.float()
    here, there = (torch.special.log_ndtr(-place / std) for place in (location, other))
    ratio = torch.exp(-(location / std).square() / 2 - math.log(2 * math.pi) / 2 - here)  # phi / Phi
    expected = location - std * ratio
    moved = expected * (location - other) + (other.square() - location.square()) / 2
    return (moved / std.square() + there - here).flatten(1).mean(1)


def truncated_draw(location: torch.Tensor, std: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """A draw at 0 or below, from uniform numbers in (0, 1), by the inverse of the distribution function."""
    location, std, uniform = location.double(), std.double(), uniform.double().clamp(min=1e-9)
    below = torch.special.ndtr(-location / std).clamp(min=1e-300)
    return (location + std * torch.special.ndtri(uniform * below)).clamp(max=0).float()
