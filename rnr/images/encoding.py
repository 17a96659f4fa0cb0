"""Samples to the bytes of a picture file.

Pillow writes what has 8 bits. 16 bits, and TIFF of any depth, are written by the small encoders here, so that ICC
profile, EXIF and alpha survive: Pillow cuts 16-bit colour to 8 bits and cannot put EXIF into a compressed TIFF.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnr.images.codecs import descriptive_tags
from rnr.images.metadata import Extras

if TYPE_CHECKING:
    from PIL import Image

    from rnr.images.codecs import Samples

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},  # lossy WebP always halves the colour resolution
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}


def encode(
    samples_HWC: Samples,
    format: str,
    metadata: dict[str, bytes],
    extras: Extras | None = None,
    more: Mapping[str, Any] | None = None,
) -> bytes:
    """Samples to a file's bytes; `metadata` may hold icc_profile and exif, `more` Pillow's other options."""
    extras = extras or Extras()
    if format == "TIFF":
        return _tiff(samples_HWC, extras.tags(), **metadata)
    if samples_HWC.dtype.itemsize == 2:
        return _png_16(samples_HWC, extras.chunks(), **metadata)
    buffer = io.BytesIO()
    options = {**_SAVE_OPTIONS.get(format, {}), **metadata, **extras.options(format), **(more or {})}
    pillow_of(samples_HWC).save(buffer, format, **options)
    return buffer.getvalue()


def pillow_of(samples_HWC: Samples) -> Image.Image:
    """8-bit samples as a Pillow image."""
    from PIL import Image

    return Image.fromarray(samples_HWC[..., 0] if samples_HWC.shape[2] == 1 else samples_HWC)


def _png_16(
    samples_HWC: Samples, more: list[tuple[bytes, bytes]], icc_profile: bytes = b"", exif: bytes = b""
) -> bytes:
    """W3C PNG, third edition; every row with filter 2 ("up")."""
    import numpy as np

    height, width, channels = samples_HWC.shape
    rows = samples_HWC.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    scanlines = np.hstack([np.full((height, 1), 2, np.uint8), filtered])
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))]
    if icc_profile:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(icc_profile)))
    if exif:
        chunks.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    chunks += [*more, (b"IDAT", zlib.compress(scanlines.tobytes(), 4)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _tiff(samples_HWC: Samples, more: dict[int, Any], icc_profile: bytes = b"", exif: bytes = b"") -> bytes:
    """TIFF 6.0: one strip, deflate, differencing. 16-bit grey + alpha goes as RGBA: Pillow cannot read the former."""
    import numpy as np
    from PIL import Image, TiffImagePlugin

    bits, channels = 8 * samples_HWC.dtype.itemsize, samples_HWC.shape[2]
    samples = samples_HWC[..., [0, 0, 0, 1]] if (bits, channels) == (16, 2) else samples_HWC
    height, width, channels = samples.shape
    difference = np.diff(samples, axis=1, prepend=np.zeros_like(samples[:, :1]))
    strip = zlib.compress(difference.astype(f"<u{bits // 8}").tobytes(), 4)
    described = Image.Exif()
    described.load(exif)
    table = TiffImagePlugin.ImageFileDirectory_v2()
    table.update(descriptive_tags(described))
    table.update(more)
    for tag in {700, 33723} & set(more):
        table.tagtype[tag] = 7 if tag == 33723 else 1  # undefined, byte
    # width, height, bits, deflate, RGB or black-is-zero, strip offset (Pillow adds the table's end), samples per pixel,
    # rows per strip, strip length, interleaved, differencing
    table.update({256: width, 257: height, 258: (bits,) * channels, 259: 8, 262: 2 if channels > 2 else 1, 273: 0})
    table.update({277: channels, 278: height, 279: len(strip), 284: 1, 317: 2})
    if channels in (2, 4):
        table[338] = 2  # straight alpha
    if icc_profile:
        table[34675] = icc_profile
    buffer = io.BytesIO()
    table.save(buffer)
    return buffer.getvalue() + strip
