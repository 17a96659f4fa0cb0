"""Files with several pictures: what is read, what is written, what a batch makes of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, MpoImagePlugin

from rnr.images.files import Picture, PictureError
from rnr.images.frames import Frames, copy_picture, joined_jpegs, read_frames, write_frames
from rnr.images.metadata import Extras
from tests.rnr.conftest import chunk, noisy, png16

Array = np.ndarray
Cli = Callable[..., tuple[int, str, str]]
TIMES = [40, 250, 90]


def shifted(photo: Array, count: int = 3) -> list[Array]:
    return [np.ascontiguousarray(np.roll(photo, 20 * number, axis=1)) for number in range(count)]


def animation(path: Path, frames: list[Array], **options: Any) -> Path:
    first, *rest = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=rest, duration=TIMES[: len(frames)], **options)
    return path


def through(source: Path, path: Path) -> tuple[Frames, Frames]:
    """A file's pictures, and those of what is written of them."""
    frames = read_frames(source)
    write_frames(frames, path)
    return frames, read_frames(path)


@pytest.mark.parametrize(
    ("name", "out", "options", "error"),
    [
        ("a.png", "b.png", {"loop": 3}, 0),
        ("a.gif", "b.png", {"loop": 2}, 0),
        ("a.gif", "b.png", {}, 0),
        ("a.webp", "b.webp", {"loop": 3, "lossless": True}, 0),
        ("a.avif", "b.avif", {"quality": 95, "subsampling": "4:4:4"}, 2),
    ],
)
def test_an_animation_keeps_frames_durations_and_repetitions(
    tmp_path: Path, photo: Array, name: str, out: str, options: dict[str, Any], error: float
) -> None:
    source = animation(tmp_path / name, shifted(photo), **options)
    frames, again = through(source, tmp_path / out)
    assert frames.animated and len(again.pictures) == 3 and list(again.durations) == list(frames.durations) == TIMES
    assert frames.words(2) == "frame 2 of 3" and not any("is used" in note for note in frames.first.note)
    wanted = {"a.gif": 3 if options else 1, "a.avif": 0}.get(name, 3)  # a GIF says how often again
    assert (frames.plays, again.plays) == (wanted, wanted)
    for one, other, true in zip(frames.pictures, again.pictures, shifted(photo)):
        assert np.abs(one.pixels_HWC3.astype(int) - other.pixels_HWC3).mean() <= error
        assert np.abs(one.pixels_HWC3.astype(int) - true).mean() < 8  # GIF has 256 colours


def test_transparent_frames_and_frames_of_another_kind(tmp_path: Path, photo: Array, alpha: Array) -> None:
    clear = [np.dstack([frame, np.where(alpha > 99, 255, 0).astype(np.uint8)]) for frame in shifted(photo)]
    frames, again = through(animation(tmp_path / "a.png", clear), tmp_path / "b.png")
    for one, other in zip(frames.pictures, again.pictures):
        np.testing.assert_array_equal(one.alpha_HW, other.alpha_HW)
        np.testing.assert_array_equal(one.pixels_HWC3[alpha > 99], other.pixels_HWC3[alpha > 99])
    grey = Picture(photo, mode="L")
    coloured = Picture(photo, alpha, mode="RGBA")
    write_frames(Frames([grey, coloured], True, (50, 60)), tmp_path / "mixed.png")
    first, second = read_frames(tmp_path / "mixed.png").pictures
    np.testing.assert_array_equal(first.pixels_HWC3, photo)
    assert (first.alpha_HW == 255).all()  # type: ignore[union-attr]
    np.testing.assert_array_equal(second.alpha_HW, alpha)


def test_a_still_image_beside_an_animation_stays_beside_it(tmp_path: Path, photo: Array) -> None:
    first, *rest = map(Image.fromarray, shifted(photo))
    first.save(tmp_path / "a.png", save_all=True, default_image=True, append_images=rest, duration=[70, 80])
    frames, again = through(tmp_path / "a.png", tmp_path / "b.png")
    assert frames.still and again.still and list(again.durations) == [0, 70, 80]
    for one, other in zip(again.pictures, shifted(photo)):
        np.testing.assert_array_equal(one.pixels_HWC3, other)


