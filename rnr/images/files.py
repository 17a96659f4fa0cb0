"""Pictures from people's folders, in and out, without losing what they carry.

A picture keeps its depth, colour profile, EXIF and transparency on the way through; what a format cannot hold is said
in `Picture.note`. Every error is a PictureError that names the file, the problem and the remedy.
Everything heavy is imported inside functions: the command line must answer `--help` at once.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rnr.degradation.errors import Error
from rnr.images import codecs
from rnr.images.encoding import encode
from rnr.images.metadata import Extras, exif_without_gps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    FilePath = str | os.PathLike[str]

SUFFIXES = {".png": "PNG", ".apng": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG"}
SUFFIXES |= {".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP", ".bmp": "BMP", ".dib": "BMP", ".gif": "GIF"}
SUFFIXES |= {".avif": "AVIF", ".jp2": "JPEG2000", ".j2k": "JPEG2000", ".jpf": "JPEG2000", ".jpx": "JPEG2000"}
SUFFIXES |= {".mpo": "JPEG", ".tga": "TGA", ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM"}
SUFFIXES |= {".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JXL"}  # with the extras `heif` and `jxl`
_OWN_SUFFIX = {"JPEG": ".jpg", "TIFF": ".tif", "WEBP": ".webp", "BMP": ".bmp", "AVIF": ".avif", "JPEG2000": ".jp2"}
_OWN_SUFFIX |= {"TGA": ".tga", "PPM": ".ppm", "PNG": ".png"}
WRITTEN = set(_OWN_SUFFIX)  # formats that can hold a result
_OPAQUE = {"JPEG", "BMP", "PPM"}
_NO_PROFILE, _NO_EXIF = {"BMP", "JPEG2000", "TGA", "PPM"}, {"BMP", "JPEG2000", "TGA", "PPM"}
MAX_MEGAPIXELS = 200.0

_RAW = {".dng", ".nef", ".cr2", ".arw", ".orf", ".rw2", ".pef", ".srw"}  # TIFF inside: Pillow would take the thumbnail
_FREE_SPACE = "free some space or choose another output folder"
_OS_PROBLEMS = {
    errno.ENOENT: ("no such file", "check the spelling of the path"),
    errno.EISDIR: ("is a folder, not a picture", "name a file"),
    errno.ENOTDIR: ("part of its path is a file, not a folder", "check the path"),
    errno.EACCES: ("permission denied", "change the permissions or choose another folder"),
    errno.EPERM: ("the system does not permit it", "choose another folder"),
    errno.EROFS: ("the disk is read-only", "choose another output folder"),
    errno.ENOSPC: ("the disk is full, nothing was written", _FREE_SPACE),
    errno.EDQUOT: ("the disk quota is used up, nothing was written", _FREE_SPACE),
    errno.EFBIG: ("larger than files may be here, nothing was written", "choose another output folder"),
}


class PictureError(Error):
    """A picture that cannot be read or written: which file, what is wrong, what to do.

    Attributes:
        file: The path, as it was given.
        problem: What is wrong.
        remedy: What to do.

    Example:
        >>> print(PictureError("a.jpg", "cut off after 200 bytes", "copy it again"))
        a.jpg: cut off after 200 bytes; copy it again
    """

    def __init__(self, file: FilePath, problem: str, remedy: str) -> None:
        super().__init__(os.fspath(file), problem, remedy)  # all three, so that it pickles
        self.file, self.problem, self.remedy = os.fspath(file), problem, remedy

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}; {self.remedy}"


class SkippedFile(PictureError):
    """A file in a folder that was not read, by its kind."""


@dataclass(eq=False)
class Picture:
    """Pixels in RGB, upright, at the depth of the file, with all that must survive the way back to a file.

    Attributes:
        pixels_HWC3: uint8 or uint16; a grey picture has three equal channels.
        alpha_HW: Of the same type, or None.
        icc_profile: The colour profile, which the pixels are in.
        exif: Begins with Exif and two zero bytes; its orientation, if any, is 1.
        format: By content: PNG, JPEG, TIFF, WEBP, BMP, GIF, AVIF, JPEG2000, TGA, PPM, HEIF, JXL.
        mode: As stored: 1, L, LA, P, RGB, RGBA, CMYK, I;16, LA;16, RGB;16, RGBA;16.
        note: Remarks for a person.
        extras: XMP, comments, resolution, IPTC and the like.

    Example:
        >>> import numpy as np
        >>> picture = Picture(np.zeros((2, 3, 3), np.uint16))
        >>> picture.size, picture.bit_depth
        ((3, 2), 16)
    """

    pixels_HWC3: NDArray[Any]  # uint8 or uint16; a grey picture has three equal channels
    alpha_HW: NDArray[Any] | None = None  # same dtype
    icc_profile: bytes | None = None
    exif: bytes | None = None  # begins with b"Exif\0\0"; its orientation, if any, is 1
    format: str = "PNG"  # by content: PNG, JPEG, TIFF, WEBP, BMP, GIF, AVIF, JPEG2000, TGA, PPM, HEIF, JXL
    mode: str = "RGB"  # as stored: 1, L, LA, P, RGB, RGBA, CMYK, I;16, LA;16, RGB;16, RGBA;16
    note: list[str] = field(default_factory=list)  # remarks for a person
    extras: Extras = field(default_factory=Extras)

    @property
    def bit_depth(self) -> int:
        return 8 * int(self.pixels_HWC3.dtype.itemsize)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), as in PIL."""
        return int(self.pixels_HWC3.shape[1]), int(self.pixels_HWC3.shape[0])

    @property
    def is_grey(self) -> bool:
        return self.mode in codecs.GREY_MODES

    @property
    def suffix(self) -> str:
        """The suffix to write it with so that nothing is lost: its own format's, or .png where that cannot hold it."""
        return _OWN_SUFFIX[self.format] if self.writable else ".png"

    @property
    def copied_suffix(self) -> str:
        """The suffix of an exact copy of its file."""
        return {"GIF": ".gif", "HEIF": ".heic", "JXL": ".jxl"}.get(self.format) or _OWN_SUFFIX[self.format]

    @property
    def writable(self) -> bool:
        """Whether its own format can hold the result at its depth."""
        return self.format in WRITTEN and (self.bit_depth == 8 or self.format not in ("JPEG2000", "PPM"))

    @property
    def has_gps(self) -> bool:
        bare = self.without_gps()
        return (bare.exif, bare.extras) != (self.exif, self.extras)

    def without_gps(self) -> Picture:
        """The same picture without its position in EXIF and XMP."""
        return replace(self, exif=exif_without_gps(self.exif), extras=self.extras.without_gps())

    def rounded(self, pixels_float_HWC3: NDArray[Any]) -> NDArray[Any]:
        """Pixels in [0, 1] at the depth of this picture, uint8 or uint16."""
        import numpy as np

        top = np.float32(2**self.bit_depth - 1)
        return np.rint(pixels_float_HWC3.clip(0, 1) * top).astype(self.pixels_HWC3.dtype)

    def as_float(self) -> NDArray[np.float32]:
        """float32 HWC3 in [0, 1]; `write_picture` turns it back into exactly these pixels."""
        import numpy as np

        pixels: NDArray[np.float32] = self.pixels_HWC3.astype(np.float32)
        pixels /= 2**self.bit_depth - 1
        return pixels


