"""Names, what may be written where, and that a record and its picture come together or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.images.files import Picture, PictureError
from rnr.work.naming import plan
from rnr.work.outputs import Job, Shelf, digest, leave_out, prepare_folder, record_beside


@pytest.mark.parametrize(
    ("source", "format", "copied", "name"),
    [
        ("x.jpeg", "JPEG", False, "x.jpeg"),
        ("x.TIFF", "TIFF", False, "x.TIFF"),
        ("x.png", "JPEG", False, "x.jpg"),  # named wrongly: the content decides
        ("x", "WEBP", False, "x.webp"),
        ("x.gif", "GIF", False, "x.png"),  # 256 colours could not hold the result
        ("x.gif", "GIF", True, "x.gif"),
        ("x.tar.png", "PNG", False, "x.tar.png"),
        ("x.heic", "HEIF", False, "x.png"),  # it is only read
        ("x.heic", "HEIF", True, "x.heic"),
        ("x.jxl", "JXL", False, "x.png"),
        ("x.avif", "AVIF", False, "x.avif"),
    ],
)
def test_suffix_follows_the_format(source: str, format: str, copied: bool, name: str):
    import numpy as np

    picture = Picture(np.zeros((1, 1, 3), np.uint8), format=format)
    (job,) = plan([Path(source)])
    assert job.picture(Path("out"), picture, copied) == Path("out") / name


def test_file_names_are_fit_to_be_seen():
    assert printable("a\nb\x1b[31m\u202e.png") == "a�b�[31m�.png"
    assert printable(os.fsdecode(b"caf\xe9.png")) == "caf�.png"
    assert printable(Path("naïve 写真.png")) == "naïve 写真.png"


def test_earlier_results_are_no_input(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    inside, outside = out / "x.png", tmp_path / "y.png"
    assert leave_out([inside, outside], [str(tmp_path)], out) == [outside]
    inside.touch()
    assert leave_out([inside, outside], [str(tmp_path), str(inside)], out) == [inside, outside]


def test_a_folder_is_tried_before_the_work(tmp_path: Path):
    prepare_folder(tmp_path / "new" / "folder", [])
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="is a file"):
        prepare_folder(tmp_path / "file", [])
    with pytest.raises(SetupError, match="names a folder, not a picture"):
        prepare_folder(tmp_path / "x.PNG", [])


def test_too_little_room_is_told_before_the_work(tmp_path: Path):
    """A sparse file: larger than any disk, yet takes no room."""
    huge = tmp_path / "huge.tif"
    with huge.open("wb") as file:
        try:
            file.truncate(1 << 40)
        except OSError:
            pytest.skip("this file system has no files of 1 TB")
    with pytest.raises(SetupError, match="MB are free"):
        prepare_folder(tmp_path / "out", [huge] * 1000)


def shelf_with(tmp_path: Path, **record: object) -> tuple[Job, Shelf]:
    out, source = tmp_path / "out", tmp_path / "x.png"
    out.mkdir()
    source.write_bytes(b"picture")
    (out / "x.png").touch()
    data = {"source": {"sha256": digest(source)}, "request": {"steps": 1}, "output": "x.png"} | record
    (out / "x.diagnosis.json").write_text(json.dumps(data))
    job = Job(source, "x")
    return job, Shelf(out, [job])


def test_what_is_done_is_done(tmp_path: Path):
    job, shelf = shelf_with(tmp_path)
    data = shelf.finished(job, "skip", {"steps": 1})
    assert data and data["output"] == "x.png"
    assert shelf.finished(job, "overwrite", {"steps": 1}) is None
    assert shelf.finished(Job(job.source, "other"), "refuse", {}) is None
    with pytest.raises(PictureError, match="already exists; "):
        shelf.finished(job, "refuse", {"steps": 1})
    with pytest.raises(PictureError, match="other settings"):
        shelf.finished(job, "skip", {"steps": 2})


def test_a_record_without_its_picture_is_work_to_do(tmp_path: Path):
    job, shelf = shelf_with(tmp_path)
    (tmp_path / "out" / "x.png").unlink()
    assert shelf.finished(job, "skip", {"steps": 1}) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"source": {"sha256": "0"}}'])
def test_a_picture_of_somebody_else_is_not_touched(tmp_path: Path, text: str):
    job, shelf = shelf_with(tmp_path)
    (tmp_path / "out" / "x.diagnosis.json").write_text(text)
    with pytest.raises(PictureError, match="not a result of this picture"):
        shelf.finished(job, "skip", {"steps": 1})


def test_record_and_picture_come_together(tmp_path: Path):
    path = tmp_path / "x.diagnosis.json"
    with pytest.raises(KeyboardInterrupt), record_beside(path, {"new": 1}):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with record_beside(path, {"new": 1}):
        pass
    first = path.read_text()
    with pytest.raises(OSError), record_beside(path, {"newer": 2}):
        raise OSError("disk full")
    assert path.read_text() == first and list(tmp_path.iterdir()) == [path]


def test_a_page_links_to_a_record_by_any_name(tmp_path: Path) -> None:
    from urllib.parse import unquote

    for name in ("a b#c?", "a:b", "sub/50%", "\udcff"):
        job = Job(Path("x.png"), name)
        assert job.link.startswith("./") and not set(job.link) & set("#? :")
        assert tmp_path / unquote(job.link, errors="surrogateescape") == job.record(tmp_path)