def test_pages_keep_depth_size_and_what_they_carry(tmp_path: Path, photo: Array, photo16: Array) -> None:
    pages = [
        Picture(photo16, mode="RGB;16", extras=Extras(dpi=(300.0, 300.0))),
        Picture(np.ascontiguousarray(photo[:50, :, :1].repeat(3, axis=2)), mode="L", extras=Extras(dpi=(72.0, 72.0))),
        Picture(photo, photo[..., 0], mode="RGBA"),
    ]
    write_frames(Frames(pages), tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:  # another reader
        shapes = [(page.shape, page.dtype) for page in file.pages]
    assert shapes == [(photo16.shape, "uint16"), ((50, photo.shape[1]), "uint8"), ((*photo.shape[:2], 4), "uint8")]
    back = read_frames(tmp_path / "a.tif")
    assert not back.animated and back.words(3) == "page 3 of 3" and back.durations == ()
    for one, other in zip(pages, back.pictures, strict=True):
        np.testing.assert_array_equal(one.pixels_HWC3, other.pixels_HWC3)
        assert one.extras.dpi == other.extras.dpi
    np.testing.assert_array_equal(pages[2].alpha_HW, back.pictures[2].alpha_HW)


def test_sixteen_bits_of_every_page_turned_upright(tmp_path: Path, photo16: Array) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for turn in (1, 6):
            turned = photo16 if turn == 1 else np.rot90(photo16)
            writer.write(turned, photometric="rgb", metadata=None, extratags=[(274, "H", 1, turn, False)])
    for picture in read_frames(tmp_path / "a.tif").pictures:
        np.testing.assert_array_equal(picture.pixels_HWC3, photo16)


def test_reduced_copies_are_no_pages(tmp_path: Path, photo: Array) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(photo, photometric="rgb", metadata=None)
        writer.write(np.ascontiguousarray(photo[::2, ::2]), photometric="rgb", subfiletype=1, metadata=None)
    frames = read_frames(tmp_path / "a.tif")
    assert len(frames.pictures) == 1 and frames.words(1) == ""
    assert frames.first.note == ["smaller copies in the file (previews, gain maps, masks): 1 left out"]


def jpeg(pixels: Array, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def test_pictures_of_an_mpo(tmp_path: Path, photo: Array) -> None:
    exif = Image.Exif()
    exif[0x010E] = "left eye"
    parts = [jpeg(photo, exif=exif, comment=b"a comment"), jpeg(255 - photo), jpeg(photo[::2, ::2])]
    (tmp_path / "a.jpg").write_bytes(joined_jpegs(parts))
    with Image.open(tmp_path / "a.jpg") as image:
        assert isinstance(image, MpoImagePlugin.MpoImageFile) and image.n_frames == 3
    frames, again = through(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert frames.first.note == ["smaller copies in the file (previews, gain maps, masks): 1 left out"]
    assert len(again.pictures) == 2 and not again.animated
    for picture, true in zip(again.pictures, (photo, 255 - photo)):
        assert np.abs(picture.pixels_HWC3.astype(int) - true).mean() < 4
    assert b"left eye" in (again.first.exif or b"") and again.first.extras.comment == b"a comment"


def test_positions_leave_every_picture_of_an_mpo_in_its_place(tmp_path: Path, photo: Array) -> None:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    (tmp_path / "a.jpg").write_bytes(joined_jpegs([jpeg(photo, exif=exif), jpeg(255 - photo, exif=exif)]))
    copy_picture(tmp_path / "a.jpg", tmp_path / "b.jpg", strip_gps=True)
    before, after = read_frames(tmp_path / "a.jpg").pictures, read_frames(tmp_path / "b.jpg").pictures
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.pixels_HWC3, other.pixels_HWC3)
        assert one.has_gps and not other.has_gps


def test_a_copy_without_positions_keeps_all_pages_and_what_has_none_keeps_its_bytes(
    tmp_path: Path, photo: Array
) -> None:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    first, *rest = map(Image.fromarray, shifted(photo))
    first.save(tmp_path / "a.webp", save_all=True, append_images=rest, duration=TIMES, lossless=True, exif=exif)
    copied = read_frames(copy_picture(tmp_path / "a.webp", tmp_path / "b.webp", strip_gps=True))
    assert len(copied.pictures) == 3 and not copied.first.has_gps and list(copied.durations) == TIMES
    source = animation(tmp_path / "a.gif", shifted(photo))
    assert copy_picture(source, tmp_path / "b.gif", strip_gps=True).read_bytes() == source.read_bytes()


def test_the_bound_is_of_all_pictures_and_tiny_ones_count(tmp_path: Path, photo: Array) -> None:
    source = animation(tmp_path / "a.gif", shifted(photo))  # 3 of 80 x 120
    with pytest.raises(PictureError, match=r"3 pages or frames have more than the 0.02 megapixels.*--frames first"):
        read_frames(source, 0.02)
    assert len(read_frames(source, 0.04).pictures) == 3
    assert len(read_frames(source, 0.02, "first").pictures) == 1


def test_a_damaged_page_is_named(tmp_path: Path, photo: Array) -> None:
    source = animation(tmp_path / "a.webp", shifted(photo), lossless=True)
    whole = animation(tmp_path / "a.png", shifted(photo)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) * 3 // 5])
    with pytest.raises(PictureError, match=r"page or frame 2: .*--frames first"):
        read_frames(tmp_path / "cut.png")
    assert len(read_frames(tmp_path / "cut.png", which="first").pictures) == 1
    with pytest.raises(PictureError):
        write_frames(read_frames(source), source)  # exists


@pytest.fixture
def scans(tmp_path: Path, crop: Array, photographs: dict[str, Array]) -> Path:
    """A TIFF of two noisy pages and a clean one between them, and an animation."""
    small = [crop[:96, :96], photographs["astronaut"][60:156, 160:256], noisy(photographs["coffee"][100:196, 200:296])]
    (tmp_path / "in").mkdir()
    pages = [Picture(np.ascontiguousarray(page)) for page in small]
    write_frames(Frames(pages), tmp_path / "in" / "scan.tif")
    animation(tmp_path / "in" / "moving.gif", [small[0], np.ascontiguousarray(small[0][:, ::-1])], loop=0)
    return tmp_path


def test_restore_takes_all_pages_and_frames(scans: Path, cli: Cli) -> None:
    command = ["restore", scans / "in", "--device", "cpu", "--only", "noise", "-o"]
    code, _, stderr = cli(*command, scans / "out", "--stamp")
    assert code == 0 and "is used" not in stderr, stderr
    before, after = (read_frames(scans / folder / "scan.tif").pictures for folder in ("in", "out"))
    moved = [not np.array_equal(a.pixels_HWC3, b.pixels_HWC3) for a, b in zip(before, after, strict=True)]
    record = json.loads((scans / "out" / "scan.diagnosis.json").read_text())
    assert moved[0] and moved[2] and [not each["untouched"] for each in record["frames"]] == moved
    assert record["source"]["frames"] == 3 and not record["source"]["animated"]
    assert record["frames"][0]["before"] == record["before"]["diagnosis"]
    assert b"urn:reason-and-restore:record:1" in after[0].extras.xmp
    assert "3 pages" in (scans / "out" / "report.html").read_text()
    moving = read_frames(scans / "out" / "moving.png")
    assert moving.animated and list(moving.durations) == TIMES[:2] and moving.plays == 0
    record = json.loads((scans / "out" / "moving.diagnosis.json").read_text())
    assert record["frames"][1]["before"] == record["frames"][0]["before"]  # the first one's: no flicker
    code, stdout, _ = cli(*command, scans / "out", "--stamp", "--resume")
    assert code == 0 and "2 of them before" in stdout


def test_restore_takes_the_first_where_that_is_asked_and_says_so(scans: Path, cli: Cli, nothing_found: Path) -> None:
    source = scans / "in" / "scan.tif"
    code, _, stderr = cli("restore", source, "-o", scans / "out", "--only", "noise", "--frames", "first", "--no-report")
    assert code == 0 and "scan.tif: several pages: only the first is used" in stderr
    assert len(read_frames(scans / "out" / "scan.tif").pictures) == 1
    record = json.loads((scans / "out" / "scan.diagnosis.json").read_text())
    assert record["request"]["frames"] == "first" and "frames" not in record
    code, _, stderr = cli("restore", source, "-o", scans / "out", "--only", "noise", "--resume", "--no-report")
    assert code == 1 and "restored with other settings" in stderr
    code, _, _ = cli("restore", scans / "in", "-o", scans / "same", "--diagnosis", nothing_found, "--no-report")
    for name in ("scan.tif", "moving.gif"):
        assert (scans / "same" / name).read_bytes() == (scans / "in" / name).read_bytes()


def test_diagnose_says_which_page(scans: Path, cli: Cli) -> None:
    code, stdout, _ = cli("diagnose", scans / "in" / "scan.tif", "--jsonl")
    rows = [json.loads(line) for line in stdout.splitlines()]
    assert code == 0 and [row["frame"] for row in rows] == [1, 2, 3]
    assert rows[0]["beliefs"]["noise"]["probability"] > 0.9 > rows[1]["beliefs"]["noise"]["probability"]
    assert "page 2 of 3" in " ".join(cli("diagnose", scans / "in" / "scan.tif")[1].split())  # a narrow terminal
    code, stdout, stderr = cli("diagnose", scans / "in" / "scan.tif", "--jsonl", "--frames", "first")
    assert len(stdout.splitlines()) == 1 and "only the first is used" in stderr


def test_the_animation_of_a_16_bit_png_is_said_to_be_left_out(tmp_path: Path, photo16: Array) -> None:
    data = png16(tmp_path / "a.png", photo16).read_bytes()
    head = data.index(b"IDAT") - 4
    control = chunk(b"acTL", (2).to_bytes(4, "big") + bytes(4))
    (tmp_path / "b.png").write_bytes(data[:head] + control + data[head:])
    frames = read_frames(tmp_path / "b.png")
    assert len(frames.pictures) == 1 and frames.first.bit_depth == 16
    assert any("only the first frame is used" in note for note in frames.first.note)
    np.testing.assert_array_equal(frames.first.pixels_HWC3, photo16)
