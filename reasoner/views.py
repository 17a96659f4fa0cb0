"""A picture of any size as a few square views: what the built-in reasoner sees.

One overview (the whole picture, resized with antialiasing) and two native crops, chosen by gradient energy: the
richest in edges and the smoothest. Blur shows at edges, noise on smooth ground, haze and darkness in the whole.
Crops start at multiples of 8 px, so that the block grid of a compressed file stays where it was.
Shapes: image_BCHW float in [0, 1]; views are (B, V, 3, side, side) with V = 3, or uint8 (V, side, side, 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import luma
from rnr.degradation.photographs import rounded

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

SIDE = 128
CROPS = 2  # a third, of median energy, cost a quarter of the training speed
DRAWN = {"spectrum": True, "tones": True, "fine": True, "marks": True, "maps": True}  # beside these, see `drawn`
VIEWS = {"side": SIDE, "crops": CROPS} | DRAWN  # what the cards of weights say
CELL = 8  # px; windows are made of whole cells
STRIDE = 32  # px between candidate windows, more in large pictures
BAND = 256  # rows that are converted at a time: bounded memory
PER_AXIS = 16  # at most so many candidates along an axis: bounded work
LARGE = 1_000_000  # pixels above which the overview goes through a box reduction first
Box = tuple[int, int, int, int]  # top, left, height, width in px


def views_of(picture_HWC: np.ndarray, side: int = SIDE, boxes: Sequence[Box] | None = None) -> np.ndarray:
    """uint8 (3, side, side, 3) from uint8, uint16 or float [0, 1] pixels (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    The overview, the crop with the most gradient energy, the one with the least. Smaller pictures are mirrored up.

    Args:
        picture_HWC: Of any size.
        side: Of a view, px.
        boxes: Those of `boxes_of`, where they are known already.

    Raises:
        ValueError: For an empty picture, another shape or type.

    Example:
        >>> import numpy as np
        >>> views_of(np.zeros((300, 400, 3), np.uint8)).shape
        (3, 128, 128, 3)
    """
    picture = _large_enough(as_uint8(picture_HWC), side)
    corners = _corners(picture, side) if boxes is None else [box[:2] for box in boxes[1:]]
    crops = [picture[top : top + side, left : left + side] for top, left in corners]
    return np.stack([_overview(picture, side), *crops])


def boxes_of(picture_HWC: np.ndarray, side: int = SIDE) -> list[Box]:
    """Where the views of `views_of` lie: (top, left, height, width) in px of the picture, clipped to it.

    The first is the overview, which is the whole picture.
    """
    height, width = picture_HWC.shape[:2]
    corners = _corners(_large_enough(as_uint8(picture_HWC), side), side)
    crops = [(top, left, min(side, height - top), min(side, width - left)) for top, left in corners]
    return [(0, 0, height, width), *crops]


def _corners(picture_HWC: np.ndarray, side: int) -> list[list[int]]:
    return _places(_energies_of_array(picture_HWC, side), picture_HWC.shape[:2], side)[0].tolist()


def _large_enough(picture_HWC: np.ndarray, side: int) -> np.ndarray:
    height, width = picture_HWC.shape[:2]
    if min(height, width) >= side:
        return picture_HWC
    return np.pad(picture_HWC, ((0, max(0, side - height)), (0, max(0, side - width)), (0, 0)), mode="symmetric")


def reduction(size: tuple[int, ...], side: int) -> int:
    """Blocks of so many pixels a side are averaged before a picture of this size (H, W) becomes the overview."""
    factor = math.isqrt(max(1, size[0] * size[1] // LARGE))
    return max(1, min(factor, min(size) // side))


def as_uint8(picture_HWC: np.ndarray) -> np.ndarray:
    """Any supported picture as uint8 (H, W, 3); alpha is dropped, grey is repeated."""
    picture = np.asarray(picture_HWC)
    picture = picture[..., None] if picture.ndim == 2 else picture
    if picture.ndim != 3 or picture.shape[2] not in (1, 3, 4) or picture.size == 0:
        raise ValueError(f"a picture has shape (height, width, 1, 3 or 4) and at least one pixel, not {picture.shape}")
    picture = picture[..., :1].repeat(3, 2) if picture.shape[2] == 1 else picture[..., :3]
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype == np.uint16:
        return ((picture.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if not np.issubdtype(picture.dtype, np.floating):
        raise ValueError(f"pixels are uint8, uint16 or float in [0, 1], not {picture.dtype}")
    result = np.empty(picture.shape, np.uint8)
    for top in range(0, len(picture), BAND):
        rows = np.clip(np.nan_to_num(picture[top : top + BAND]), 0, 1)
        result[top : top + BAND] = rows * 255 + 0.5
    return result


def views_of_batch(image_BCHW: torch.Tensor) -> torch.Tensor:
    """The same for a batch.

    Args:
        image_BCHW: RGB in [0, 1], of one size, at least SIDE (128 px) each way.

    Returns:
        (B, 3, 3, SIDE, SIDE) in [0, 1], rounded to 8 bits; the second dimension are the views.

    Example:
        >>> import torch
        >>> views_of_batch(torch.zeros(2, 3, 160, 192)).shape
        torch.Size([2, 3, 3, 128, 128])
    """
    return views_and_maps(image_BCHW, image_BCHW[:, :0])[0]


def views_and_maps(image_BCHW: torch.Tensor, maps_BKHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The views of a batch, and of any maps of its pictures the crops at the same places (B, 2, K, SIDE, SIDE)."""
    size = image_BCHW.shape[-2:]
    both = torch.cat([image_BCHW, maps_BKHW], 1)
    places = _places(_energies(image_BCHW, SIDE), (size[0], size[1]), SIDE).tolist()
    crops = torch.stack(
        [
            torch.stack([one[:, top : top + SIDE, left : left + SIDE] for top, left in corners])
            for one, corners in zip(both, places)
        ]
    )
    overview = image_BCHW if size == (SIDE, SIDE) else _resize(image_BCHW, SIDE)
    return rounded(torch.cat([overview[:, None], crops[:, :, :3]], 1)), crops[:, :, 3:]


def _resize(image_BCHW: torch.Tensor, side: int) -> torch.Tensor:
    return torch.nn.functional.interpolate(image_BCHW, (side, side), mode="bilinear", antialias=True)


def _overview(picture_HWC: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    factor = reduction(picture_HWC.shape[:2], side)
    if factor > 1:  # in bands: Pillow's copy of a picture is twice as large as the picture
        rows = max(1, BAND // factor) * factor
        bands = (picture_HWC[top : top + rows] for top in range(0, len(picture_HWC), rows))
        picture_HWC = np.concatenate([np.asarray(Image.fromarray(band).reduce(factor)) for band in bands])
    if picture_HWC.shape[:2] == (side, side):
        return picture_HWC
    image = torch.from_numpy(np.array(picture_HWC)).permute(2, 0, 1)[None].float() / 255
    resized = (_resize(image, side).clamp(0, 1) * 255).round().byte()
    return resized[0].permute(1, 2, 0).numpy()


def _starts(length: int, side: int) -> list[int]:
    """Where candidate windows begin along an axis: on the grid of cells."""
    extent = length - side
    stride = max(STRIDE, math.ceil(extent / (PER_AXIS - 1) / CELL) * CELL)
    return list(range(0, extent + 1, stride))


def _energies(image_BCHW: torch.Tensor, side: int) -> torch.Tensor:
    """Absolute luma steps summed over each candidate window, (B, rows, columns)."""
    return _windows(_cells(image_BCHW), image_BCHW.shape[-2:], side)


def _energies_of_array(picture_HWC: np.ndarray, side: int) -> torch.Tensor:
    """The same for a uint8 picture, a band of rows at a time: (1, rows, columns)."""
    bands = []
    for top in range(0, picture_HWC.shape[0] // CELL * CELL, BAND):
        band = torch.from_numpy(np.array(picture_HWC[top : top + BAND + 1]))  # and the row it steps to
        bands.append(_cells(band.permute(2, 0, 1)[None].float() / 255, BAND // CELL))
    return _windows(torch.cat(bands, 1), picture_HWC.shape[:2], side)


def _cells(image_BCHW: torch.Tensor, most: int | None = None) -> torch.Tensor:
    """Steps to the right and downwards, averaged over cells of 8 px: (B, H // 8, W // 8), at most `most` rows."""
    y_B1HW = luma(image_BCHW)
    steps = torch.nn.functional.pad(y_B1HW.diff(dim=2).abs(), (0, 0, 0, 1))
    steps[..., :-1] += y_B1HW.diff(dim=3).abs()
    return torch.nn.functional.avg_pool2d(steps, CELL)[:, 0, :most]


def _windows(cells_BRC: torch.Tensor, size: tuple[int, ...], side: int) -> torch.Tensor:
    """Sums over the windows, from a table of sums over all upper left rectangles."""
    table = torch.nn.functional.pad(cells_BRC.double().cumsum(1).cumsum(2), (1, 0, 1, 0))
    tops, lefts = (torch.tensor(_starts(length, side)) // CELL for length in size)
    span = side // CELL

    def corner(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        return table[:, rows][:, :, columns]

    sums = corner(tops + span, lefts + span) - corner(tops, lefts + span) - corner(tops + span, lefts)
    return (sums + corner(tops, lefts)).float()


def _places(energy_BRC: torch.Tensor, size: tuple[int, int], side: int) -> torch.Tensor:
    """Top left corners (B, 2, 2) of the richest and the smoothest window; apart where that is possible."""
    tops, lefts = _starts(size[0], side), _starts(size[1], side)
    corners_N2 = torch.tensor([(top, left) for top in tops for left in lefts])
    energy_BN = energy_BRC.flatten(1)
    apart_NN = ((corners_N2[:, None] - corners_N2[None]).abs() >= side).any(-1)
    free = torch.ones_like(energy_BN, dtype=torch.bool)
    unused = free.clone()
    picks = []
    for score in (energy_BN, -energy_BN):
        allowed = torch.where(free.any(1, keepdim=True), free, torch.where(unused.any(1, keepdim=True), unused, True))
        pick = score.masked_fill(~allowed, -math.inf).argmax(1)
        picks.append(pick)
        free = free & apart_NN[pick]
        unused = unused & ~torch.nn.functional.one_hot(pick, len(corners_N2)).bool()
    return corners_N2[torch.stack(picks, 1)]
