"""Every picture here is a real file, made in the test from scikit-image's photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import png  # type: ignore[import-untyped]
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from rnr.images.files import (
    Picture,
    PictureError,
    read_picture,
    write_picture,
)
from rnr.images.inputs import picture_of
from tests.rnr.conftest import Array, chunk, oriented, png16

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# A profile's colour space stands at bytes 16-20; readers here look no further.
GREY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]


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
    picture = picture_of(values)
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
    grey = picture_of(photo[..., 0])
    write_picture(grey, picture_of(photo).as_float(), tmp_path / "out.png")
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
        picture = picture_of(pixels)
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


def test_jpeg_xl_is_read_with_its_extra(tmp_path: Path, photo: Array) -> None:
    pylibjxl = pytest.importorskip("pylibjxl", reason="the extra jxl is not installed")
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a description", 6
    data = pylibjxl.encode(photo, lossless=True, exif=exif.tobytes())
    (tmp_path / "a.jxl").write_bytes(data)
    picture = read_picture(tmp_path / "a.jxl")
    np.testing.assert_array_equal(picture.pixels_HWC3, photo)  # its decoder turns it: EXIF does not count
    assert (picture.format, picture.suffix, picture.copied_suffix) == ("JXL", ".png", ".jxl")
    assert b"a description" in (picture.exif or b"")
    (tmp_path / "cut.jxl").write_bytes(data[: len(data) // 2])
    with pytest.raises(PictureError):
        read_picture(tmp_path / "cut.jxl")
    with pytest.raises(PictureError, match="more than the 0.005 allowed"):
        read_picture(tmp_path / "a.jxl", 0.005)


# --- what a picture carries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["8.jpg", "8.png", "8.tif", "16.png", "16.tif", "grey.tif"])
def test_every_orientation_is_undone(tmp_path: Path, photo: Array, photo16: Array, orientation: int, kind: str) -> None:
    path = tmp_path / kind
    truth = ImageOps.exif_transpose(oriented(Image.fromarray(photo), orientation))
    if kind == "16.png":
        plain = png16(tmp_path / "plain.png", photo16).read_bytes()
        path.write_bytes(plain[:33] + chunk(b"eXIf", exif_with(orientation).tobytes()[6:]) + plain[33:])
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
