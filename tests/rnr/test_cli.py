"""The other commands, wrong usage, and that help costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rnr.degradation.diagnosis import Diagnosis
from rnr.work.request import read_diagnosis

from .conftest import CHECKOUT, HEAVY, Run


@pytest.mark.parametrize("arguments", [["--help"], ["restore", "--help"], ["train", "--help"], ["bench", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]):
    code = f"""
import sys
from rnr.app.cli import app
try:
    app({arguments!r})
finally:
    print("HEAVY", [name for name in {HEAVY!r} if name in sys.modules])
"""
    process = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert process.returncode == 0 and "Usage" in process.stdout, process.stderr
    assert "HEAVY []" in process.stdout


def test_import_rnr_loads_no_torch():
    code = "import rnr, sys; rnr.PictureError; rnr.restore; print('torch' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert process.stdout == "False\n", process.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["restore"], "images"),
        (["restore", "a.png"], "--out"),
        (["restore", "a.png", "-o", "OUT", "--num-inference-steps", "101"], "--num-inference-steps"),
        (["restore", "a.png", "-o", "OUT", "--num-inference-steps", "0"], "--num-inference-steps"),
        (["restore", "a.png", "-o", "OUT", "--steps", "101"], "--steps is called --num-inference-steps now"),
        (["restore", "a.png", "-o", "OUT", "--seed", "-1"], "--seed"),
        (["restore", "a.png", "-o", "OUT", "--quality", "101"], "a quality lies in 0..100, not 101"),
        (["restore", "PICTURE", "-o", "OUT", "--quality", "90"], "has no dial of quality; leave out --quality"),
        (["restore", "PICTURE", "-o", "OUT", "--task", "reading"], "has no prompts of tasks; leave out --task"),
        (["restore", "a.png", "-o", "OUT", "--only", "fog"], "unknown kind of degradation 'fog'; known: "),
        (["restore", "a.png", "-o", "OUT", "--overwrite", "--resume"], "exclude each other"),
        (["restore", "a.png", "-o", "OUT", "--diagnosis", "no.json"], "no.json: cannot be read"),
        (["restore", "PICTURE", "-o", "OUT/x.png"], "-o names a folder"),
        (["restore", "PICTURE", "-o", "/proc/out"], "cannot write here"),
        (["restore", "PICTURE", "-o", "PICTURE/out"], "cannot write here"),
        (["restore", "PICTURE", "-o", "OUT", "--reasoner", "OUT"], "no weights here"),
        (["restore", "PICTURE", "-o", "OUT", "--restorer", "OUT"], "cannot load a restorer"),
        (["restore", "PICTURE", "-o", "OUT", "--device", "nowhere"], "device 'nowhere' cannot be used"),
        (["diagnose", "a.png", "--json", "--jsonl"], "exclude each other"),
        (["degrade", "PICTURE", "-o", "OUT"], "--set"),
        (["degrade", "PICTURE", "-o", "OUT", "--set", "haze"], "write --set KIND=SEVERITY"),
        (["degrade", "PICTURE", "-o", "OUT", "--set", "fog=3"], "unknown kind of degradation 'fog'"),
        (["degrade", "PICTURE", "-o", "OUT", "--set", "noise=101"], "must lie in 1.."),
        (["degrade", "PICTURE", "-o", "OUT", "--set", "noise=9", "--set", "noise=8"], "set twice"),
        (["train", "restorer", "--images", "OUT", "-o", "OUT/t"], "no photographs here"),
        (["paint"], "No such command"),
    ],
)
def test_wrong_usage_is_2(cli, tmp_path: Path, crop: np.ndarray, arguments: list[str], problem: str):
    Image.fromarray(crop).save(tmp_path / "picture.png")
    (tmp_path / "out").mkdir()
    places = {"PICTURE": str(tmp_path / "picture.png"), "OUT": str(tmp_path / "out")}
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
    code, stdout, stderr = cli(*arguments)
    assert code == 2 and problem in " ".join(stderr.split()), stderr
    assert stdout == "" and list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        ({"schema_version": "99"}, "schema version '99'"),
        ({"findings": {"fog": {"present": False, "severity": 0}}}, "unknown kind 'fog'"),
        ({"findings": {"noise": {"present": True, "severity": 0}}}, "severity is 0 if and only if not present"),
        ({"findings": {"noise": {"present": True, "severity": 999}}}, "findings.noise.severity"),
        ({"plan": ["haze"]}, "plan names haze"),
        ({"nonsense": 1}, "nonsense"),
        ([], "holds 0 diagnoses"),
        ("{", "not JSON"),
        (b"\xff\xfe", "not JSON text"),
    ],
)
def test_a_diagnosis_edited_into_nonsense_is_2(cli, tmp_path: Path, edit: object, problem: str):
    path = tmp_path / "edited.json"
    if isinstance(edit, dict):
        edit = {"findings": {"noise": {"present": False, "severity": 0}}, **edit}
    text = edit if isinstance(edit, str | bytes) else json.dumps(edit)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, _, stderr = cli("restore", "a.png", "-o", tmp_path / "out", "--diagnosis", path)
    assert code == 2 and problem in stderr and str(path) in stderr


def test_diagnose_as_json_is_all_that_stdout_holds(batch: Run, cli, tmp_path: Path):
    """And what it prints for one picture can be given back to `restore`."""
    code, stdout, _ = cli("diagnose", batch.folder / "a.png", "--json", "--device", "cpu")
    assert code == 0
    (row,) = json.loads(stdout)
    assert row["file"] == str(batch.folder / "a.png") and row["beliefs"]["noise"]["probability"] > 0.5
    given = tmp_path / "given.json"
    given.write_text(stdout)
    assert read_diagnosis(given) == Diagnosis.model_validate(row["diagnosis"])


def test_diagnose_as_lines_goes_on_after_a_failure(batch: Run, cli):
    code, stdout, stderr = cli("diagnose", batch.folder / "a.png", batch.folder / "empty.png", "--jsonl")
    good, bad = (json.loads(line) for line in stdout.splitlines())
    assert code == 1 and "the file is empty" in stderr
    assert Diagnosis.from_json(json.dumps(good)).state("noise") == "present"
    assert bad["diagnosis"] is None and "the file is empty" in bad["error"]


def test_diagnose_for_people(batch: Run, cli):
    code, stdout, _ = cli("diagnose", batch.folder / "a.png")
    words = " ".join(stdout.split())
    assert code == 0 and "noise present" in words and "fine residual" in words and "plan: " in words


def test_degrade_refuses_what_is_too_small_to_measure(cli, tmp_path: Path):
    Image.fromarray(np.zeros((1, 40, 3), np.uint8)).save(tmp_path / "line.png")
    code, _, stderr = cli("degrade", tmp_path / "line.png", "-o", tmp_path / "out", "--set", "noise=30")
    assert code == 1 and "line.png: 40 x 1 px are too few" in stderr


def test_degrade_writes_the_truth(cli, batch: Run, tmp_path: Path, photographs: dict[str, np.ndarray]):
    Image.fromarray(photographs["coffee"][100:260, 200:392]).save(tmp_path / "clean.jpg", quality=98)
    arguments = ("degrade", tmp_path / "clean.jpg", "--set", "haze=50", "--set", "noise=30", "--seed", 4)
    code, stdout, _ = cli(*arguments, "-o", tmp_path / "out")
    assert code == 0 and stdout == f"{tmp_path / 'out' / 'clean.png'}: noise 30, haze 50\n"
    truth = Diagnosis.read(tmp_path / "out" / "clean.diagnosis.json")
    assert truth.present == ["noise", "haze"] and truth.findings["haze"].severity == 50
    first = (tmp_path / "out" / "clean.png").read_bytes()
    assert cli(*arguments, "-o", tmp_path / "out")[0] == 1, "refused without --overwrite"
    assert cli(*arguments, "-o", tmp_path / "out", "--overwrite")[0] == 0
    assert (tmp_path / "out" / "clean.png").read_bytes() == first, "the seed decides"


def test_schema_is_a_schema(cli):
    code, stdout, _ = cli("schema")
    assert code == 0 and "noise" in json.loads(stdout)["properties"]["findings"]["properties"]


def test_version(cli):
    assert cli("--version")[1].startswith("rnr ")
