"""What a page shows of an explanation: sections with tables and small images."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.evaluation.tables import Table
from rnr.explain.pixels import scaled

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

SHOWN = 256  # px, longer side of a small image


@dataclass
class Section:
    """A part of the page: a table, images with captions (data URIs), or both."""

    title: str
    note: str = ""
    table: Table | None = None
    pictures: list[tuple[str, str]] = field(default_factory=list)

    def show(self, caption: str, pixels_HWC: np.ndarray) -> None:
        """Add an image: float in [0, 1] or uint8."""
        self.pictures.append((caption, uri(pixels_HWC)))

    def show_map(self, caption: str, map_HW: np.ndarray) -> None:
        """Add a map, black at its least and white at its 99th percentile; NaN is black."""
        self.pictures.append((caption, uri(np.repeat(scaled(map_HW)[..., None], 3, 2))))


def uri(pixels_HWC: np.ndarray) -> str:
    """A small PNG of pixels as a data URI."""
    from PIL import Image

    pixels = np.asarray(pixels_HWC)
    if pixels.dtype != np.uint8:
        pixels = (pixels.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    image = Image.fromarray(pixels)
    image.thumbnail((SHOWN, SHOWN))
    data = io.BytesIO()
    image.save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
