"""A picture of the statistics that patches do not show: how strong each spatial frequency is, as one more view.

Noise, blur and the grid of a compressed file live in the second moments of the pixels. A large vision tower can learn
to square and average; ours does it late and badly, so it is shown the result. Three quadrants are maps of 16 x 16 cells
of 4 px, one per frequency of a 16 px block (orthonormal DCT-II, constant term in the upper left corner), their channels
the power of luma, blue and red difference: the richest crop, the smoothest crop and, below on the right, the lower
quartile over the blocks of both crops, where texture counts little. Brightness is (log10(power + 0.1) + 1) / 6, power
in squared 8-bit levels. The quadrant below on the left holds the tones of the overview (`rnr.reasoner.tones`).

Blocks of 16 px are too coarse for the rings that a blur leaves and for the edge of an enlarged picture's band. The
fifth view shows them at 64 px. What it is worth to a small network that reads presence: F1 0.43 -> 0.83 for a low
resolution, 0.44 -> 0.60 for blur (6,400 pictures; docs/lab-log.md, 2026-11-29).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.dct import dct_matrix
from rnr.degradation.log_spectrum import log_spectrum
from rnr.reasoner.tones import tones

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

BLOCK = 16  # px
FLOOR, DECADES = 0.1, 6
LIFT, RANGE, GAIN = 2.2, 6.0, 1.5  # log power -9.6 to 8.4 fills 0 to 1, 999 in 1000 values of a cepstrum do: Kodak24
YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # JPEG's colour transform


def fine_spectrum(views_BVCHW: torch.Tensor) -> torch.Tensor:
    """The fifth view (B, 3, S, S) in [0, 1]: the mean log power of windows (`rnr.degradation.log_spectrum`) of the
    richest and the smoothest crop above, their cepstra below, in grey."""
    above, below = [], []
    for crop in (1, 2):
        power, _, cepstrum, _ = log_spectrum(views_BVCHW[:, crop]).split(1, 1)
        above.append((power + LIFT) / RANGE)
        below.append(0.5 + GAIN * cepstrum)
    shown = torch.cat([torch.cat(above, -1), torch.cat(below, -1)], -2).clamp(0, 1)
    side = views_BVCHW.shape[-1]
    return torch.nn.functional.interpolate(shown, (side, side)).expand(-1, 3, -1, -1)


def spectrum(views_BVCHW: torch.Tensor) -> torch.Tensor:
    """The fourth view (B, 3, S, S) in [0, 1] from views (B, 3, 3, S, S) in [0, 1], S a multiple of 32: overview,
    richest and smoothest crop."""
    side = views_BVCHW.shape[-1]
    rich, smooth = power(views_BVCHW[:, 1:]).unbind(1)  # each (B, 3, blocks, 16, 16)
    blocks = torch.cat([rich, smooth], 2)
    quartile = blocks.kthvalue(blocks.shape[2] // 4, dim=2).values
    rich, smooth, quartile = (
        ((torch.log10(p + FLOOR) + 1) / DECADES).clamp(0, 1) for p in (rich.mean(2), smooth.mean(2), quartile)
    )
    rows = [torch.cat([rich, smooth], -1), torch.cat([tones(views_BVCHW[:, 0]), quartile], -1)]
    shown = torch.cat(rows, -2)
    return shown.repeat_interleave(side // (2 * BLOCK), -1).repeat_interleave(side // (2 * BLOCK), -2)


def power(views_BVCHW: torch.Tensor) -> torch.Tensor:
    """Squared DCT coefficients of luma and colour differences by block, (B, V, 3, blocks, 16, 16), in 8-bit levels."""
    ycc = torch.einsum("kc,bvchw->bvkhw", torch.tensor(YCC, dtype=torch.float32), 255 * views_BVCHW)
    blocks = ycc.unfold(3, BLOCK, BLOCK).unfold(4, BLOCK, BLOCK).flatten(3, 4)
    return (dct_matrix(BLOCK) @ blocks @ dct_matrix(BLOCK).T) ** 2
