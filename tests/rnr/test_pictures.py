"""Every picture here is a real file, made in the test from scikit-image's photographs."""

from __future__ import annotations

import errno
import io
import os
import pickle
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import png  # type: ignore[import-untyped]
import pytest
import skimage.data
import tifffile
from PIL import Image, ImageCms, ImageFile, ImageOps

from rnr.pictures import (
    Picture,
    PictureError,
    copy_picture,
    find_pictures,
    from_any,
    read_picture,
    write_picture,
)

Array = np.ndarray[Any, np.dtype[Any]]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# A profile's colour space stands at bytes 16-20; readers here look no further.
GREY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]


@pytest.fixture(scope="module")
def photo() -> Array:
    return np.ascontiguousarray(skimage.data.astronaut()[100:180, 150:270])  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def photo16(photo: Array) -> Array:
    """All 16 bits in use: a reader that goes through 8 bits cannot return these values."""
    return (photo.astype(np.uint16) * 256 + np.random.default_rng(0).integers(0, 256, photo.shape)).astype(np.uint16)


@pytest.fixture(scope="module")
def alpha() -> Array:
    return np.ascontiguousarray(skimage.data.chelsea()[:80, :120, 0])  # type: ignore[no-untyped-call]


def png16(path: Path, samples: Array, **options: Any) -> Path:
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    height, width = samples.shape[:2]
    writer = png.Writer(width, height, bitdepth=16, greyscale=channels < 3, alpha=channels in (2, 4), **options)
    with path.open("wb") as file:
        writer.write(file, samples.reshape(height, -1))
    return path


def png16_samples(path: Path) -> Array:
    """Read back by a third party, so that an error in our encoder and decoder cannot cancel out."""
    width, height, rows, info = png.Reader(str(path)).read()
    assert info["bitdepth"] == 16
    samples = np.array([list(row) for row in rows], np.uint16)
    return samples.reshape(height, width, info["planes"]).squeeze()


def exif_with(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Leica", orientation
    exif[0x8769] = {0x829A: 0.008, 0x9003: "2024:05:06 07:08:09"}  # exposure time, date taken
    return exif


def roundtrip(path: Path, out: Path) -> tuple[Picture, Picture]:
    picture = read_picture(path)
    assert write_picture(picture, picture.as_float(), out) == out
    return picture, read_picture(out)


# --- the same pixels back ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".bmp"])
def test_untouched_8_bit_pixels_survive_bit_for_bit(tmp_path: Path, photo: Array, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    Image.fromarray(photo).save(path, lossless=True)
    picture, again = roundtrip(path, tmp_path / f"out{suffix}")
    assert (picture.bit_depth, picture.mode, picture.size, picture.note) == (8, "RGB", (120, 80), [])
    assert picture.suffix == suffix
    np.testing.assert_array_equal(picture.pixels_HWC3, photo)
    np.testing.assert_array_equal(again.pixels_HWC3, photo)


def test_every_16_bit_value_survives_the_way_through_float() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    picture = from_any(values)
    floats = picture.as_float()
    assert floats.dtype == np.float32 and floats.min() == 0 and floats.max() == 1
    np.testing.assert_array_equal(np.rint(floats * 65535).astype(np.uint16)[..., 0], values)


@pytest.mark.parametrize("mode", ["I;16", "LA;16", "RGB;16", "RGBA;16"])
def test_16_bit_png(tmp_path: Path, photo16: Array, mode: str) -> None:
    samples = {"I;16": photo16[..., 0], "LA;16": photo16[..., :2], "RGB;16": photo16}.get(
        mode, np.dstack([photo16, photo16[..., 0]])
    )
    picture, again = roundtrip(png16(tmp_path / "in.png", np.ascontiguousarray(samples)), tmp_path / "out.png")
    assert (picture.mode, picture.bit_depth, again.mode) == (mode, 16, mode)
    assert (picture.alpha_HW is not None) == ("A" in mode)
    np.testing.assert_array_equal(png16_samples(tmp_path / "out.png"), samples)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"tile": (32, 32)}])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_tiff(tmp_path: Path, photo16: Array, channels: int, options: dict[str, Any]) -> None:
    samples = np.dstack([photo16, photo16[..., 0]])[..., :channels].squeeze()
    layout: dict[str, Any] = {"photometric": "minisblack" if channels == 1 else "rgb"} | (
        {"extrasamples": [2]} if channels == 4 else {}
    )
    tifffile.imwrite(tmp_path / "in.tif", samples, **layout, **options)
    picture, again = roundtrip(tmp_path / "in.tif", tmp_path / "out.tif")
    assert picture.bit_depth == again.bit_depth == 16
    assert again.mode == {1: "I;16", 3: "RGB;16", 4: "RGBA;16"}[channels]
    with tifffile.TiffFile(tmp_path / "out.tif") as out:
        assert out.pages[0].bitspersample == 16  # type: ignore[union-attr]
    restored = np.dstack([again.pixels_HWC3, samples if again.alpha_HW is None else again.alpha_HW])[..., :channels]
    np.testing.assert_array_equal(restored.squeeze(), samples)


