"""Files that hold several pictures: the pages of a TIFF, the pictures of an MPO, the frames of an animation.

A PNG (APNG) takes the frames of a GIF, whose 256 colours would not do. Where a format cannot hold what a file has, the
first picture alone is read, and `Picture.note` says so.
Sources: TIFF 6.0, CIPA DC-007 (MPO), PNG third edition (animation).
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from rnr.images import codecs
from rnr.images.encoding import pillow_of
from rnr.images.files import (
    MAX_MEGAPIXELS,
    Picture,
    encoded,
    misnamed,
    open_file,
    opened,
    put,
    refuse_existing,
    samples_for,
    written_format,
)
from rnr.images.metadata import jpeg_without_gps

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from rnr.images.files import FilePath

Which = Literal["all", "first"]
ANIMATED = {"GIF", "PNG", "WEBP", "AVIF"}
SEVERAL = ANIMATED | {"TIFF", "MPO"}
LEAST = 0.01  # megapixels that each frame counts for at least: a choice, it bounds the number of tiny ones
_REDUCED, _MASK = 1, 4  # bits of the TIFF tag NewSubfileType, 254


@dataclass
class Frames:
    """The pictures of one file, which share their notes.

    Attributes:
        pictures: At least one.
        animated: Whether they are shown one after the other; otherwise they are pages.
        durations: Milliseconds of each, of an animation.
        plays: How often an animation is shown; 0: for ever.
        still: Whether the first one is not part of the animation (a PNG's image for programs that know no animation).
    """

    pictures: list[Picture]
    animated: bool = False
    durations: Sequence[float] = ()
    plays: int = 0
    still: bool = False

    @property
    def first(self) -> Picture:
        return self.pictures[0]

    def words(self, number: int) -> str:
        """`page 2 of 3`, or `frame 2 of 3`, from 1; empty where there is only one."""
        several = len(self.pictures) > 1
        return f"{'frame' if self.animated else 'page'} {number} of {len(self.pictures)}" if several else ""

    def without_gps(self) -> Frames:
        return replace(self, pictures=[picture.without_gps() for picture in self.pictures])

    def showing(self, pixels: Sequence[NDArray[Any]]) -> Frames:
        """With other pixels, at the depth of each picture."""
        pairs = zip(self.pictures, pixels, strict=True)
        return replace(self, pictures=[replace(picture, pixels_HWC3=each) for picture, each in pairs])


def read_frames(path: FilePath, max_megapixels: float = MAX_MEGAPIXELS, which: Which = "all") -> Frames:
    """The pictures of a file.

    Args:
        path: The file.
        max_megapixels: Of all of them together.
        which: `first` reads one.

    Raises:
        PictureError: As `read_picture`; also where a later picture is damaged, which it names.
    """
    with open_file(path) as file, opened(file, path, max_megapixels) as image:
        frames = _read(image, file, max_megapixels, which)
    frames.first.note += misnamed(path, frames.first.format)
    return frames


def _read(image: Image.Image, file: BinaryIO, most: float, which: Which) -> Frames:
    if which == "first" or not _holds(image):
        return Frames([Picture(**codecs.decode(image, file, most))])
    plays, still = _plays(image), bool(image.info.get("default_image"))
    pictures, durations = [], []
    for number in _numbers(image, most):
        pictures.append(_decoded(image, file, most, number))
        durations.append(float(image.info.get("duration") or 0))
    note = list(dict.fromkeys(remark for picture in pictures for remark in picture.note))
    left = int(getattr(image, "n_frames", 1)) - len(pictures)
    if left:
        note.append(f"smaller copies in the file (previews, gain maps, masks): {left} left out")
    for picture in pictures:
        picture.note = note
    animated = image.format in ANIMATED
    return Frames(pictures, animated and len(pictures) > 1, durations if animated else (), plays, still)


def _holds(image: Image.Image) -> bool:
    """Whether there are several pictures that a result can hold; Pillow knows 8 bits only in the animation of a PNG."""
    deep = image.format == "PNG" and codecs.deep_mode(image) is not None
    return bool(getattr(image, "is_animated", False)) and image.format in SEVERAL and not deep


def _numbers(image: Image.Image, most: float) -> Iterator[int]:
    """The pictures that are no copies of others; Pillow stands at each as it comes. Raises Refused."""
    size, total, count = image.size, 0.0, int(getattr(image, "n_frames", 1))
    for number in range(count):
        with _at(number):
            image.seek(number)
        if _is_copy(image, size):
            continue
        total += max(LEAST, image.width * image.height / 1e6)
        if number and total > most:
            problem = f"its {count} pages or frames have more than the {most:g} megapixels allowed in all"
            raise codecs.TooLarge(problem, "allow more with --max-megapixels, or take one with --frames first")
        yield number


def _is_copy(image: Image.Image, size: tuple[int, int]) -> bool:
    """A reduced copy or a mask among the pages of a TIFF, a preview or gain map in an MPO."""
    if image.format == "TIFF":
        return bool(int(getattr(image, "tag_v2", {}).get(254, 0)) & (_REDUCED | _MASK)) and image.tell() > 0
    return image.format == "MPO" and image.size != size


def _decoded(image: Image.Image, file: BinaryIO, most: float, number: int) -> Picture:
    with _at(number):
        return Picture(**codecs.decode(image, file, most, number))


@contextlib.contextmanager
def _at(number: int) -> Iterator[None]:
    """What goes wrong with a later picture names it."""
    try:
        yield
    except codecs.TooLarge:
        raise
    except Exception as error:  # of Pillow: there is no closed list
        if not number:
            raise
        problem = getattr(error, "problem", f"damaged or cut short ({error})")
        remedy = "copy it again from its source, or take the first with --frames first"
        raise codecs.Refused(f"page or frame {number + 1}: {problem}", remedy) from error


def _plays(image: Image.Image) -> int:
    """How often it is shown. A GIF without the extension is shown once, one with it says how often again."""
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else int(loop) + (loop > 0)
    return int(loop or 0)


def write_frames(frames: Frames, path: FilePath, overwrite: bool = False) -> Path:
    """The pictures of `frames` as one file, each page with all that it carries. Raises PictureError, all or nothing."""
    refuse_existing(path, overwrite)
    return put(Path(path), encoded_frames(frames, path))


def encoded_frames(frames: Frames, name: FilePath) -> bytes:
    """The bytes of the file that `write_frames` would write under this name."""
    if frames.animated:
        return _animation(replace(frames, pictures=_alike(frames.pictures)), name)
    parts = [encoded(picture, picture.as_float(), name) for picture in frames.pictures]
    if len(parts) == 1:
        return parts[0]
    return joined_tiffs(parts) if written_format(name) == "TIFF" else joined_jpegs(parts)


def _animation(frames: Frames, name: FilePath) -> bytes:
    format = written_format(name)
    rest = [pillow_of(samples_for(p, p.as_float(), format, name)) for p in frames.pictures[1:]]
    times = [each if format == "PNG" else round(each) for each in frames.durations[frames.still :]]
    more = {"save_all": True, "append_images": rest, "duration": times}
    more |= {"default_image": True} if frames.still else {}
    more |= {"loop": frames.plays} if format in ("PNG", "WEBP") else {}
    return encoded(frames.first, frames.first.as_float(), name, more)


def _alike(pictures: Sequence[Picture]) -> list[Picture]:
    """Frames of one animation have the same channels; those of a GIF may differ."""
    import numpy as np

    grey, clear = all(p.is_grey for p in pictures), any(p.alpha_HW is not None for p in pictures)
    if not grey:
        pictures = [replace(p, mode="RGB") if p.is_grey else p for p in pictures]
    if not clear:
        return list(pictures)
    full = np.full(pictures[0].pixels_HWC3.shape[:2], 255, np.uint8)
    return [replace(p, alpha_HW=full) if p.alpha_HW is None else p for p in pictures]


def joined_tiffs(pages: Sequence[bytes]) -> bytes:
    """One TIFF of several."""
    from PIL.TiffImagePlugin import AppendingTiffWriter

    buffer = io.BytesIO()
    with AppendingTiffWriter(buffer, True) as writer:
        for page in pages:
            writer.write(page)
            writer.newFrame()
    return buffer.getvalue()


def joined_jpegs(pictures: Sequence[bytes]) -> bytes:
    """An MPO of several JPEGs: the first one's segment APP2 says where the others begin (CIPA DC-007, 5.2)."""
    first = pictures[0]
    place = 2
    while first[place + 1] in range(0xE0, 0xF0):  # behind the other APP segments
        place += 2 + int.from_bytes(first[place + 2 : place + 4], "big")
    entries, count = b"", len(pictures)
    head = struct.pack("<2sHIH", b"II", 42, 8, 3)
    head += struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, count)
    head += struct.pack("<HHIII", 0xB002, 7, 16 * count, len(head) + 12 + 4, 0)
    segment = 2 + 2 + 4 + len(head) + 16 * count
    offset = len(first) + segment - (place + 8)  # counted from the end of "MPF\0"
    for number, picture in enumerate(pictures):
        kind, size = (0x030000, len(first) + segment) if number == 0 else (0, len(picture))
        entries += struct.pack("<IIIHH", kind, size, offset if number else 0, 0, 0)
        offset += size if number else 0
    found = b"\xff\xe2" + struct.pack(">H", segment - 2) + b"MPF\0" + head + entries
    return first[:place] + found + first[place:] + b"".join(pictures[1:])


def copy_picture(source: FilePath, path: FilePath, overwrite: bool = False, strip_gps: bool = False) -> Path:
    """The same bytes at another place, all or nothing: for a picture in which nothing was found.

    `strip_gps`: without its position; of a JPEG the picture's own bytes stay, others that have one are written again.
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    with open_file(source) as file:
        data = file.read()
    if strip_gps and data[:3] == b"\xff\xd8\xff":
        return put(path, jpeg_without_gps(data))
    frames = read_frames(source, float("inf")) if strip_gps else Frames([])
    if not any(picture.has_gps for picture in frames.pictures):
        return put(path, data)
    return put(path, encoded_frames(frames.without_gps(), path))
