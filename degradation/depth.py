"""How far away the things of a picture are: a guess from the picture itself, for a veil that follows the scene.

The logarithm of the depth is a sum of what photographs of the outdoors have in common, each with a random weight: a
ground plane in perspective, regions of one depth each, a sky above them, brightness, and patches of a veil that is not
evenly thick. It is made on a small copy and brought to full size by a guided filter, so that its edges are the scene's.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import column, luma, uniform

if TYPE_CHECKING:
    import torch
    from torch.nn import functional
else:
    torch, functional = LazyModule("torch"), LazyModule("torch.nn.functional")

# Choices of taste, looked at on photographs; nothing was fitted to them.
SIDE = 96  # px, longest side of the small copy
REGIONS = 6
SHARPNESS = 60.0  # of the borders between regions: 1 / (squared distance of colour and place)
GUIDE, SMOOTH = 5, 4e-3  # px and variance of the guided filter


def scene_depth(image_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Depth (B, 1, H, W) of mean 1, in part flat and smooth, in part along the edges and regions of the picture.

    Args:
        image_BCHW: float in [0, 1]; its content moves the depth, never the random numbers.
        generator: seeded; draws the same numbers for every content.
    """
    batch, _, height, width = image_BCHW.shape

    def draw(low: float, high: float) -> torch.Tensor:
        return column(uniform(batch, low, high, generator))

    step = max(1, min(height, width, max(2, -(-max(height, width) // SIDE))))
    small = functional.avg_pool2d(image_BCHW, step)
    parts = [
        draw(-0.3, 1.3).clamp(min=0) * perspective(small, generator),
        draw(-0.5, 0.5) * across(small),
        draw(-0.7, 1).clamp(min=0) * regions(small, generator),
        draw(-1.5, 1.5).clamp(min=0) * sky(small),
        draw(-0.4, 0.5).clamp(min=0) * patches(small, generator),
        draw(-1.5, 1).clamp(min=0) * (luma(small) - 0.5),
    ]
    relief = functools.reduce(torch.add, parts)
    relief = (relief - relief.mean((2, 3), keepdim=True)) * draw(0.1, 1)
    relief = guided(luma(small), relief, luma(image_BCHW), draw(-0.5, 1) > 0)
    depth = torch.exp(relief.clamp(-2.5, 2.5))
    return depth / depth.mean((2, 3), keepdim=True)


def across(image_BCHW: torch.Tensor) -> torch.Tensor:
    """-1 at the left to 1 at the right (1, 1, 1, W)."""
    return torch.linspace(-1, 1, image_BCHW.shape[-1], device=image_BCHW.device).view(1, 1, 1, -1)


def down(image_BCHW: torch.Tensor) -> torch.Tensor:
    """-1 at the top to 1 at the bottom (1, 1, H, 1)."""
    return torch.linspace(-1, 1, image_BCHW.shape[-2], device=image_BCHW.device).view(1, 1, -1, 1)


def perspective(image_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Log depth (B, 1, H, 1) of the ground under a camera: d ~ 1 / (y - horizon), all that is above it equally far.

    The horizon may lie outside, because pictures are crops.
    """
    horizon = column(uniform(len(image_BCHW), -1.8, 0.8, generator))
    return -torch.log((down(image_BCHW) - horizon).clamp(min=0.15))


def regions(image_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Log depth (B, 1, H, W) that is one random number per region of like colour and place (one step of SLIC)."""
    batch, _, height, width = image_BCHW.shape
    device = image_BCHW.device
    place = torch.cat([down(image_BCHW).expand(1, 1, -1, width), across(image_BCHW).expand(1, 1, height, -1)], 1)
    weight = column(uniform(batch, 0.15, 0.6, generator))
    features = torch.cat([image_BCHW, place * weight], 1).flatten(2)  # (B, 5, N)
    seeds = torch.randint(0, height * width, (batch, 1, REGIONS), generator=generator, device=device)
    centres = features.gather(2, seeds.expand(-1, features.shape[1], -1))  # (B, 5, R)
    nearness = 2 * centres.transpose(1, 2) @ features - (centres**2).sum(1)[:, :, None]
    share = torch.softmax(SHARPNESS * nearness, 1)  # (B, R, N)
    levels = torch.randn(batch, 1, REGIONS, generator=generator, device=device)
    return (levels @ share).view(batch, 1, height, width)


def sky(image_BCHW: torch.Tensor) -> torch.Tensor:
    """0..1 (B, 1, H, W): bright, not warm, and nothing but such pixels above it."""
    red, _, blue = image_BCHW.split(1, 1)
    bright = torch.sigmoid(16 * (luma(image_BCHW) - 0.55)) * torch.sigmoid(24 * (blue - red + 0.08))
    smooth = functional.avg_pool2d(functional.pad(bright, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return smooth.cummin(2).values


def patches(image_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Log thickness (B, 1, H, W) of a veil in patches: two octaves of a smooth random grid."""
    batch, _, height, width = image_BCHW.shape
    total = torch.zeros((), device=image_BCHW.device)
    for side, amplitude in ((3, 1.0), (7, 0.6)):
        grid = torch.randn(batch, 1, side, side, generator=generator, device=image_BCHW.device)
        total = total + amplitude * functional.interpolate(grid, (height, width), mode="bicubic", align_corners=True)
    return total


def guided(guide: torch.Tensor, small: torch.Tensor, full: torch.Tensor, follow: torch.Tensor) -> torch.Tensor:
    """`small` at the size of `full`: where `follow` along its edges (He & Sun, "Fast guided filter", 2015).

    Args:
        guide: (B, 1, h, w), the small copy of `full`.
        small: (B, 1, h, w), what is to be enlarged.
        full: (B, 1, H, W).
        follow: (B, 1, 1, 1) of bool.
    """
    stack = torch.cat([guide, small, guide * small, guide * guide], 1)
    mean_g, mean_s, mean_gs, mean_gg = box(stack).split(1, 1)
    slope = (mean_gs - mean_g * mean_s) / (mean_gg - mean_g**2 + SMOOTH) * follow
    lines = box(torch.cat([slope, mean_s - slope * mean_g], 1))
    slope, offset = functional.interpolate(lines, full.shape[-2:], mode="bilinear").split(1, 1)
    return slope * full + offset


def box(x_BCHW: torch.Tensor) -> torch.Tensor:
    half = GUIDE // 2
    return functional.avg_pool2d(functional.pad(x_BCHW, (half, half, half, half), mode="replicate"), GUIDE, 1)
