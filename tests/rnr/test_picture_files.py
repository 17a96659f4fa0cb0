"""What is refused, what else is taken, how pictures are written and found; every picture is a real file."""

from __future__ import annotations

import errno
import io
import os
import pickle
import re
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from rnr.images.files import (
    PictureError,
    find_pictures,
    read_picture,
    write_picture,
)
from rnr.images.frames import copy_picture
from rnr.images.inputs import picture_of
from tests.rnr.conftest import Array, chunk, oriented, png16


@pytest.mark.parametrize("depth", [8, 16])

# --- bad input --------------------------------------------------------------------------------------------------------


def error_of(path: Path, **options: Any) -> str:
    with pytest.raises(PictureError) as caught:
        read_picture(path, **options)
    assert str(caught.value).startswith(f"{path}: ") and "; " in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"Dear diary, today I took no photographs.\n" * 30, "not a picture"),
        ("drawing.svg", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG is not supported"),
        ("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC needs a package more|damaged, or"),
        ("raw.NEF", b"II*\0" + bytes(99), "camera raw"),
        ("header.png", b"\x89PNG\r\n\x1a\n" + bytes(99), "damaged"),
    ],
)
def test_what_is_no_picture(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert re.search(words, error_of(tmp_path / name))


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.98])
@pytest.mark.parametrize("kind", ["8.jpg", "progressive.jpg", "8.png", "16.png", "8.tif", "16.tif", "8.webp", "8.gif"])
def test_cut_files_are_refused_not_filled_with_grey(
    tmp_path: Path, photo: Array, photo16: Array, kind: str, kept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / kind
    if kind.startswith("16"):
        picture = picture_of(photo16)
        write_picture(picture, picture.as_float(), path)
    else:
        Image.fromarray(photo).save(path, progressive=kind.startswith("pro"))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as other libraries in the process may do
    assert "damaged" in error_of(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_missing_folder_and_pipe(tmp_path: Path) -> None:
    assert "no such file" in error_of(tmp_path / "missing.png")
    assert "is a folder" in error_of(tmp_path)
    assert "name" in error_of(tmp_path / ("x" * 300 + ".png"))
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in error_of(tmp_path / "pipe.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_no_permission(tmp_path: Path, photo: Array) -> None:
    path = tmp_path / "in.png"
    Image.fromarray(photo).save(path)
    path.chmod(0)
    assert "permission denied" in error_of(path)
    tmp_path.chmod(0o500)
    with pytest.raises(PictureError, match="permission denied"):
        write_picture(picture_of(photo), photo / 255, tmp_path / "out.png")
    tmp_path.chmod(0o700)


def test_wrong_suffix_is_read_by_content(tmp_path: Path, photo: Array) -> None:
    Image.fromarray(photo).save(tmp_path / "in.jpg", "PNG")
    picture = read_picture(tmp_path / "in.jpg")
    assert (picture.format, picture.suffix) == ("PNG", ".png")
    assert picture.note == ["named .jpg but is a PNG picture"]
    np.testing.assert_array_equal(picture.pixels_HWC3, photo)


def test_decompression_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    rows = zlib.compress(bytes(1 + 30_000 // 8) * 20_000, 1)  # 600 megapixels in few bytes
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 20_000, 1, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    before = Image.MAX_IMAGE_PIXELS
    message = error_of(path)
    assert "600.0 megapixels" in message and "200 allowed" in message and "--max-megapixels 601" in message
    assert before == Image.MAX_IMAGE_PIXELS


def test_the_bound_can_be_moved_both_ways(tmp_path: Path, photo: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(photo).save(tmp_path / "in.png")
    assert "--max-megapixels" in error_of(tmp_path / "in.png", max_megapixels=0.009)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow's own bound must not bite first
    assert read_picture(tmp_path / "in.png", max_megapixels=0.0097).size == (120, 80)


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "rgb", "planarconfig": "separate"},
        {"photometric": "rgb", "extrasamples": ["assocalpha"]},
        {"photometric": "minisblack", "dtype": np.float32},
        {"photometric": "minisblack", "dtype": np.int16},
        {"photometric": "minisblack", "dtype": np.uint32},
        {"photometric": "separated"},
    ],
)
def test_tiffs_that_would_be_misread_are_refused(tmp_path: Path, photo16: Array, options: dict[str, Any]) -> None:
    samples = np.dstack([photo16, photo16[..., :1]])
    if options.get("planarconfig"):
        samples = photo16.transpose(2, 0, 1)
    elif options["photometric"] == "minisblack":
        samples = (photo16[..., 0] // 2).astype(options.pop("dtype"))
    tifffile.imwrite(tmp_path / "in.tif", samples, **options)
    assert "save it" in error_of(tmp_path / "in.tif")


# --- picture_of ------------------------------------------------------------------------------------------------------


def test_picture_of(tmp_path: Path, photo: Array, photo16: Array, alpha: Array) -> None:
    Image.fromarray(photo).save(tmp_path / "in.png")
    sources: list[object] = [tmp_path / "in.png", str(tmp_path / "in.png"), Image.fromarray(photo), photo]
    sources += [Image.open(tmp_path / "in.png"), picture_of(photo)]
    for source in sources:
        np.testing.assert_array_equal(picture_of(source).pixels_HWC3, photo)
    assert picture_of(photo[..., 0]).mode == picture_of(photo[..., :1]).mode == "L"
    rgba = picture_of(np.dstack([photo, alpha]))
    assert rgba.mode == "RGBA" and np.array_equal(rgba.alpha_HW, alpha)  # type: ignore[arg-type]
    swapped = picture_of(photo16.astype(">u2"))
    assert swapped.mode == "RGB;16" and swapped.pixels_HWC3.dtype == np.uint16
    np.testing.assert_array_equal(swapped.pixels_HWC3, photo16)
    np.testing.assert_array_equal(picture_of(Image.fromarray(photo16[..., 0])).pixels_HWC3[..., 2], photo16[..., 0])
    sideways = oriented(Image.fromarray(photo), 6)
    assert picture_of(sideways).size == picture_of(sideways).size == (80, 120)  # the caller's image keeps its tag


def test_pil_cutting_16_bits_is_said(tmp_path: Path, photo16: Array) -> None:
    with Image.open(png16(tmp_path / "in.png", photo16)) as image:
        picture = picture_of(image)
    assert (picture.bit_depth, picture.mode) == (8, "RGB") and "pass its path" in picture.note[0]


@pytest.mark.parametrize("source", [None, 3, [[1, 2]], np.zeros((4, 4), complex), np.zeros((4, 4), np.int16)])
def test_picture_of_refuses_other_types(source: object) -> None:
    with pytest.raises(TypeError, match="array"):
        picture_of(source)


@pytest.mark.parametrize("shape", [(4,), (2, 4, 4, 3), (4, 4, 5), (0, 4, 3)])
def test_picture_of_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError, match="the array: shape"):
        picture_of(np.zeros(shape, np.uint8))


def test_picture_of_refuses_32_bit_and_cut_pil_images(tmp_path: Path, photo: Array) -> None:
    with pytest.raises(PictureError, match="pixels of kind F"):
        picture_of(Image.fromarray(photo).convert("F"))
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG")
    with pytest.raises(PictureError, match="the PIL image: damaged or cut short"):
        picture_of(Image.open(io.BytesIO(buffer.getvalue()[:900])))


# --- writing ----------------------------------------------------------------------------------------------------------


def test_rounding_and_clipping(tmp_path: Path) -> None:
    picture = picture_of(np.zeros((1, 4, 3), np.uint8))
    values = np.repeat(np.array([-0.5, 10.4 / 255, 10.6 / 255, 1.5], np.float32)[None, :, None], 3, axis=2)
    write_picture(picture, values, tmp_path / "out.png")
    assert read_picture(tmp_path / "out.png").pixels_HWC3[0, :, 0].tolist() == [0, 10, 11, 255]


def test_existing_output(tmp_path: Path, photo: Array) -> None:
    picture, out = picture_of(photo), tmp_path / "new" / "folder" / "out.png"
    write_picture(picture, picture.as_float(), out)
    with pytest.raises(PictureError, match="already exists"):
        write_picture(picture, 1 - picture.as_float(), out)
    with pytest.raises(PictureError, match="already exists"):
        copy_picture(out, out)
    np.testing.assert_array_equal(read_picture(out).pixels_HWC3, photo)
    write_picture(picture, 1 - picture.as_float(), out, overwrite=True)
    np.testing.assert_array_equal(read_picture(out).pixels_HWC3, 255 - photo)
    assert os.listdir(out.parent) == ["out.png"]


def test_written_files_have_ordinary_permissions(tmp_path: Path, photo: Array) -> None:
    (tmp_path / "ordinary").touch()
    write_picture(picture_of(photo), photo / 255, tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize(("name", "words"), [("out.gif", "256 colours"), ("out.heic", "only read"), ("out", "suffix")])
def test_formats_we_do_not_write(tmp_path: Path, photo: Array, name: str, words: str) -> None:
    with pytest.raises(PictureError, match=words):
        write_picture(picture_of(photo), photo / 255, tmp_path / name)


def test_bad_pixels_are_not_written(tmp_path: Path, photo: Array) -> None:
    with pytest.raises(PictureError, match="NaN"):
        write_picture(picture_of(photo), np.full(photo.shape, np.nan, np.float32), tmp_path / "out.png")
    with pytest.raises(ValueError, match="shape"):
        write_picture(picture_of(photo), photo[1:] / 255, tmp_path / "out.png")
    wide = picture_of(np.zeros((1, 70_000, 3), np.uint8))
    with pytest.raises(PictureError, match="JPEG cannot hold it"):
        write_picture(wide, wide.as_float(), tmp_path / "out.jpg")
    assert os.listdir(tmp_path) == []


def test_copy_is_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "in.jpg").write_bytes(b"\xff\xd8 any bytes")
    assert copy_picture(tmp_path / "in.jpg", tmp_path / "sub" / "out.jpg").read_bytes() == b"\xff\xd8 any bytes"
    with pytest.raises(PictureError, match="no such file"):
        copy_picture(tmp_path / "missing.jpg", tmp_path / "out.jpg")


def test_output_below_a_file(tmp_path: Path, photo: Array) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PictureError, match=r"out\.png: .*; check"):
        write_picture(picture_of(photo), photo / 255, tmp_path / "file" / "out.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PictureError, match="is a folder"):
        write_picture(picture_of(photo), photo / 255, tmp_path / "folder.png", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]


def test_a_write_that_stops_half_way_leaves_the_old_file(tmp_path: Path, photo: Array) -> None:
    """A real one: the kernel refuses to let the file grow."""
    out = tmp_path / "out.png"
    out.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(PictureError, match="nothing was written") as caught:
            write_picture(picture_of(photo), photo / 255, out, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "another output folder" in caught.value.remedy
    assert out.read_bytes() == b"old" and os.listdir(tmp_path) == ["out.png"]


def test_full_disk(tmp_path: Path, photo: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faked: a test cannot fill a disk. /dev/full answers as one does, but a temporary file cannot be made there."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PictureError, match="the disk is full, nothing was written; free some space"):
        write_picture(picture_of(photo), photo / 255, tmp_path / "out.png")
    assert os.listdir(tmp_path) == []


def test_error_survives_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(PictureError("a.png", "is bad", "mend it")))
    assert str(error) == "a.png: is bad; mend it" and error.remedy == "mend it"


# --- finding ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b.png",
        "a.JPG",
        ".hidden.png",
        "notes.txt",
        "sub/c.tiff",
        "sub/.git/d.png",
        "empty/x.txt",
        "e[1].png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "recursive", "names"),
    [
        (["."], False, ["a.JPG", "b.png", "e[1].png"]),
        (["."], True, ["a.JPG", "b.png", "e[1].png", "sub/c.tiff"]),
        (["b.png", ".", "b.png"], False, ["b.png", "a.JPG", "e[1].png"]),
        (["notes.txt", ".hidden.png"], False, ["notes.txt", ".hidden.png"]),
        (["*"], False, ["a.JPG", "b.png", "e[1].png"]),
        (["**/*.tiff"], False, ["sub/c.tiff"]),
        (["e[1].png"], False, ["e[1].png"]),
    ],
)
def test_find(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], recursive: bool, names: list[str]
) -> None:
    monkeypatch.chdir(folder)
    assert find_pictures(arguments, recursive) == ([Path(name) for name in names], [])


def test_find_reports_what_is_missing_and_goes_on(folder: Path) -> None:
    arguments = [str(folder / name) for name in ("missing.png", "empty", "*.webp", "b.png")]
    paths, errors = find_pictures(arguments)
    assert paths == [folder / "b.png"]
    assert [error.file for error in errors] == arguments[:3]
    assert [error.problem for error in errors] == ["no such file", "no pictures here", "no pictures here"]


def test_import_is_light() -> None:
    heavy = "{'numpy', 'PIL', 'cv2', 'torch', 'skimage'}"
    code = f"import sys, rnr.images.files; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