def find_pictures(
    arguments: Iterable[str], recursive: bool = False, skipped: list[Path] | None = None
) -> tuple[list[Path], list[PictureError]]:
    """Files, folders (their pictures, sorted, hidden ones skipped) and globs to paths, each once, and what failed.

    A file named outright is taken whatever its suffix; `read_picture` judges it by content. `skipped` gets the files of
    folders and globs that are not read.
    """
    passed: dict[Path, None] = {}
    found: dict[Path, None] = {}
    errors: list[PictureError] = []
    for argument in arguments:
        try:
            found.update(dict.fromkeys(_expand(argument, recursive, errors, passed)))
        except PictureError as error:
            errors.append(error)
        except (OSError, ValueError) as error:
            errors.append(os_problem(argument, error))
    if skipped is not None:
        skipped += [path for path in passed if path not in found]
    return list(found), errors


def _expand(argument: str, recursive: bool, errors: list[PictureError], passed: dict[Path, None]) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        inside = _walk(path, errors) if recursive else path.iterdir()
    elif os.path.lexists(path):  # before globs: a file may be called "a[1].png"
        return [path]
    elif glob.has_magic(argument):
        inside = map(Path, glob.iglob(argument, recursive=True))
    else:
        raise PictureError(argument, *_OS_PROBLEMS[errno.ENOENT])
    files = sorted(path for path in inside if not path.name.startswith(".") and path.is_file())
    readable = {suffix for suffix, format in SUFFIXES.items() if codecs.reads(format)}
    pictures = [path for path in files if path.suffix.lower() in readable]
    passed |= dict.fromkeys(path for path in files if path.suffix.lower() not in readable)
    if not pictures:
        raise PictureError(argument, "no pictures here", f"it should hold or match files with {' '.join(SUFFIXES)}")
    return pictures


