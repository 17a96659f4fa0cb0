"""The discrete cosine transform as a matrix."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")


@cache
def dct_matrix(side: int) -> torch.Tensor:
    """The orthonormal DCT-II (side, side), one frequency a row; its transpose is its inverse. Not to be written to."""
    at = torch.arange(side, dtype=torch.float32)
    matrix = torch.cos(math.pi / side * at[:, None] * (at + 0.5)) * math.sqrt(2 / side)
    matrix[0] /= math.sqrt(2)
    return matrix
