"""Files that are not read: counted, named by kind, and part of the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from rnr.images.skipped import problems, summary

Cli = Callable[..., tuple[int, str, str]]
NAMES = ["a.jxl", "b.HEIC", "c.jxl", "notes.txt", "raw.NEF", "scan"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("rnr.images.codecs.reads", lambda format: format not in ("HEIF", "JXL"))
    for name in NAMES:
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).touch()
    Image.new("RGB", (64, 64)).save(tmp_path / "in" / "one.bmp")
    return tmp_path


def test_each_kind_is_counted_and_has_its_remedy() -> None:
    paths = [Path(name) for name in NAMES]
    assert summary(paths) == "6 files skipped: heic 1, jxl 2, nef 1, no suffix 1, txt 1"
    assert summary([]) == "" and summary(paths[:1]) == "1 file skipped: jxl 1"
    reported = {Path(each.file).name: each.remedy for each in problems(paths)}
    assert set(reported) == set(NAMES) - {"notes.txt"}  # what lies beside pictures is no failure
    assert "pip install -e '.[heif]'" in reported["b.HEIC"] and "16-bit TIFF" in reported["raw.NEF"]


def test_restore_says_what_it_did_not_read(folder: Path, cli: Cli, nothing_found: Path) -> None:
    command = ["restore", folder / "in", "-o", folder / "out", "--diagnosis", nothing_found]
    code, stdout, stderr = cli(*command)
    assert code == 1 and "1 left as found, 5 skipped" in stdout
    assert "6 files skipped: heic 1, jxl 2, nef 1, no suffix 1, txt 1" in stderr
    assert "skipped: jxl is not read" in (folder / "out" / "report.html").read_text()
    code, stdout, stderr = cli(*command, "--resume", "--skip-unreadable")
    assert code == 0 and "skipped" not in stdout and "6 files skipped" in stderr


def test_diagnose_has_a_row_for_each(folder: Path, cli: Cli) -> None:
    code, stdout, stderr = cli("diagnose", folder / "in", "--json")
    rows = {Path(row["file"]).name: row["error"] for row in json.loads(stdout)}
    assert code == 1 and set(rows) == {"one.bmp", *NAMES} - {"notes.txt"} and rows["a.jxl"].startswith("skipped: jxl")
    assert "6 files skipped" in stderr
    code, stdout, _ = cli("diagnose", folder / "in", "--json", "--skip-unreadable")
    assert code == 0 and [Path(row["file"]).name for row in json.loads(stdout)] == ["one.bmp"]


def test_frames_that_are_not_used_are_named(tmp_path: Path, cli: Cli, nothing_found: Path) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "x.tif", save_all=True, append_images=frames[1:])
    first = ["--frames", "first"]
    _, _, stderr = cli("restore", tmp_path / "x.tif", "-o", tmp_path / "out", "--diagnosis", nothing_found, *first)
    assert "x.tif: several pages: only the first is used" in stderr
    assert "x.tif: several pages: only the first is used" in cli("diagnose", tmp_path / "x.tif", "--json", *first)[2]
