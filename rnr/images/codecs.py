"""What lies between a picture file and its samples: decoding, orientation, EXIF.

Pillow reads everything but one thing: 16-bit colour it silently cuts to 8 bits. Those files are read with OpenCV.
`rnr.images.files` is the front of this module; here nothing knows file names.

Shapes: H rows, W columns, C samples per pixel (1 grey, 2 grey + alpha, 3 RGB, 4 RGBA).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from rnr.degradation._lazy import install
from rnr.degradation.errors import Error
from rnr.images.metadata import extras_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Samples = NDArray[np.uint8] | NDArray[np.uint16]

PILLOW_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
EXTRAS = {"HEIF": "pi_heif", "JXL": "pylibjxl"}  # packages that read a format, of the extras `heif` and `jxl`
GREY_MODES = {"1", "L", "LA", "La", "I;16", "LA;16"}
EIGHT_BIT_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
DEEP_MODES = {"I;16", "LA;16", "RGB;16", "RGBA;16", "RGBX;16"}
_KNOWN = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"WEBP": "WebP"}
_KNOWN |= {b"GIF8": "GIF"}
_FOREIGN = {b"<svg": "SVG", b"%PDF": "PDF", b"8BPS": "PSD"}
_NEEDY = {b"ftyp": ("HEIC", "HEIF"), b"JXL ": ("JPEG XL", "JXL"), b"\xff\x0a": ("JPEG XL", "JXL")}
_ORIENTATION, _EXIF_TABLE, _GPS_TABLE = 0x0112, 0x8769, 0x8825
# TIFF keeps its layout (strips, bits, ...) in the same table as its EXIF; only these describe the picture itself:
# description, make, model, resolution, software, date, artist, host, copyright and the two tables.
_DESCRIPTIVE = {0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298}
_DESCRIPTIVE |= {_EXIF_TABLE, _GPS_TABLE}
_REMARKS = {
    "P": "palette picture, written as RGB",
    "PA": "palette picture, written as RGB",
    "1": "1-bit picture, written as 8-bit grey",
    "CMYK": "CMYK converted to sRGB",
}
_lock = threading.Lock()


class Refused(Error):
    """What is wrong with a picture and what to do about it; the caller knows which file it is."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem, self.remedy = problem, remedy


class TooLarge(Refused):
    """More pixels than are allowed; said before any is decoded."""


@contextlib.contextmanager
def decoding(head: bytes = b"") -> Iterator[None]:
    """Pillow with its global switches where we need them (our own size limit, cut files are not filled with grey),
    and whatever it throws at a bad file (there is no closed list) as Refused. `head`: the first bytes of the file."""
    from PIL import Image, ImageFile, UnidentifiedImageError

    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            yield
        except Refused:
            raise
        except MemoryError as error:
            raise Refused("not enough memory to open it", "close other programs or make it smaller") from error
        except UnidentifiedImageError as error:
            raise _unidentified(head) from error
        except Exception as error:
            raise Refused(f"damaged or cut short ({error})", "copy it again from its source") from error
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _unidentified(head: bytes) -> Refused:
    for magic, kind in _KNOWN.items():
        if magic in head[:16]:
            return Refused(f"damaged, or a rare kind of {kind}", "open it in an editor and save it as PNG")
    for magic, (kind, format) in _NEEDY.items():
        if magic in head[:12]:
            if not reads(format):
                return Refused(f"{kind} needs a package more", install(format.lower()))
            return Refused(f"damaged, or a rare kind of {kind}", "open it in an editor and save it as PNG")
    for magic, kind in _FOREIGN.items():
        if magic in head:
            return Refused(f"{kind} is not supported", "convert it to PNG, TIFF or JPEG first")
    return Refused("not a picture of a known format", "leave it out, or convert it to PNG, TIFF or JPEG first")


def reads(format: str) -> bool:
    """Whether the extra that a format needs is installed."""
    return format not in EXTRAS or importlib.util.find_spec(EXTRAS[format]) is not None


def formats_for(suffix: str) -> tuple[str, ...]:
    """What Pillow may try; TGA, which has no magic number, only for files that are named so."""
    more: tuple[str, ...] = ("TGA",) if suffix == ".tga" else ()
    found = tuple(format for format in EXTRAS if reads(format))
    for format in found:
        package = importlib.import_module(EXTRAS[format])
        package.register_heif_opener() if format == "HEIF" else package.register_pillow()
    return PILLOW_FORMATS + more + found


