"""How the tones of a picture are spread, as a small picture: what a veil, darkness and clipping do to all of it.

The extremes of a picture say most about airlight and exposure, and a linear patch embedding sees only means. Four maps
of 8 x 8 cells, each cell one number a channel:

    quantiles of red, green, blue        | the same on a logarithmic scale, log2(1 + 255 x) / 8
    quantiles of the dark channel (15 px | darkest, mean luma and brightest of each block of the picture
    patches), saturation and brightest   |
    colour channel                       |

The 64 quantiles of a map run from the minimum to the maximum, row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import luma

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

SIDE = 8  # cells of a map
PATCH, STEP = 15, 8  # px, of the dark channel (He, Sun, Tang, CVPR 2009)


def tones(overview_BCHW: torch.Tensor) -> torch.Tensor:
    """(B, 3, 16, 16) in [0, 1] from pictures (B, 3, S, S) in [0, 1], S a multiple of 8 and at least 16."""
    pool = torch.nn.functional.max_pool2d
    darkest = -overview_BCHW.amin(1, keepdim=True)
    brightest = overview_BCHW.amax(1, keepdim=True)
    dark = -pool(darkest, PATCH, STEP, PATCH // 2)
    saturation = (brightest + darkest) / (brightest + 1 / 255)
    colours = quantiles(overview_BCHW)
    logarithm = torch.log2(1 + 255 * colours) / 8
    spread = torch.cat([quantiles(values) for values in (dark, saturation, brightest)], 1)
    cell = overview_BCHW.shape[-1] // SIDE
    mean = torch.nn.functional.avg_pool2d(luma(overview_BCHW), cell)
    blocks = torch.cat([-pool(darkest, cell), mean, pool(brightest, cell)], 1)
    return torch.cat([torch.cat([colours, logarithm], -1), torch.cat([spread, blocks], -1)], -2)


def quantiles(image_BCHW: torch.Tensor) -> torch.Tensor:
    """(B, C, 8, 8): 64 quantiles of each channel, ascending, linearly interpolated."""
    ordered = image_BCHW.flatten(2).sort(-1).values
    at = torch.linspace(0, ordered.shape[-1] - 1, SIDE * SIDE, dtype=torch.float32)
    low = at.floor().long().clamp(max=ordered.shape[-1] - 2)
    values = torch.lerp(ordered[..., low], ordered[..., low + 1], at - low)
    return values.unflatten(-1, (SIDE, SIDE))