def _walk(folder: Path, errors: list[PictureError]) -> Iterator[Path]:
    for root, folders, files in os.walk(folder, onerror=lambda e: errors.append(os_problem(e.filename, e))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root) / name for name in files)


def read_stream_of(source: Any, max_megapixels: float) -> Picture:
    """Bytes, or a file object that gives bytes."""
    if isinstance(source, bytes | bytearray | memoryview):
        return read_stream(io.BytesIO(source), "the bytes", max_megapixels)
    data, name = source.read(), getattr(source, "name", "")
    if not isinstance(data, bytes):
        raise TypeError("a file object is opened for bytes: open(path, 'rb')")
    return read_stream(io.BytesIO(data), name if isinstance(name, str) and name else "the file", max_megapixels)


def read_picture(path: FilePath, max_megapixels: float = MAX_MEGAPIXELS) -> Picture:
    """The first frame of a picture file, upright and at its own depth. Raises PictureError for all that goes wrong."""
    with open_file(path) as file:
        return read_stream(file, path, max_megapixels)


def read_stream(file: BinaryIO, name: FilePath, max_megapixels: float = MAX_MEGAPIXELS) -> Picture:
    """`read_picture` of bytes that are at hand. The name is for messages and its suffix: nothing is opened by it."""
    with opened(file, name, max_megapixels) as image:
        picture = Picture(**codecs.decode(image, file, max_megapixels))
    picture.note += misnamed(name, picture.format)
    return picture


@contextlib.contextmanager
def opened(file: BinaryIO, name: FilePath, max_megapixels: float) -> Iterator[Image.Image]:
    """A file as Pillow opens it, nothing decoded yet; what goes wrong with it then is a PictureError, too."""
    from PIL import Image

    suffix = Path(name).suffix.lower()
    if suffix in _RAW:
        raise PictureError(name, "camera raw files are not supported", "convert it to a 16-bit TIFF or PNG first")
    with naming(name):
        head = file.read(512)
        if not head:
            raise PictureError(name, "the file is empty", "copy it again from its source")
        file.seek(0)
        with codecs.decoding(head):
            codecs.check_canvas(head, max_megapixels)
            with Image.open(file, formats=codecs.formats_for(suffix)) as image:
                yield image


def misnamed(name: FilePath, format: str) -> list[str]:
    """A remark where the suffix speaks of another format."""
    suffix = Path(name).suffix.lower()
    return [] if SUFFIXES.get(suffix, format) == format else [f"named {suffix} but is a {format} picture"]


def open_file(path: FilePath) -> BinaryIO:
    """For reading. Raises PictureError, also for what is no regular file."""
    path = Path(path)
    try:
        if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
            # a pipe would block for ever
            raise PictureError(path, "is not a regular file", "save the picture to a file first")
        return path.open("rb")
    except (OSError, ValueError) as error:
        raise os_problem(path, error) from error


def os_problem(path: FilePath, error: Exception) -> PictureError:
    unknown = (f"the system says: {getattr(error, 'strerror', None) or error}", "check the file and its folder")
    number = error.errno if isinstance(error, OSError) else None
    return PictureError(path, *_OS_PROBLEMS.get(number or 0, unknown))


@contextlib.contextmanager
def naming(name: FilePath) -> Iterator[None]:
    """What is refused inside, as PictureError that names the file."""
    try:
        yield
    except codecs.Refused as error:
        raise PictureError(name, error.problem, error.remedy) from error