def decode(
    image: Image.Image, file: BinaryIO | None, max_megapixels: float, number: int | None = None
) -> dict[str, Any]:
    """An opened Pillow image (and its file, for 16-bit colour) to the fields of a Picture.

    `number`: the page or frame that Pillow stands at, where all are read; None: the first alone, which is said.
    """
    _check_size(image.width, image.height, max_megapixels)
    deep = deep_mode(image)  # known only before loading
    note = _frames_remark(image) if number is None else []
    if deep is None and bits_of(image, file) > 8:
        note.append(f"{bits_of(image, file)}-bit {image.format} is read with 8 bits")
    image.load()  # raises if the file is cut short, which OpenCV would not
    mode = deep or image.mode
    if mode not in EIGHT_BIT_MODES | DEEP_MODES:
        raise Refused(f"pixels of kind {mode} are not supported", "save it with 8 or 16 bits per channel")
    if deep == "I;16":
        pixels, alpha = _grey_16(image)
    elif deep and file:
        pixels, alpha = _colour_16(image, file, number or 0)
    else:
        pixels, alpha = _eight_bits(image)
        if deep:
            note.append("PIL has cut this 16-bit picture to 8 bits: pass its path to keep them")
            mode = image.mode
    if mode in _REMARKS:
        note.append(_REMARKS[mode])
    orientation, exif = _exif_of(image, note)
    return {
        "pixels_HWC3": _upright(pixels, orientation),
        "alpha_HW": None if alpha is None else _upright(alpha, orientation),
        "icc_profile": None if mode == "CMYK" else image.info.get("icc_profile") or None,
        "exif": exif,
        "format": "JPEG" if image.format == "MPO" else image.format or "PNG",
        "mode": mode,
        "note": note,
        "extras": extras_of(image).turned(orientation),
    }


def check_canvas(head: bytes, max_megapixels: float) -> None:
    """Refuse a WebP by its first bytes: Pillow takes the memory of its whole canvas when it opens one (RFC 9649)."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return
    wide, high = (1 + int.from_bytes(head[start : start + 3], "little") for start in (24, 27))
    if head[12:16] == b"VP8 ":
        wide, high = (int.from_bytes(head[start : start + 2], "little") & 0x3FFF for start in (26, 28))
    elif head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        wide, high = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    _check_size(wide, high, max_megapixels)


def _check_size(width: int, height: int, max_megapixels: float) -> None:
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        size = f"{width} x {height} = {megapixels:.1f} megapixels"
        remedy = f"make it smaller, or allow it with --max-megapixels {int(megapixels) + 1}"
        raise TooLarge(f"{size}, more than the {max_megapixels:g} allowed", remedy)


def deep_mode(image: Image.Image) -> str | None:
    """'RGB;16' and the like if the file holds 16 bits per sample; refuses the TIFF layouts that would be misread."""
    tags = getattr(image, "tag_v2", {})
    bits = set(tags.get(258, ()))
    if not bits <= {1, 2, 4, 8, 16} or len(bits) > 1 or (16 in bits and (tags.get(284) == 2 or 1 in tags.get(338, ()))):
        raise Refused("a rare layout of TIFF", "save it as interleaved 8- or 16-bit with straight alpha")
    if image.mode.startswith("I;16"):
        return "I;16"
    if 16 in bits and image.mode != "I":  # I: signed
        return f"{image.mode};16"
    tiles = getattr(image, "tile", ())
    if image.format == "PPM":
        return "I;16" if image.mode == "I" else "RGB;16" if tiles and tiles[0].args == ("RGB", 65535) else None
    rawmode = tiles[0].args if image.format == "PNG" and tiles else ""
    return str(rawmode)[:-1] if str(rawmode).endswith(";16B") else None


def bits_of(image: Image.Image, file: BinaryIO | None) -> int:
    """Bits per sample of the formats that Pillow cuts to 8 without a word; 8 where it does not, or cannot be known."""
    if image.format in EXTRAS:
        return int(image.info.get("bit_depth" if image.format == "HEIF" else "bits_per_sample", 8))
    tiles = getattr(image, "tile", ())
    if image.format == "PPM" and tiles and isinstance(tiles[0].args, tuple) and len(tiles[0].args) > 1:
        most = tiles[0].args[1]
        return most.bit_length() if isinstance(most, int) else 8
    if image.format not in ("AVIF", "JPEG2000") or file is None:
        return 8
    at = file.tell()
    file.seek(0)
    head = file.read(1 << 16)
    file.seek(at)
    if image.format == "AVIF":  # AV1 ISO media format 2.3.3: the flags high_bitdepth and twelve_bit
        flags = head[head.find(b"av1C") + 6] if b"av1C" in head[:-6] else 0
        return 8 + 2 * bool(flags & 0x40) + 2 * bool(flags & 0x20)
    start = head.find(b"\xff\x4f\xff\x51")  # ISO 15444-1 A.5.1: the marker SIZ, whose byte 40 is the depth
    return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 8


def _frames_remark(image: Image.Image) -> list[str]:
    if not getattr(image, "is_animated", False):
        return []
    several = {"TIFF": "several pages: only the first", "MPO": "several pictures in one file: only the first"}
    several["HEIF"] = several["MPO"]
    return [several.get(image.format or "", "animated: only the first frame") + " is used"]


def _eight_bits(image: Image.Image) -> tuple[Samples, Samples | None]:
    import numpy as np

    if image.mode == "CMYK":
        return np.array(_cmyk_to_srgb(image)), None
    if not image.has_transparency_data:
        return np.array(image.convert("RGB")), None
    rgba = np.array(image.convert("RGBA"))
    return np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])


def _cmyk_to_srgb(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    with contextlib.suppress(KeyError, OSError, ValueError, ImageCms.PyCMSError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        if converted is not None:
            return converted
    return image.convert("RGB")  # no usable profile: the textbook formula


def _grey_16(image: Image.Image) -> tuple[Samples, Samples | None]:
    """The one 16-bit kind that Pillow keeps."""
    import numpy as np

    grey = np.asarray(image).astype(np.uint16)
    clear = image.info.get("transparency")
    alpha = None if clear is None else np.where(grey == clear, 0, 65535).astype(np.uint16)
    if getattr(image, "tag_v2", {}).get(262) == 0:  # TIFF's WhiteIsZero, which Pillow heeds at 8 bits only
        grey = 65535 - grey
    return np.repeat(grey[..., None], 3, axis=2), alpha


def _colour_16(image: Image.Image, file: BinaryIO, number: int) -> tuple[Samples, Samples | None]:
    import cv2
    import numpy as np

    file.seek(0)
    level = cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # it prints each TIFF tag it does not know
    data = np.frombuffer(_still(file.read()) if image.format == "PNG" else file.read(), np.uint8)
    bgr: Any = None
    if number:
        bgr = next(iter(cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED, range=(number, number + 1))[1] or ()), None)
    else:
        bgr = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    cv2.utils.logging.setLogLevel(level)
    if bgr is None or bgr.dtype != np.uint16 or bgr.shape[:2] != (image.height, image.width):
        raise Refused(f"a rare kind of 16-bit {image.format}", "save it as plain 16-bit RGB")
    transparent = image.has_transparency_data and bgr.shape[2] == 4
    alpha = np.ascontiguousarray(bgr[..., 3], np.uint16) if transparent else None
    return np.ascontiguousarray(bgr[..., 2::-1], np.uint16), alpha


def _still(data: bytes) -> bytes:
    """A PNG without its animation, of which OpenCV would draw the frames."""
    parts, at = [data[:8]], 8
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        parts += [] if data[at + 4 : at + 8] in (b"acTL", b"fcTL", b"fdAT") else [data[at:end]]
        at = end
    return b"".join(parts)


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undoes EXIF orientation 2-8 (EXIF 2.32, tag 0x0112) on HW or HWC; any other value means upright."""
    import numpy as np

    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(array[::rows, ::columns])


