"""Small copies of pictures for the report, as data URIs: the whole picture, and a detail at full size."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rnr.images.files import Picture

DETAIL = (720, 480)  # px, width and height of the detail
LOSSLESS = 256 * 256  # pixels up to which a preview is a PNG
THUMBNAIL = 240
SMALL = 480  # px up to which a picture is shown enlarged


@dataclass(frozen=True)
class Pair:
    """The same view before and after."""

    before: str
    after: str
    width: int
    height: int

    @property
    def enlarged(self) -> bool:
        """Small pictures are shown larger, pixel by pixel."""
        return self.shown > self.width

    @property
    def shown(self) -> int:
        """Widest display, px."""
        return self.width * max(1, SMALL // max(self.width, self.height))


@dataclass(frozen=True)
class Previews:
    whole: Pair
    detail: Pair | None  # where the whole had to be made smaller: the region that changed most, pixel for pixel
    thumbnail: str  # of the result


def limit_for(pictures: int) -> int:
    """The longer side of a preview, px: one file has to hold them all."""
    return 1400 if pictures <= 30 else 900 if pictures <= 150 else 480


def previews(picture: Picture, after_HWC3: NDArray[Any] | None, limit: int) -> Previews:
    """`after_HWC3` has the shape of the picture, in uint8, uint16 or float in [0, 1]; None means unchanged."""
    before = _fit(picture.pixels_HWC3, limit)
    after = before if after_HWC3 is None else _fit(after_HWC3, limit)
    alpha = None if picture.alpha_HW is None else _fit(picture.alpha_HW, limit)
    profile = _profile(picture)
    whole = _pair(before, after, alpha, profile)
    small = [_fit(part, THUMBNAIL) for part in (after, alpha) if part is not None]
    thumb = data_uri(small[0], small[1] if len(small) > 1 else None, profile)
    shrunk = before.shape[:2] != picture.pixels_HWC3.shape[:2]
    if not shrunk or after_HWC3 is None:
        return Previews(whole, None, thumb)
    window = _most_changed(before, after, picture.pixels_HWC3.shape)
    detail = _pair(_bytes(picture.pixels_HWC3[window]), _bytes(after_HWC3[window]), None, profile)
    return Previews(whole, detail, thumb)


def thumbnail(pixels_HWC3: NDArray[Any], limit: int) -> str:
    """The whole picture, its longer side at most `limit` px, as a data URI."""
    return data_uri(_fit(pixels_HWC3, limit), None, None)


def _pair(before: NDArray[Any], after: NDArray[Any], alpha: NDArray[Any] | None, profile: bytes | None) -> Pair:
    height, width = before.shape[:2]
    first = data_uri(before, alpha, profile)
    return Pair(first, first if after is before else data_uri(after, alpha, profile), width, height)


def _bytes(samples: NDArray[Any]) -> NDArray[np.uint8]:
    if samples.dtype == np.uint8:
        return samples
    scale = np.float32(255 / 65535 if samples.dtype == np.uint16 else 255)
    return np.rint(samples.clip(0, None) * scale).clip(0, 255).astype(np.uint8)


def _fit(samples: NDArray[Any], limit: int) -> NDArray[np.uint8]:
    """Smaller by area averaging, at the depth it has; then 8 bits."""
    height, width = samples.shape[:2]
    scale = limit / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        samples = cv2.resize(samples, size, interpolation=cv2.INTER_AREA)
    return _bytes(np.asarray(samples))


def _most_changed(before: NDArray[np.uint8], after: NDArray[np.uint8], full: tuple[int, ...]) -> tuple[slice, slice]:
    """The window of the full picture, DETAIL in size, with the largest mean change."""
    scale = full[0] / before.shape[0], full[1] / before.shape[1]
    change = cv2.absdiff(before, after).sum(2, dtype=np.float32)
    size = min(DETAIL[0], full[1]), min(DETAIL[1], full[0])
    window = max(1, round(size[0] / scale[1])), max(1, round(size[1] / scale[0]))
    mean = cv2.boxFilter(change, -1, window, borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(int(mean.argmax()), mean.shape)
    top = int(np.clip((row + 0.5) * scale[0] - size[1] / 2, 0, full[0] - size[1]))
    left = int(np.clip((column + 0.5) * scale[1] - size[0] / 2, 0, full[1] - size[0]))
    return slice(top, top + size[1]), slice(left, left + size[0])


def _profile(picture: Picture) -> bytes | None:
    """The colour profile, if it speaks of the RGB that the preview holds."""
    profile = picture.icc_profile
    return profile if profile and profile[16:20] == b"RGB " else None


def data_uri(pixels_HWC3: NDArray[np.uint8], alpha_HW: NDArray[np.uint8] | None, profile: bytes | None) -> str:
    """PNG for small and transparent pictures, otherwise JPEG of a quality that adds nothing one could see."""
    samples = pixels_HWC3 if alpha_HW is None else np.dstack([pixels_HWC3, alpha_HW])
    image, buffer = Image.fromarray(np.ascontiguousarray(samples)), io.BytesIO()
    options: dict[str, Any] = {"icc_profile": profile} if profile else {}
    if alpha_HW is not None or image.width * image.height <= LOSSLESS:
        image.save(buffer, "PNG", **options)
        kind = "png"
    else:
        image.save(buffer, "JPEG", quality=90, subsampling=0, **options)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