def write_picture(picture: Picture, pixels_float_HWC3: NDArray[Any], path: FilePath, overwrite: bool = False) -> Path:
    """Writes new pixels (in [0, 1], shape of `picture`) in the format of the suffix, with all that `picture` carries.

    Depth, grey and alpha stay as they were. What the format cannot hold is said in `picture.note`.
    Raises PictureError, and leaves nothing behind, if it fails.
    """
    refuse_existing(path, overwrite)
    return put(Path(path), encoded(picture, pixels_float_HWC3, path))


def encoded(
    picture: Picture, pixels_float_HWC3: NDArray[Any], name: FilePath, more: Mapping[str, Any] | None = None
) -> bytes:
    """The bytes of the file that `write_picture` would write under this name. `more`: Pillow's other options."""
    format = written_format(name)
    samples = samples_for(picture, pixels_float_HWC3, format, name)
    metadata = {"icc_profile": _profile_for(picture, format), "exif": picture.exif}
    kept = {key: value for key, value in metadata.items() if value}
    try:
        return encode(samples, format, kept, picture.extras, more or {})
    except Exception as error:  # size limits of the format, EXIF too long for it, ...
        raise PictureError(name, f"{format} cannot hold it ({error})", "name the output .png") from error


def written_format(name: FilePath) -> str:
    """The format of a file that is to be written under this name. Raises PictureError where there is none."""
    format = SUFFIXES.get(Path(name).suffix.lower())
    if format in WRITTEN:
        return str(format)
    known = {"GIF": "a GIF holds 256 colours only", "HEIF": "HEIC is only read", "JXL": "JPEG XL is only read"}
    problem = known.get(str(format), "no format is known for this suffix")
    raise PictureError(name, problem, "name the output .png, .jpg, .tif, .webp or .bmp")


def refuse_existing(path: FilePath, overwrite: bool) -> None:
    """Raises PictureError where something is there already."""
    if not overwrite and os.path.lexists(path):
        raise PictureError(path, "already exists", "choose another output folder or allow overwriting")


def samples_for(picture: Picture, pixels: NDArray[Any], format: str, path: FilePath) -> NDArray[Any]:
    """The HWC samples to store: rounded to the depth of the file, grey if the picture was, alpha if the format can."""
    import numpy as np

    if pixels.shape != picture.pixels_HWC3.shape:
        raise ValueError(f"pixels have shape {pixels.shape}, the picture {picture.pixels_HWC3.shape}")
    if not np.isfinite(pixels).all():
        raise PictureError(path, "the restored picture holds NaN or infinity", "restore it again on the CPU")
    planes = pixels.clip(0, 1)
    if picture.is_grey:  # Rec. 601 luma, as Pillow's L
        planes = (planes @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    deep = picture.bit_depth == 16 and format in ("PNG", "TIFF")
    alpha = picture.alpha_HW if format not in _OPAQUE else None
    _remark_losses(picture, format, deep, alpha is not None)
    samples: NDArray[Any] = np.rint(planes * (65535 if deep else 255)).astype(np.uint16 if deep else np.uint8)
    if alpha is None:
        return samples
    return np.dstack([samples, alpha if deep or picture.bit_depth == 8 else np.rint(alpha / 257).astype(np.uint8)])


def _remark_losses(picture: Picture, format: str, deep: bool, transparent: bool) -> None:
    lost = {
        "transparency": picture.alpha_HW is not None and not transparent,
        "16-bit depth": picture.bit_depth == 16 and not deep,
        "colour profile": picture.icc_profile is not None and format in _NO_PROFILE,
        "EXIF": picture.exif is not None and format in _NO_EXIF,
    } | dict.fromkeys(picture.extras.lost(format), True)
    remarks = [f"{what} is lost: {format} cannot hold it" for what, is_lost in lost.items() if is_lost]
    picture.note += [remark for remark in remarks if remark not in picture.note]


def _profile_for(picture: Picture, format: str) -> bytes | None:
    """No grey profile on a colour file (WebP has no grey): programs reject or misuse it."""
    icc = picture.icc_profile
    colour = not picture.is_grey or format == "WEBP"
    return None if icc and colour and icc[16:20] == b"GRAY" else icc


def put(path: Path, data: bytes) -> Path:
    """All or nothing: a temporary file beside it, then a rename."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise os_problem(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path