def _exif_of(image: Image.Image, note: list[str]) -> tuple[int, bytes | None]:
    """(orientation still to be undone, EXIF without it). Untouched bytes where possible: maker notes are fragile."""
    from PIL import Image as pillow

    orientation, raw = 1, image.info.get("exif")
    try:
        exif = image.getexif()  # asks XMP for the orientation as well
        orientation = int(exif.get(_ORIENTATION, 1))
        pillow.Exif().load(raw or b"")  # raises if damaged, which getexif may have swallowed on opening
        if image.format == "TIFF":  # Pillow and OpenCV have turned it upright by themselves
            return 1, _described(exif)
        upright = image.format == "JXL"  # by its decoder (ISO 18181-2, 9.3: EXIF does not count)
        if orientation != 1 or (raw is None and len(exif)):
            copy = pillow.Exif()  # the image is the caller's: its tag must stay
            copy.load(exif.tobytes())
            copy[_ORIENTATION] = 1
            raw = copy.tobytes()
            orientation = 1 if upright else orientation
    except Exception:  # Pillow's parser has no closed list of errors for damaged EXIF
        note.append("its EXIF is damaged and left out")
        raw = None
    if orientation in range(2, 9):
        note.append(f"turned upright by its orientation tag ({orientation})")
    return orientation, b"Exif\0\0" + raw.removeprefix(b"Exif\0\0") if raw else None


def _described(exif: Image.Exif) -> bytes | None:
    from PIL import Image

    described = Image.Exif()
    for tag, value in descriptive_tags(exif):
        described[tag] = value
    return described.tobytes() if len(described) else None


def descriptive_tags(exif: Image.Exif) -> list[tuple[int, Any]]:
    tables = (_EXIF_TABLE, _GPS_TABLE)
    return [(tag, exif.get_ifd(tag) if tag in tables else exif[tag]) for tag in sorted(_DESCRIPTIVE & set(exif))]