def test_private_tags_are_read_in_silence(tmp_path: Path, photo16: Array, capfd: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite(tmp_path / "in.tif", photo16, photometric="rgb", extratags=[(65000, "H", 1, 7, True)])
    assert read_picture(tmp_path / "in.tif").bit_depth == 16
    assert capfd.readouterr().err == ""


def test_16_bit_tiff_where_white_is_zero(tmp_path: Path, photo16: Array) -> None:
    tifffile.imwrite(tmp_path / "in.tif", photo16[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(tmp_path / "in.tif").pixels_HWC3[..., 1], 65535 - photo16[..., 0])


def test_16_bit_grey_and_alpha_to_tiff(tmp_path: Path, photo16: Array) -> None:
    picture, again = roundtrip(png16(tmp_path / "in.png", np.ascontiguousarray(photo16[..., :2])), tmp_path / "out.tif")
    np.testing.assert_array_equal(again.pixels_HWC3, picture.pixels_HWC3)
    np.testing.assert_array_equal(again.alpha_HW, picture.alpha_HW)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_transparent_colour(tmp_path: Path, photo16: Array, channels: int) -> None:
    samples = np.ascontiguousarray(photo16[..., :channels].squeeze())
    clear = int(samples[3, 4]) if channels == 1 else tuple(int(value) for value in samples[3, 4])
    picture = read_picture(png16(tmp_path / "in.png", samples, transparent=clear))
    assert picture.alpha_HW is not None and picture.alpha_HW[3, 4] == 0 and picture.alpha_HW.max() == 65535


def test_16_bit_to_an_8_bit_format_says_so(tmp_path: Path, photo16: Array, photo: Array) -> None:
    picture = read_picture(png16(tmp_path / "in.png", np.dstack([photo16, photo16[..., 0]])))
    for _ in range(2):
        write_picture(picture, picture.as_float(), tmp_path / "out.jpg", overwrite=True)
    assert picture.note == ["transparency is lost: JPEG cannot hold it", "16-bit depth is lost: JPEG cannot hold it"]
    write_picture(picture, picture.as_float(), tmp_path / "out.webp")
    again = read_picture(tmp_path / "out.webp")
    assert np.abs(again.pixels_HWC3.astype(int) - photo).max() <= 1
    assert again.alpha_HW is not None and np.abs(again.alpha_HW.astype(int) - photo[..., 0]).max() <= 1


# --- every kind of picture --------------------------------------------------------------------------------------------


def test_jpeg_is_written_without_colour_subsampling(tmp_path: Path, photo: Array) -> None:
    Image.fromarray(photo).save(tmp_path / "in.jpg", quality=95)
    picture, again = roundtrip(tmp_path / "in.jpg", tmp_path / "out.JPG")
    assert (picture.format, picture.mode, picture.suffix) == ("JPEG", "RGB", ".jpg")
    with Image.open(tmp_path / "out.JPG") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
    assert np.abs(again.as_float() - picture.as_float()).mean() < 0.01


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_grey_stays_grey(tmp_path: Path, photo: Array, suffix: str) -> None:
    Image.fromarray(photo).convert("L").save(tmp_path / f"in{suffix}")
    picture, again = roundtrip(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    assert picture.mode == again.mode == "L" and picture.pixels_HWC3.shape == photo.shape
    if suffix != ".jpg":
        np.testing.assert_array_equal(again.pixels_HWC3, picture.pixels_HWC3)


def test_coloured_result_of_a_grey_picture_becomes_its_luma(tmp_path: Path, photo: Array) -> None:
    grey = from_any(photo[..., 0])
    write_picture(grey, from_any(photo).as_float(), tmp_path / "out.png")
    luma = np.asarray(Image.fromarray(photo).convert("L")).astype(int)
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "L" and np.abs(np.asarray(image) - luma).max() <= 1


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_kept(tmp_path: Path, photo: Array, alpha: Array, mode: str, suffix: str) -> None:
    image = Image.fromarray(np.dstack([photo, alpha])).convert(mode)
    image.save(tmp_path / f"in{suffix}", lossless=True, exact=True)
    picture, again = roundtrip(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(picture.alpha_HW, alpha)
    np.testing.assert_array_equal(again.alpha_HW, alpha)
    np.testing.assert_array_equal(again.pixels_HWC3, picture.pixels_HWC3)
    assert again.mode == picture.mode == ("RGBA" if suffix == ".webp" else mode)


def test_palette(tmp_path: Path, photo: Array) -> None:
    image = Image.fromarray(photo).quantize(64)
    image.save(tmp_path / "in.png")
    picture, again = roundtrip(tmp_path / "in.png", tmp_path / "out.png")
    assert (picture.mode, picture.note, again.mode) == ("P", ["palette picture, written as RGB"], "RGB")
    np.testing.assert_array_equal(again.pixels_HWC3, np.asarray(image.convert("RGB")))


def test_palette_with_transparency(tmp_path: Path, photo: Array) -> None:
    image = Image.fromarray(photo).quantize(64)
    clear = image.getpixel((5, 5))
    image.save(tmp_path / "in.png", transparency=clear)
    _, again = roundtrip(tmp_path / "in.png", tmp_path / "out.png")
    assert again.mode == "RGBA"
    np.testing.assert_array_equal(again.alpha_HW == 0, np.asarray(image) == clear)


def test_one_bit(tmp_path: Path, photo: Array) -> None:
    image = Image.fromarray(photo).convert("1")
    image.save(tmp_path / "in.png")
    picture, again = roundtrip(tmp_path / "in.png", tmp_path / "out.png")
    assert (picture.mode, again.mode, picture.note) == ("1", "L", ["1-bit picture, written as 8-bit grey"])
    np.testing.assert_array_equal(again.pixels_HWC3[..., 0] == 255, np.asarray(image))


def test_cmyk_jpeg(tmp_path: Path, photo: Array) -> None:
    Image.fromarray(photo).convert("CMYK").save(tmp_path / "in.jpg", quality=95, icc_profile=b"not a profile")
    picture, again = roundtrip(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert picture.mode == "CMYK" and again.mode == "RGB" and "CMYK converted to sRGB" in picture.note
    assert picture.icc_profile is None  # it spoke of ink
    assert np.abs(picture.pixels_HWC3.astype(int) - photo).mean() < 6


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1)])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_tiny(tmp_path: Path, size: tuple[int, int], depth: type) -> None:
    pixels: Array = np.arange(size[0] * size[1] * 3, dtype=depth).reshape(*size, 3)
    for suffix in (".png", ".tif"):
        picture = from_any(pixels)
        again = read_picture(write_picture(picture, picture.as_float(), tmp_path / f"out{suffix}"))
        assert again.size == (size[1], size[0])
        np.testing.assert_array_equal(again.pixels_HWC3, pixels)


@pytest.mark.parametrize(
    ("name", "words"), [("a.gif", "animated"), ("a.webp", "animated"), ("a.png", "animated"), ("a.tif", "pages")]
)
def test_first_of_several_frames(tmp_path: Path, photo: Array, name: str, words: str) -> None:
    frames = [Image.fromarray(np.roll(photo, 20 * shift, axis=1)) for shift in range(3)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    picture = read_picture(tmp_path / name)
    assert any(words in note and "first" in note for note in picture.note)
    assert np.abs(picture.pixels_HWC3.astype(int) - photo).mean() < 8  # GIF has 256 colours
    write_picture(picture, picture.as_float(), tmp_path / f"out{picture.suffix}")
    assert picture.suffix == (".png" if name == "a.gif" else Path(name).suffix)


def test_several_pictures_in_one_jpeg(tmp_path: Path, photo: Array) -> None:
    first = Image.fromarray(photo)
    first.save(tmp_path / "in.jpg", "MPO", save_all=True, append_images=[Image.fromarray(255 - photo)], quality=95)
    picture = read_picture(tmp_path / "in.jpg")
    assert picture.format == "JPEG" and picture.note == ["several pictures in one file: only the first is used"]
    assert np.abs(picture.pixels_HWC3.astype(int) - photo).mean() < 5


# --- what a picture carries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["8.jpg", "8.png", "8.tif", "16.png", "16.tif", "grey.tif"])
def test_every_orientation_is_undone(tmp_path: Path, photo: Array, photo16: Array, orientation: int, kind: str) -> None:
    path = tmp_path / kind
    truth = ImageOps.exif_transpose(_oriented(Image.fromarray(photo), orientation))
    if kind == "16.png":
        plain = png16(tmp_path / "plain.png", photo16).read_bytes()
        path.write_bytes(plain[:33] + _chunk(b"eXIf", exif_with(orientation).tobytes()[6:]) + plain[33:])
    elif kind in ("16.tif", "grey.tif"):
        tags = [(274, "H", 1, orientation, True)]
        samples = photo16 if kind == "16.tif" else photo16[..., 0]
        tifffile.imwrite(path, samples, photometric="rgb" if samples.ndim == 3 else None, extratags=tags)
    else:
        Image.fromarray(photo).save(path, exif=exif_with(orientation).tobytes(), quality=95)
    picture, again = roundtrip(path, tmp_path / f"out{path.suffix}")
    got = picture.pixels_HWC3 // 256 if picture.bit_depth == 16 else picture.pixels_HWC3
    want = np.asarray(truth)
    assert got.shape == want.shape and picture.size == truth.size
    assert np.abs(got[..., 0].astype(int) - want[..., 0]).mean() < (4 if kind == "8.jpg" else 0.01)
    assert again.size == picture.size  # turned once, not twice
    assert not any("turned" in note for note in again.note)


def _oriented(image: Image.Image, orientation: int) -> Image.Image:
    image.getexif()[0x0112] = orientation
    return image


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_profile_and_exif_are_kept(tmp_path: Path, photo: Array, photo16: Array, depth: int, suffix: str) -> None:
    Image.fromarray(photo).save(tmp_path / "in.jpg", exif=exif_with(6), icc_profile=SRGB)
    picture = read_picture(tmp_path / "in.jpg")
    assert picture.icc_profile == SRGB and any("orientation tag (6)" in note for note in picture.note)
    if depth == 16:
        picture.pixels_HWC3 = np.rot90(photo16, -1)
    write_picture(picture, picture.as_float(), tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as image:
        image.load()
        exif = image.getexif()
        assert image.info["icc_profile"] == SRGB
        assert exif[0x010F] == "Leica" and exif.get(0x0112, 1) == 1
        assert exif.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
    again = read_picture(tmp_path / f"out{suffix}")
    assert again.icc_profile == SRGB and again.exif is not None
    assert again.bit_depth == (depth if suffix in (".png", ".tif") else 8)
    assert b"Leica" in again.exif and b"07:08:09" in again.exif


def test_upright_exif_is_kept_byte_for_byte(tmp_path: Path, photo: Array) -> None:
    exif = exif_with().tobytes() + b"maker notes point into themselves"
    Image.fromarray(photo).save(tmp_path / "in.jpg", exif=exif)
    picture, again = roundtrip(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert picture.exif == again.exif == exif


def test_tiff_exif_says_nothing_of_its_layout(tmp_path: Path, photo: Array) -> None:
    Image.fromarray(photo).save(tmp_path / "in.tif", exif=exif_with().tobytes())
    picture, _ = roundtrip(tmp_path / "in.tif", tmp_path / "out.jpg")
    exif = Image.Exif()
    exif.load(picture.exif or b"")
    assert set(exif) == {0x010F, 0x8769} and exif.get_ifd(0x8769)[0x829A] == pytest.approx(0.008)


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path, photo: Array) -> None:
    Image.fromarray(photo).save(tmp_path / "in.jpg", exif=b"Exif\0\0nonsense")
    picture, _ = roundtrip(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert picture.exif is None and picture.note == ["its EXIF is damaged and left out"]


def test_bmp_says_what_it_cannot_hold(tmp_path: Path, photo: Array, alpha: Array) -> None:
    picture = Picture(photo, alpha, SRGB, exif_with().tobytes())
    write_picture(picture, picture.as_float(), tmp_path / "out.bmp")
    assert [note.split(" is lost")[0] for note in picture.note] == ["transparency", "colour profile", "EXIF"]


def test_grey_profile_never_lands_on_colour(tmp_path: Path, photo: Array) -> None:
    picture = Picture(photo, icc_profile=GREY_PROFILE, mode="L")
    write_picture(picture, picture.as_float(), tmp_path / "out.png")
    assert read_picture(tmp_path / "out.png").icc_profile == GREY_PROFILE
    write_picture(picture, picture.as_float(), tmp_path / "out.webp")
    assert read_picture(tmp_path / "out.webp").icc_profile is None


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
        ("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC or AVIF is not supported"),
        ("raw.NEF", b"II*\0" + bytes(99), "camera raw"),
        ("header.png", b"\x89PNG\r\n\x1a\n" + bytes(99), "damaged"),
    ],
)
def test_what_is_no_picture(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in error_of(tmp_path / name)


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.98])
@pytest.mark.parametrize("kind", ["8.jpg", "progressive.jpg", "8.png", "16.png", "8.tif", "16.tif", "8.webp", "8.gif"])
def test_cut_files_are_refused_not_filled_with_grey(
    tmp_path: Path, photo: Array, photo16: Array, kind: str, kept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / kind
    if kind.startswith("16"):
        picture = from_any(photo16)
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
        write_picture(from_any(photo), photo / 255, tmp_path / "out.png")
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
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 20_000, 1, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", rows) + _chunk(b"IEND", b""))
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


# --- from_any ---------------------------------------------------------------------------------------------------------


def test_from_any(tmp_path: Path, photo: Array, photo16: Array, alpha: Array) -> None:
    Image.fromarray(photo).save(tmp_path / "in.png")
    sources: list[object] = [tmp_path / "in.png", str(tmp_path / "in.png"), Image.fromarray(photo), photo]
    sources += [Image.open(tmp_path / "in.png"), from_any(photo)]
    for source in sources:
        np.testing.assert_array_equal(from_any(source).pixels_HWC3, photo)
    assert from_any(photo[..., 0]).mode == from_any(photo[..., :1]).mode == "L"
    rgba = from_any(np.dstack([photo, alpha]))
    assert rgba.mode == "RGBA" and np.array_equal(rgba.alpha_HW, alpha)  # type: ignore[arg-type]
    swapped = from_any(photo16.astype(">u2"))
    assert swapped.mode == "RGB;16" and swapped.pixels_HWC3.dtype == np.uint16
    np.testing.assert_array_equal(swapped.pixels_HWC3, photo16)
    np.testing.assert_array_equal(from_any(Image.fromarray(photo16[..., 0])).pixels_HWC3[..., 2], photo16[..., 0])
    sideways = _oriented(Image.fromarray(photo), 6)
    assert from_any(sideways).size == from_any(sideways).size == (80, 120)  # the caller's image keeps its tag


def test_pil_cutting_16_bits_is_said(tmp_path: Path, photo16: Array) -> None:
    with Image.open(png16(tmp_path / "in.png", photo16)) as image:
        picture = from_any(image)
    assert (picture.bit_depth, picture.mode) == (8, "RGB") and "pass its path" in picture.note[0]


@pytest.mark.parametrize("source", [None, 3, [[1, 2]], b"bytes", np.zeros((4, 4, 3)), np.zeros((4, 4), np.int16)])
def test_from_any_refuses_other_types(source: object) -> None:
    with pytest.raises(TypeError, match="uint16"):
        from_any(source)


@pytest.mark.parametrize("shape", [(4,), (2, 4, 4, 3), (4, 4, 5), (0, 4, 3)])
def test_from_any_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError, match="the array: shape"):
        from_any(np.zeros(shape, np.uint8))


def test_from_any_refuses_32_bit_and_cut_pil_images(tmp_path: Path, photo: Array) -> None:
    with pytest.raises(PictureError, match="pixels of kind F"):
        from_any(Image.fromarray(photo).convert("F"))
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG")
    with pytest.raises(PictureError, match="the PIL image: damaged or cut short"):
        from_any(Image.open(io.BytesIO(buffer.getvalue()[:900])))


# --- writing ----------------------------------------------------------------------------------------------------------


def test_rounding_and_clipping(tmp_path: Path) -> None:
    picture = from_any(np.zeros((1, 4, 3), np.uint8))
    values = np.repeat(np.array([-0.5, 10.4 / 255, 10.6 / 255, 1.5], np.float32)[None, :, None], 3, axis=2)
    write_picture(picture, values, tmp_path / "out.png")
    assert read_picture(tmp_path / "out.png").pixels_HWC3[0, :, 0].tolist() == [0, 10, 11, 255]


def test_existing_output(tmp_path: Path, photo: Array) -> None:
    picture, out = from_any(photo), tmp_path / "new" / "folder" / "out.png"
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
    write_picture(from_any(photo), photo / 255, tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize(("name", "words"), [("out.gif", "256 colours"), ("out.heic", "suffix"), ("out", "suffix")])
def test_formats_we_do_not_write(tmp_path: Path, photo: Array, name: str, words: str) -> None:
    with pytest.raises(PictureError, match=words):
        write_picture(from_any(photo), photo / 255, tmp_path / name)


def test_bad_pixels_are_not_written(tmp_path: Path, photo: Array) -> None:
    with pytest.raises(PictureError, match="NaN"):
        write_picture(from_any(photo), np.full(photo.shape, np.nan, np.float32), tmp_path / "out.png")
    with pytest.raises(ValueError, match="shape"):
        write_picture(from_any(photo), photo[1:] / 255, tmp_path / "out.png")
    wide = from_any(np.zeros((1, 70_000, 3), np.uint8))
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
        write_picture(from_any(photo), photo / 255, tmp_path / "file" / "out.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PictureError, match="is a folder"):
        write_picture(from_any(photo), photo / 255, tmp_path / "folder.png", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]


def test_a_write_that_stops_half_way_leaves_the_old_file(tmp_path: Path, photo: Array) -> None:
    """A real one: the kernel refuses to let the file grow."""
    out = tmp_path / "out.png"
    out.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(PictureError, match="nothing was written") as caught:
            write_picture(from_any(photo), photo / 255, out, overwrite=True)
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
        write_picture(from_any(photo), photo / 255, tmp_path / "out.png")
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
    code = f"import sys, rnr.pictures; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
