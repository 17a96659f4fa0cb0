"""Pictures of any size through a network in bounded memory: overlapping tiles, blended without seams.

A tile is its core, a band in which it fades into its neighbours, and a margin that is computed and thrown away. All
starts are multiples of the network's stride and of the denoiser's, so that a tile sees the same sampling grids as the
whole picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

from rnr.degradation.shrinkage import STRIDE

MARGIN = 128  # px of context around a tile; beyond it the network does not look (see the tests)
BAND = 16  # px on each side of a seam over which two tiles blend


@dataclass(frozen=True)
class Span:
    """One axis of a tile: what is read, what is written, and how strongly."""

    read: slice
    write: slice
    weight: torch.Tensor  # over `write`


def spans(length: int, tile: int, margin: int = MARGIN) -> Iterator[Span]:
    """Cover `length` by cores of `tile`; neighbours' weights add up to 1 everywhere."""
    starts = list(range(0, max(1, length - tile // 2), tile)) if length > tile + margin else [0]
    ends = [*starts[1:], length]
    for start, end in zip(starts, ends):
        low, high = max(0, start - BAND) if start else 0, min(length, end + BAND)
        place = torch.arange(low, high, dtype=torch.float32) + 0.5
        weight = torch.ones(high - low, dtype=torch.float32)
        if start:
            weight = weight * ((place - (start - BAND)) / (2 * BAND)).clamp(0, 1)
        if end < length:
            weight = weight * ((end + BAND - place) / (2 * BAND)).clamp(0, 1)
        read = slice(max(0, start - margin - BAND), min(length, end + margin + BAND))
        yield Span(read, slice(low, high), weight)


def pad_to_multiple(image_BCHW: torch.Tensor, multiple: int) -> torch.Tensor:
    """Extend at the bottom and right: mirrored where the picture is large enough, else repeated."""
    height, width = image_BCHW.shape[-2:]
    below, right = -height % multiple, -width % multiple
    mode = "reflect" if below < height and right < width else "replicate"
    return functional.pad(image_BCHW, (0, right, 0, below), mode=mode) if below or right else image_BCHW


def tiled(
    function: Callable[..., torch.Tensor],
    images_1CHW: list[torch.Tensor],
    tile: int,
    multiple: int,
    margin: int = MARGIN,
) -> torch.Tensor:
    """function(*tiles) over the whole picture; `tile` (core side, px) is rounded up to the grids.

    A tile's height and width are extended to the multiple; `margin` (px, a multiple of the grid) is how far a network
    looks beyond a pixel.
    """
    tile = max(tile, 2 * BAND) + -max(tile, 2 * BAND) % math.lcm(multiple, STRIDE)
    height, width = images_1CHW[0].shape[-2:]
    # As a picture's array lies: no copy afterwards.
    result = torch.zeros(1, height, width, 3, dtype=torch.float32).permute(0, 3, 1, 2)
    for rows in spans(height, tile, margin):
        for columns in spans(width, tile, margin):
            parts = [image[..., rows.read, columns.read] for image in images_1CHW]
            shape = parts[0].shape[-2:]
            output = function(*(pad_to_multiple(part, multiple) for part in parts))[..., : shape[0], : shape[1]]
            output = output[..., _inside(rows), _inside(columns)].cpu()
            result[..., rows.write, columns.write].add_(output * rows.weight[:, None] * columns.weight)
    return result


def _inside(span: Span) -> slice:
    return slice(span.write.start - span.read.start, span.write.stop - span.read.start)
