"""What a file carries beside its pixels comes through wherever the format allows, and is said to be lost elsewhere."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from rnr.images.files import Picture, read_picture, write_picture
from rnr.images.frames import copy_picture
from rnr.images.metadata import Extras, extras_of

Array = np.ndarray
RATING = b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/>'
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    + RATING
    + b"</rdf:RDF></x:xmpmeta>"
)
IPTC = b"\x1c\x02\x78\x00\x07caption"
FULL = Extras(XMP, (300.0, 300.0), b"a comment", {"parameters": "a cat, steps: 20", "Title": "写真"}, IPTC)


def written(path: Path, photo: Array, extras: Extras, **more: Any) -> Picture:
    picture = Picture(photo, extras=extras, **more)
    write_picture(picture, picture.as_float(), path)
    return picture


@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize(
    ("suffix", "lost"),
    [
        (".png", {"IPTC"}),
        (".jpg", {"text"}),
        (".tif", {"comment", "text"}),
        (".webp", {"resolution", "comment", "text", "IPTC"}),
        (".avif", {"resolution", "comment", "text", "IPTC"}),
        (".bmp", {"XMP", "comment", "text", "IPTC"}),
        (".tga", {"XMP", "resolution", "comment", "text", "IPTC"}),
        (".ppm", {"XMP", "resolution", "comment", "text", "IPTC"}),
        (".jp2", {"XMP", "resolution", "comment", "text", "IPTC"}),
    ],
)
def test_what_a_format_holds_comes_back_and_the_rest_is_said(
    tmp_path: Path, photo: Array, photo16: Array, suffix: str, lost: set[str], deep: bool
) -> None:
    picture = written(tmp_path / f"x{suffix}", photo16 if deep else photo, FULL, mode="RGB;16" if deep else "RGB")
    said = {note.split(" is lost")[0] for note in picture.note} - {"16-bit depth"}
    assert said == lost
    back = read_picture(tmp_path / f"x{suffix}").extras
    if "XMP" not in lost:
        assert RATING in back.xmp
    if "resolution" not in lost:
        assert back.dpi == pytest.approx((300, 300), abs=0.02)
    if "IPTC" not in lost:
        assert back.iptc == IPTC
    if suffix == ".png":
        assert back.text == {"Comment": "a comment", "parameters": "a cat, steps: 20", "Title": "写真"}
    if suffix == ".jpg":
        assert back.comment == b"a comment"


def test_files_of_other_programs_keep_what_they_carry(tmp_path: Path, photo: Array) -> None:
    image, out = Image.fromarray(photo), tmp_path / "out"
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a cat, steps: 20, seed: 42")
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    image.save(tmp_path / "a.png", pnginfo=info, dpi=(300, 300))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[700], tags.tagtype[700] = XMP, 1
    image.save(tmp_path / "b.tif", tiffinfo=tags, dpi=(72, 144))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = XMP.replace(b"xmp:Rating", b'tiff:Orientation="6" xmp:Rating')
    image.save(tmp_path / "c.jpg", xmp=turned, dpi=(72, 144), comment=b"note", exif=exif)
    for name in ("a.png", "b.tif", "c.jpg"):
        picture = read_picture(tmp_path / name)
        write_picture(picture, picture.as_float(), out / name)
        assert not any("lost" in note for note in picture.note)
    with Image.open(out / "a.png") as png, Image.open(out / "b.tif") as tif, Image.open(out / "c.jpg") as jpg:
        assert png.text["parameters"] == "a cat, steps: 20, seed: 42" and png.info["xmp"] == XMP  # type: ignore
        assert png.info["dpi"] == pytest.approx((300, 300), abs=0.02)
        assert tif.info["dpi"] == (72, 144) and RATING in extras_of(tif).xmp
        assert jpg.info["dpi"] == (144, 72) and jpg.size == photo.shape[:2]  # turned upright, and so its resolution
        assert b'tiff:Orientation="1"' in jpg.info["xmp"] and jpg.info["comment"] == b"note"
        assert jpg.getexif().get(0x0112, 1) == 1


def test_a_packet_too_long_for_a_jpeg_is_said(tmp_path: Path, photo: Array) -> None:
    picture = written(tmp_path / "x.jpg", photo, Extras(XMP + b" " * 70_000, iptc=b"\x1c" * 70_000))
    assert {note.split(" is lost")[0] for note in picture.note} == {"XMP", "IPTC"}


def with_position(path: Path, photo: Array) -> Path:
    exif = Image.Exif()
    exif[0x010E], exif[0x8825] = "a description", {1: "N", 2: (52.0, 31.0, 12.0)}
    packet = XMP.replace(b"xmp:Rating", b'exif:GPSLatitude="52,31.2N" xmp:Rating')
    Image.fromarray(photo).save(path, exif=exif, xmp=packet, lossless=True)
    assert b"GPSLatitude" in path.read_bytes()
    return path


def positions(path: Path) -> tuple[bool, bool, str]:
    with Image.open(path) as image:
        exif = image.getexif()
        return bool(exif.get_ifd(0x8825)), b"GPS" in path.read_bytes(), exif[0x010E]


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_positions_are_stripped_from_results_and_from_copies(tmp_path: Path, photo: Array, suffix: str) -> None:
    source = with_position(tmp_path / f"x{suffix}", photo)
    picture = read_picture(source).without_gps()
    write_picture(picture, picture.as_float(), tmp_path / f"result{suffix}")
    copy_picture(source, tmp_path / f"copy{suffix}", strip_gps=True)
    assert positions(source)[:2] == (True, True)
    for name in ("result", "copy"):
        assert positions(tmp_path / f"{name}{suffix}") == (False, False, "a description")
    same = read_picture(tmp_path / f"copy{suffix}").pixels_HWC3
    np.testing.assert_array_equal(same, picture.pixels_HWC3)


def test_a_stamp_is_well_formed_and_replaces_an_earlier_one() -> None:
    from xml.etree import ElementTree

    name = "{urn:reason-and-restore:record:1}record"
    for start in (Extras(), Extras(XMP)):
        stamped = start.stamped({"a": '<>&"写'}).stamped({"b": 2})
        found = [node.get(name) for node in ElementTree.fromstring(stamped.xmp).iter() if node.get(name)]
        assert [json.loads(text or "") for text in found] == [{"b": 2}]
        assert (RATING in stamped.xmp) == bool(start.xmp)
        once = ElementTree.fromstring(start.stamped({"a": '<>&"写'}).xmp)
        assert [json.loads(n.get(name) or "") for n in once.iter() if n.get(name)] == [{"a": '<>&"写'}]


def test_damaged_metadata_does_not_cost_the_picture(tmp_path: Path, photo: Array) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG")
    data = buffer.getvalue()
    body = b"Photoshop 3.0\x008BIM" + struct.pack(">HHI", 0x0404, 0, 1 << 30)
    segment = b"\xff\xed" + struct.pack(">H", len(body) + 2) + body
    (tmp_path / "x.jpg").write_bytes(data[:2] + segment + data[2:])
    assert read_picture(tmp_path / "x.jpg").size == photo.shape[1::-1]


@pytest.mark.parametrize("suffix", [".avif", ".jp2", ".tga", ".ppm", ".bmp"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_more_formats_are_read_and_written(tmp_path: Path, photo: Array, suffix: str, mode: str) -> None:
    image = Image.fromarray(photo).convert(mode)
    options: dict[str, Any] = {"quality": 100} if suffix == ".avif" else {}
    image.save(tmp_path / f"x{suffix}", **options)
    picture = read_picture(tmp_path / f"x{suffix}")
    assert picture.suffix == suffix and picture.pixels_HWC3.dtype == np.uint8
    write_picture(picture, picture.as_float(), tmp_path / f"y{suffix}")
    back = read_picture(tmp_path / f"y{suffix}").pixels_HWC3.astype(int)
    assert np.abs(back - picture.pixels_HWC3).mean() <= (2 if suffix == ".avif" else 0)


def test_a_deep_ppm_keeps_its_depth(tmp_path: Path, photo16: Array) -> None:
    import cv2

    for name, samples in (("x.ppm", photo16), ("x.pgm", photo16[..., :1])):
        cv2.imwrite(str(tmp_path / name), samples[..., ::-1])
        picture = read_picture(tmp_path / name)
        assert picture.bit_depth == 16 and picture.suffix == ".png"  # Pillow writes 8 bits only
        np.testing.assert_array_equal(picture.pixels_HWC3, np.broadcast_to(samples, photo16.shape))


def test_restore_stamps_strips_and_says(tmp_path: Path, crop: Array, cli: Callable[..., tuple[int, str, str]]) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    Image.fromarray(crop).save(tmp_path / "a.jpg", quality=95, exif=exif, xmp=XMP, dpi=(300, 300), icc_profile=profile)
    code, _, stderr = cli("restore", tmp_path / "a.jpg", "-o", tmp_path / "out", "--stamp", "--strip-gps",
                          "--strength", "50", "--strength", "haze=0", "--no-report")  # fmt: skip
    assert code == 0, stderr
    record = json.loads((tmp_path / "out" / "a.diagnosis.json").read_text())
    asked = record["request"]
    assert asked["stamp"] and asked["strip_gps"] and asked["strength"]["haze"] == 0 and asked["strength"]["noise"] == 50
    with Image.open(tmp_path / "out" / "a.jpg") as image:
        assert b"urn:reason-and-restore:record:1" in image.info["xmp"] and RATING in image.info["xmp"]
        assert image.info["dpi"] == (300, 300) and image.info["icc_profile"] == profile
        assert not image.getexif().get_ifd(0x8825)
    legs = record["restoration"]["legs"]
    assert legs and all(leg["dose"] <= 0.5 and leg["kinds"] != ["haze"] for leg in legs)


def test_a_record_names_what_the_restorer_computed_in(
    tmp_path: Path, crop: Array, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(crop).save(tmp_path / "a.png")
    asked = ("restore", tmp_path / "a.png", "-o", tmp_path / "out", "--no-report", "--device", "cpu", "--dtype")
    monkeypatch.setattr("rnr.training.precision.has_bf16", lambda: False)
    code, _, stderr = cli(*asked, "bf16")
    assert code == 0 and "neither AVX512-BF16 nor AMX" in stderr
    record = json.loads((tmp_path / "out" / "a.diagnosis.json").read_text())
    assert record["restoration"]["dtype"] == "bfloat16" and record["request"]["dtype"] == "bf16"
    code, _, stderr = cli(*asked, "half")
    assert code == 2 and "--dtype is float32 or bf16, not half" in stderr


def test_strength_0_gives_the_same_pixels_back(
    tmp_path: Path, crop: Array, cli: Callable[..., Any], models: Any
) -> None:
    import rnr

    Image.fromarray(crop).save(tmp_path / "a.jpg", quality=95)
    assert cli("restore", tmp_path / "a.jpg", "-o", tmp_path / "out", "--strength", "0", "--no-report")[0] == 0
    assert (tmp_path / "out" / "a.jpg").read_bytes() == (tmp_path / "a.jpg").read_bytes()
    record = json.loads((tmp_path / "out" / "a.diagnosis.json").read_text())
    assert record["untouched"] and record["explanation"] == "strength 0, left as it is"
    result = rnr.restore(crop, strength=0, device="cpu")
    np.testing.assert_array_equal(result.pixels_HWC3, crop)
    for bad in ("101", "-1", "nan", "haze=x", "fog=3"):
        assert cli("restore", tmp_path / "a.jpg", "-o", tmp_path / "bad", "--strength", bad)[0] == 2
