"""Openings by lines: an opening keeps what is bright and at least as long as the line, and nothing else (Soille,
"Morphological Image Analysis", 2003)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

Step = tuple[int, int]  # px down, px right


def opened(y_B1HW: torch.Tensor, step: Step, length: int) -> torch.Tensor:
    """Opening by a line of `length` px in the direction of a step (dotted where a step is longer than a pixel).

    Beyond the border is its nearest pixel. Gradients flow to the pixels that decide.
    """
    down, right = step
    points = (length - 1) // max(abs(down), abs(right)) + 1
    eroded = _extreme(y_B1HW, torch.minimum, step, points)
    return _extreme(eroded, torch.maximum, (-down, -right), points)


def _extreme(y_B1HW: torch.Tensor, choose: Callable[..., torch.Tensor], step: Step, points: int) -> torch.Tensor:
    """Of so many points from each pixel on; two spans of n points make one of up to 2 n."""
    down, right = step
    span = 1
    while span < points:
        more = min(span, points - span)
        y_B1HW = choose(y_B1HW, _shifted(y_B1HW, more * down, more * right))
        span += more
    return y_B1HW


def _shifted(y_B1HW: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """The pixel so far down and right; beyond the border its nearest one."""
    height, width = y_B1HW.shape[-2:]
    padding = (max(0, -right), max(0, right), max(0, -down), max(0, down))
    padded = torch.nn.functional.pad(y_B1HW, padding, mode="replicate")
    return padded[..., max(0, down) : max(0, down) + height, max(0, right) : max(0, right) + width]
