"""From the pixels of the original picture to the model's input, differentiably: what `rnr.reasoner.views` does with
uint8 arrays, on float tensors and without rounding.

Which crops are taken is decided on the picture itself and kept fixed: a choice of window has no gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.reasoner.collate import patchify
from rnr.reasoner.drawn import with_exact
from rnr.reasoner.reasoner import side_of
from rnr.reasoner.views import Box, boxes_of, reduction

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")


def batch_of(pixels_HWC: np.ndarray) -> torch.Tensor:
    """(1, 3, H, W) float32 of (H, W, 3) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels_HWC, dtype=np.float32)).permute(2, 0, 1)[None]


def scaled(map_HW: np.ndarray) -> np.ndarray:
    """A map from 0 at its least to 1 at its 99th percentile; NaN is 0."""
    known = map_HW[np.isfinite(map_HW)]
    low, high = (float(np.quantile(known, q)) for q in (0, 0.99)) if known.size else (0.0, 1.0)
    return ((np.nan_to_num(map_HW, nan=low) - low) / max(high - low, 1e-12)).clip(0, 1)


def overlay(map_HW: np.ndarray) -> np.ndarray:
    """A map as a layer over its picture, uint8 RGBA: the more, the less transparent, from red to yellow."""
    strength = scaled(map_HW)
    layer = np.stack([np.ones_like(strength), 0.2 + 0.75 * strength, 0.1 + 0 * strength, strength], -1)
    return (layer * 255 + 0.5).astype(np.uint8)


def views_of_tensor(image_1CHW: torch.Tensor, card: Mapping[str, Any], boxes: list[Box]) -> torch.Tensor:
    """The views (V, 3, side, side) in [0, 1] by a card, as `rnr.reasoner.reasoner.shown` makes them.

    Args:
        image_1CHW: Float in [0, 1].
        card: Of the weights.
        boxes: Where the crops lie in the picture (`boxes_of`): top, left, height, width.
    """
    size = (int(image_1CHW.shape[-2]), int(image_1CHW.shape[-1]))
    side = side_of(size, card)
    image = mirrored(image_1CHW, side)
    overview = resized(image, side)
    crops = [image[..., top : top + side, left : left + side] for top, left, _, _ in boxes[1:]]
    views = torch.cat([overview, *crops])
    return with_exact(views, card.get("views", {}))


def mirrored(image_1CHW: torch.Tensor, side: int) -> torch.Tensor:
    """A picture smaller than a view, mirrored up at the bottom and on the right, as numpy's `symmetric` does."""
    for axis in (-2, -1):
        length = image_1CHW.shape[axis]
        if length < side:
            index = np.pad(np.arange(length), (0, side - length), mode="symmetric")
            image_1CHW = image_1CHW.index_select(axis, torch.from_numpy(index).to(image_1CHW.device))
    return image_1CHW


def resized(image_1CHW: torch.Tensor, side: int) -> torch.Tensor:
    """The overview (1, 3, side, side): means of blocks first where the picture is large, then bilinear."""
    factor = reduction(tuple(image_1CHW.shape[-2:]), side)
    functional = torch.nn.functional
    if factor > 1:
        image_1CHW = functional.avg_pool2d(image_1CHW, factor, ceil_mode=True, count_include_pad=False)
    if tuple(image_1CHW.shape[-2:]) == (side, side):
        return image_1CHW
    return functional.interpolate(image_1CHW, (side, side), mode="bilinear", antialias=True).clamp(0, 1)


def patches_of(views_VCHW: torch.Tensor, processor: Any) -> torch.Tensor:
    """`pixel_values` of views in [0, 1], as the processor's image part makes them."""
    images = processor.image_processor
    mean, std = (torch.tensor(list(values)).view(1, 3, 1, 1) for values in (images.image_mean, images.image_std))
    device = views_VCHW.device
    normal = (views_VCHW - mean.to(device)) / std.to(device)
    return patchify(normal, images.patch_size, images.merge_size)


def boxes(picture_HWC: np.ndarray, card: Mapping[str, Any]) -> list[Box]:
    """Where the views of a picture lie in it, in px; the spectrum, which lies nowhere, is left out."""
    return boxes_of(picture_HWC, side_of(picture_HWC.shape[:2], card))
