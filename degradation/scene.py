"""The closed lists of the scene, and the labels of it that follow from the pixels of the clean picture.

These are lighting, colours, texture, layout, computed on a 64x64 copy, so that the label does not depend on the
picture's size. What a photograph shows (`THINGS`) is read from a list beside the photographs
(`photographs.read_objects`). Shapes: image_BCHW in [0, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import luma

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

MEDIUM = ("photograph", "graphic")  # graphic: pages, screens, charts, drawings (`degradation.drawings`)
LIGHTING = ("dark", "dim", "medium", "bright")
COLOURS = ("grey", "red", "orange", "yellow", "green", "cyan", "blue", "violet")
TEXTURE = ("smooth", "moderate", "busy", "very_busy")
LAYOUT = (
    "balanced",
    "brighter_top",
    "brighter_bottom",
    "brighter_left",
    "brighter_right",
    "bright_centre",
    "dark_centre",
)

THINGS = (
    "person",
    "animal",
    "bird",
    "insect",
    "plant",
    "flower",
    "food",
    "drink",
    "tableware",
    "furniture",
    "clothing",
    "text",
    "electronics",
    "instrument",
    "vehicle",
    "boat",
    "aircraft",
    "building",
    "bridge",
    "street",
    "room",
    "sky",
    "water",
    "mountain",
)  # coarse words of what is seen, in the order in which they are written
MOST_THINGS = 4  # of one picture

_LIGHT_EDGES = (0.28, 0.40, 0.52)  # mean luma
_TEXTURE_EDGES = (0.022, 0.036, 0.055)  # mean absolute luma step at 64x64
_HUE_EDGES = (0.045, 0.125, 0.2, 0.43, 0.54, 0.72, 0.92)  # turns; what lies above the last is red again
_GREY = 0.15  # saturation under which a pixel counts as grey
_BALANCED = 0.06  # difference of mean luma under which neither side counts as brighter


def scene_labels(image_BCHW: torch.Tensor) -> dict[str, torch.Tensor]:
    """Index (B,) of each label; `colours` is (B, 2): the most and the second most frequent."""
    small = torch.nn.functional.interpolate(image_BCHW, (64, 64), mode="bilinear", antialias=True).clamp(0, 1)
    y = luma(small)[:, 0]
    steps = y.diff(dim=1).abs().mean((1, 2)) / 2 + y.diff(dim=2).abs().mean((1, 2)) / 2
    return {
        "lighting": torch.bucketize(y.mean((1, 2)), torch.tensor(_LIGHT_EDGES, device=y.device)),
        "colours": _colours(small),
        "texture": torch.bucketize(steps, torch.tensor(_TEXTURE_EDGES, device=y.device)),
        "layout": _layout(y),
    }


def _colours(small_BCHW: torch.Tensor) -> torch.Tensor:
    high, low = small_BCHW.amax(1), small_BCHW.amin(1)
    chroma = (high - low).clamp(min=1e-6)
    red, green, blue = small_BCHW.unbind(1)
    sector = torch.where(high == red, (green - blue) / chroma % 6, (blue - red) / chroma + 2)
    sector = torch.where((high == blue) & (high != red), (red - green) / chroma + 4, sector)
    hue = torch.bucketize(sector / 6 % 1, torch.tensor(_HUE_EDGES, device=high.device)) % 7 + 1
    name = torch.where((high - low) / high.clamp(min=1e-3) < _GREY, 0, hue)
    counts = torch.nn.functional.one_hot(name.flatten(1), len(COLOURS)).sum(1)
    return counts.topk(2, dim=1).indices


def _layout(y_BHW: torch.Tensor) -> torch.Tensor:
    top, bottom = y_BHW[:, :32].mean((1, 2)), y_BHW[:, 32:].mean((1, 2))
    left, right = y_BHW[:, :, :32].mean((1, 2)), y_BHW[:, :, 32:].mean((1, 2))
    centre, whole = y_BHW[:, 16:48, 16:48].mean((1, 2)), y_BHW.mean((1, 2))
    balanced = torch.full_like(top, _BALANCED)
    ring = (centre - whole) * 4 / 3  # centre against what is around it
    scores = torch.stack([balanced, top - bottom, bottom - top, left - right, right - left, ring, -ring], 1)
    return scores.argmax(1)
