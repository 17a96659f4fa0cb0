"""Denoising by shrinkage of the coefficients of sliding DCT blocks, in two passes.

Coefficients below 2.7 standard deviations of the noise are dropped, then each is weighted as Wiener's filter would with
the first result for a signal; overlapping blocks are averaged, sparse ones counting more. This is BM3D (Dabov, Foi,
Katkovnik, Egiazarian, TIP 2007) without its matching of blocks; its colour transform is used, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.dct import dct_matrix

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

SIDE, STRIDE = 8, 3  # px; a stride of 2 gains 0.3 dB and takes four times as long
THRESHOLD = 2.7  # standard deviations
OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (1 / 2, 0, -1 / 2), (1 / 4, -1 / 2, 1 / 4))


def opponent_sigma(sigma_B: torch.Tensor, grey_B: torch.Tensor) -> torch.Tensor:
    """Standard deviation (B, 3) in opponent channels of noise that is independent in R, G, B, or `grey`: equal."""
    transform = torch.tensor(OPPONENT, device=sigma_B.device)
    independent, equal = transform.norm(dim=1), transform.sum(1).abs()
    return sigma_B[:, None] * torch.where(grey_B[:, None], equal, independent)


def shrink(image_BCHW: torch.Tensor, sigma_B3: torch.Tensor, shot_B: torch.Tensor | None = None) -> torch.Tensor:
    """Pictures without noise of this standard deviation in their opponent channels (levels in [0, 1]).

    Of the variance a share `shot_B` is proportional to the light, and is as large as given at middle grey.
    """
    transform = torch.tensor(OPPONENT, device=image_BCHW.device)
    dct = dct_matrix(SIDE).to(image_BCHW.device)
    dct = torch.kron(dct, dct)
    planes = torch.einsum("kc,bchw->bkhw", transform, image_BCHW)
    blocks = _Blocks(planes)
    coefficients = dct @ blocks.split(planes)  # (B, 3, 64, blocks)
    variance = (sigma_B3**2)[:, :, None, None]
    if shot_B is not None:
        light = coefficients[:, :1, :1].clamp(min=0) / SIDE
        share = shot_B[:, None, None, None]
        variance = variance * (1 - share + share * 2 * light)
    keep = coefficients.abs() > THRESHOLD * variance.sqrt()
    keep[:, :, 0] = True
    pilot = blocks.join(dct.T @ (coefficients * keep), 1 / keep.sum(2, keepdim=True))
    signal = (dct @ blocks.split(pilot)) ** 2
    gain = signal / (signal + variance + 1e-12)
    gain[:, :, 0] = 1
    planes = blocks.join(dct.T @ (coefficients * gain), 1 / (gain**2).sum(2, keepdim=True))
    return torch.einsum("kc,bchw->bkhw", torch.linalg.inv(transform), planes)


class _Blocks:
    """Planes (B, C, H, W) to overlapping blocks (B, C, 64, N) and back. The first block begins 9 px outside."""

    def __init__(self, planes: torch.Tensor) -> None:
        self.shape = planes.shape
        height, width = planes.shape[-2:]
        self.border = border = 3 * STRIDE  # at least a block, on the grid
        self.padding = [border, border - (width + SIDE) % -STRIDE, border, border - (height + SIDE) % -STRIDE]
        self.size = (height + self.padding[2] + self.padding[3], width + self.padding[0] + self.padding[1])

    def split(self, planes: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = self.shape
        mode = "reflect" if min(height, width) > max(self.padding) else "replicate"
        padded = torch.nn.functional.pad(planes, self.padding, mode=mode).flatten(0, 1)[:, None]
        return torch.nn.functional.unfold(padded, SIDE, stride=STRIDE).unflatten(0, (batch, channels))

    def join(self, blocks: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The weighted mean of the blocks (weights (B, C, 1, N)) where they overlap."""
        total, height, width = self._fold(blocks * weight), *self.shape[-2:]
        mean = total / self._fold(weight.expand_as(blocks))
        inside = mean[..., self.border : self.border + height, self.border : self.border + width]
        return inside.reshape(self.shape)

    def _fold(self, blocks: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.fold(blocks.flatten(0, 1), self.size, SIDE, stride=STRIDE)
