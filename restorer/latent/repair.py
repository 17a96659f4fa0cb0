"""CFRM: an encoder's features of a degraded picture, repaired where they arise (UniRestore, Chen et al., CVPR 2025).

Each feature map is split into groups of channels by grouped convolution. Attention *within* a group goes over the
places of a window, attention *between* groups goes over the groups of one place. The last layer begins at zero, so
that an untrained module changes nothing. Features come
in standardised by their own statistics on training pictures, and what is added counts in their deviations: the
built-in autoencoder has constant channels of 20 beside others of 0.1.

Shapes: x_BCHW; height and width are multiples of `codes.WINDOW`.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from rnr.restorer.expert import zero
from rnr.restorer.latent.codes import Standard, unwindowed, windows


class GroupBlock(nn.Module):
    """Grouped convolution, attention within the groups, attention between them, and a mixing convolution.

    Args:
        width: Channels.
        groups: They divide the channels; one head of attention each.
    """

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.split = nn.Conv2d(width, width, 3, padding=1, groups=groups)
        self.within = nn.Conv2d(width, 3 * width, 1, groups=groups)
        self.between = nn.Linear(width // groups, 3 * width // groups)
        self.mix = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        h = functional.gelu(self.split(x_BCHW))
        h = h + self.attend_within(h)
        h = h + self.attend_between(h)
        return x_BCHW + self.mix(h)

    def attend_within(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Over the places of a window, each group by itself."""
        # A grouped convolution lays out q, k, v of a group side by side: that is a head's share of the channels.
        qkv = windows(self.within(x_BCHW).permute(0, 2, 3, 1), self.groups)
        query, key, value = qkv.chunk(3, -1)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return unwindowed(mixed, *x_BCHW.shape[2:]).permute(0, 3, 1, 2)

    def attend_between(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Over the groups of one place."""
        tokens_BHWGD = x_BCHW.permute(0, 2, 3, 1).unflatten(-1, (self.groups, -1))
        query, key, value = self.between(tokens_BHWGD).chunk(3, -1)
        weight = (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1)
        return (weight @ value).flatten(-2).permute(0, 3, 1, 2)


class FeatureRepair(nn.Module):
    """CFRM of one resolution: x + deviation * what the blocks say.

    Args:
        channels: Of the features.
        width: Of the blocks.
        groups: Of the width.
        blocks: Their number.

    Example:
        >>> x = torch.rand(1, 12, 8, 16)
        >>> torch.equal(FeatureRepair(12, 8, 2, 1)(x), x)  # before training
        True
    """

    def __init__(self, channels: int, width: int, groups: int, blocks: int) -> None:
        super().__init__()
        self.standard = Standard(channels)
        self.entry = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(GroupBlock(width, groups) for _ in range(blocks)))
        self.exit = nn.Conv2d(width, channels, 1)
        zero(self.exit)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        said = self.exit(self.blocks(self.entry(self.standard(x_BCHW.float()))))
        return x_BCHW + (self.standard.deviation * said).to(x_BCHW.dtype)
