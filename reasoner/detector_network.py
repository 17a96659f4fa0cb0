"""The network of `rnr.reasoner.detector`: residual blocks at a quarter and an eighth of the resolution.

Convolutions with batch normalisation (He et al., CVPR 2016), on blocks of 4 px that are whitened first. The weights of
a convolution are kept as a matrix, which is what Muon moves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

BLOCK = 4  # px
WIDTHS = (64, 128)  # channels at 1/4 and 1/8 of the resolution; a choice
BLOCKS = 2  # residual blocks of each; a choice
LIMIT = 4.0  # standard deviations: a whitened value is clipped there
FAINT = 0.05  # under the logarithm of a magnitude, in standard deviations
EPSILON = 0.004  # beside the standard deviation of a whitened direction, an 8-bit level


class Convolution(nn.Module):
    """3x3 without bias, its weights a matrix (out, 9 in)."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.shape, self.stride = (after, before, 3, 3), stride
        self.weight = nn.Parameter(torch.randn(after, 9 * before) / (9 * before) ** 0.5)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        weight = self.weight.view(self.shape).contiguous(memory_format=torch.channels_last)
        return functional.conv2d(x_BCHW, weight, None, self.stride, 1)


class Step(nn.Sequential):
    """Convolution, normalisation, ReLU."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__(Convolution(before, after, stride), nn.BatchNorm2d(after), nn.ReLU())


class Residual(nn.Module):
    """relu(x + what two convolutions add), nothing at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = Step(width, width), Convolution(width, width)
        self.norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return functional.relu(x_BCHW + self.norm(self.second(self.first(x_BCHW))))


class Detector(nn.Module):
    """Where each kind changed a picture, and whether and how much it did.

    Args:
        kinds: Names of the kinds, in the order of the outputs.
    """

    white: torch.Tensor
    mean: torch.Tensor

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__()
        self.kinds = list(kinds)
        values, (near, far), count = 3 * BLOCK**2, WIDTHS, len(self.kinds)
        self.register_buffer("white", torch.eye(values))
        self.register_buffer("mean", torch.zeros(values))
        quarter = [Residual(near) for _ in range(BLOCKS)]
        eighth = [Residual(far) for _ in range(BLOCKS)]
        self.body = nn.Sequential(Step(2 * values, near), *quarter, Step(near, far, 2), *eighth)
        self.maps = nn.Conv2d(far, count, 1)
        self.whole = nn.Sequential(
            nn.LayerNorm(6 * far), nn.Linear(6 * far, 128), nn.ReLU(), nn.Linear(128, 2 * count + 1)
        )
        self.each = nn.Linear(2 * far, 2 * count)

    def forward(self, views_BVCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What it finds in the three views of pictures.

        Args:
            views_BVCHW: Overview, richest and smoothest crop (B, 3, 3, S, S) in [0, 1], S a multiple of 8.

        Returns:
            Square root of the change by each kind, by cells of 8 px (B, 3, K, S / 8, S / 8); of the picture: logits of
            presence, severities in 0..1, the logit of "no photograph" (B, 2 K + 1); of each view: logits and
            severities (B, 3, 2 K).
        """
        features = self.body(self.whitened(views_BVCHW.flatten(0, 1)))
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        pooled, changed = (x.unflatten(0, views_BVCHW.shape[:2]) for x in (pooled, self.maps(features)))
        return changed, self.whole(pooled.flatten(1)), self.each(pooled)

    def whitened(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Blocks of 4 px, whitened, and the logarithms of their magnitudes (B, 96, H / 4, W / 4)."""
        blocks = functional.pixel_unshuffle(image_BCHW, BLOCK) - self.mean.view(-1, 1, 1)
        white = functional.conv2d(blocks, self.white[..., None, None])
        both = torch.cat([white.clamp(-LIMIT, LIMIT), (white.abs() + FAINT).log()], 1)
        return both.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def fit_whitening(self, clean_BCHW: torch.Tensor) -> None:
        """Mean and principal directions of the blocks of clean photographs."""
        blocks = functional.pixel_unshuffle(clean_BCHW, BLOCK).permute(0, 2, 3, 1).reshape(-1, len(self.mean))
        self.mean.copy_(blocks.mean(0))
        values, directions = torch.linalg.eigh((blocks - self.mean).T @ (blocks - self.mean) / len(blocks))
        self.white.copy_((directions / (values.clamp(min=0).sqrt() + EPSILON)).T)
