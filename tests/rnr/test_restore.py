"""`rnr restore`: one real run over a folder with good and broken pictures, and what later runs make of its results."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.images.files import read_picture

from .conftest import CHECKOUT, Run, expected

GOOD = {  # and their records: two that would share one keep their suffix
    "a.jpg": "a.jpg.diagnosis.json",
    "a.png": "a.png.diagnosis.json",
    "sub/a.png": "sub/a.diagnosis.json",
    "deep.png": "deep.diagnosis.json",
    "see-through.png": "see-through.diagnosis.json",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_broken_ones_fail_and_the_rest_is_done(batch: Run):
    assert batch.process.returncode == 1, batch.process.stderr
    assert {name for name in contents(batch.out) if name.endswith((".png", ".jpg"))} == set(GOOD)
    assert "5 restored, 4 failed" in batch.process.stdout
    assert str(batch.out / "report.html") in batch.process.stdout


def test_every_error_names_file_and_remedy(batch: Run):
    for name, remedy in {
        "empty.png": "the file is empty; copy it again",
        "text.jpg": "not a picture of a known format; leave it out",
        "cut.png": "damaged or cut short",
        "missing.png": "no such file; check the spelling",
    }.items():
        assert any(name in line and remedy in line for line in batch.process.stderr.splitlines()), name


def test_nothing_else_is_left_behind(batch: Run):
    assert set(contents(batch.out)) == {*GOOD, *GOOD.values(), "report.html"}


def test_records_are_complete(batch: Run):
    for name, record in GOOD.items():
        data = json.loads((batch.out / record).read_text())
        before, after = (DiagnosisRecord.model_validate(data[side]) for side in ("before", "after"))
        assert before.diagnosis and "noise" in before.diagnosis.present
        assert expected(after, "noise") < expected(before, "noise")
        assert data["output"] == Path(name).name
        assert {"model", "model_hash", "seed", "seconds"} <= set(data["restoration"])
        assert data["versions"]["diagnosis_schema"] == "1"


def test_depth_alpha_and_exif_stay(batch: Run, crop: np.ndarray):
    deep = read_picture(batch.out / "deep.png")
    assert deep.bit_depth == 16 and len(np.unique(deep.pixels_HWC3 & 255)) > 200, "all 16 bits are in use"
    alpha = read_picture(batch.out / "see-through.png").alpha_HW
    assert alpha is not None and np.array_equal(alpha, crop[..., 0])
    assert Image.open(batch.out / "a.jpg").getexif()[0x010E] == "a description"


def test_what_exists_is_refused(batch: Run, cli):
    before = contents(batch.out)
    code, stdout, stderr = cli("restore", batch.folder, "-r", "-o", batch.out, "--no-report")
    assert code == 1 and stderr.count("already exists") == 5 and "--skip-existing" in stderr
    assert contents(batch.out) == before


def test_a_finished_batch_goes_on_without_work(batch: Run, cli, tmp_path: Path):
    out = shutil.copytree(batch.out, tmp_path / "out")  # its report is written again
    before = contents(out)
    code, stdout, _ = cli("restore", batch.folder, "-r", "-o", out, "--skip-existing")
    assert code == 1 and "5 restored, 3 failed (5 of them before)" in stdout
    after = contents(out)
    assert after.pop("report.html").count(b"<article") == 8
    before.pop("report.html")
    assert after == before


def test_other_settings_are_not_taken_for_the_same(batch: Run, cli):
    code, _, stderr = cli("restore", batch.folder / "a.jpg", "-o", batch.out, "--resume", "--steps", 2, "--no-report")
    assert code == 1 and "restored with other settings" in stderr


def test_a_picture_that_changed_is_not_taken_for_the_same(cli, tmp_path: Path, crop: np.ndarray, nothing_found: Path):
    command = "restore", tmp_path / "a.jpg", "-o", tmp_path / "out", "--diagnosis", nothing_found, "--no-report"
    Image.fromarray(crop).save(tmp_path / "a.jpg")
    assert cli(*command)[0] == 0
    Image.new("RGB", (64, 64)).save(tmp_path / "a.jpg")
    code, _, stderr = cli(*command, "--skip-existing")
    assert code == 1 and "not a result of this picture" in stderr


def test_an_edited_diagnosis_steers(batch: Run, cli, tmp_path: Path):
    """Take the noise out of the first diagnosis: it stays in the picture, which is then the very same file."""
    data = json.loads((batch.out / "a.jpg.diagnosis.json").read_text())
    diagnosis = data["before"]["diagnosis"]
    for finding in diagnosis["findings"].values():
        finding.update(present=False, severity=0, factors={})
    diagnosis["plan"] = []
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(data))
    code, stdout, _ = cli("restore", batch.folder / "a.jpg", "-o", tmp_path / "out", "--diagnosis", edited)
    assert code == 0 and "1 left as found" in stdout
    assert (tmp_path / "out" / "a.jpg").read_bytes() == (batch.folder / "a.jpg").read_bytes()
    written = json.loads((tmp_path / "out" / "a.diagnosis.json").read_text())
    assert written["untouched"] and Diagnosis.model_validate(written["before"]["diagnosis"]).present == []
    assert "given by edited.json" in (tmp_path / "out" / "report.html").read_text()


def test_originals_are_never_replaced(batch: Run, cli, tmp_path: Path):
    before = contents(batch.folder / "sub")
    code, _, stderr = cli("restore", batch.folder / "sub" / "a.png", "-o", batch.folder / "sub", "--overwrite")
    assert code == 1 and "take the place of an original" in stderr
    (batch.folder / "sub" / "report.html").unlink()
    assert contents(batch.folder / "sub") == before


def test_a_full_disk_leaves_no_halves(batch: Run, cli, tmp_path: Path, nothing_found: Path):
    """A limit on the size of files stands for the disk: the record fits, the picture does not."""
    out = tmp_path / "out"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        code, _, stderr = cli("restore", batch.folder / "a.png", "-o", out, "--diagnosis", nothing_found, "--no-report")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 1 and "larger than files may be here" in stderr
    assert list(out.iterdir()) == []


def test_ctrl_c_leaves_whole_results_and_a_report(crop: np.ndarray, nothing_found: Path, tmp_path: Path):
    (tmp_path / "in").mkdir()
    for number in range(200):
        Image.fromarray(np.roll(crop, number, 1)).save(tmp_path / "in" / f"{number:03}.png", compress_level=1)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "rnr", "restore", str(tmp_path / "in"), "-o", str(out)]
    process = subprocess.Popen(
        [*command, "--diagnosis", str(nothing_found)], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    for _ in range(6000):  # a busy machine takes its time to load the models
        if out.is_dir() and len(list(out.glob("*.png"))) >= 3:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stdout.startswith("Interrupted: ") and "interrupted before the end" in (out / "report.html").read_text()
    pictures = {path.stem for path in out.glob("*.png")}
    assert 3 <= len(pictures) < 200
    assert {path.name.removesuffix(".diagnosis.json") for path in out.glob("*.json")} == pictures
    assert f"{len(pictures)} left as found" in stdout
    assert len(list(out.iterdir())) == 2 * len(pictures) + 1
