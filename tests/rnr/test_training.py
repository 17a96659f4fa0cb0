"""`rnr train`: thin glue over the two trainings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rnr.reasoner.card import BUILT_IN as REASONER
from rnr.restorer.loading import expert_file
from rnr.restorer.pipeline import BUILT_IN as RESTORER
from rnr.work.training import Lines


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, photographs: dict[str, np.ndarray]) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for name in ("astronaut", "coffee", "rocket"):
        Image.fromarray(photographs[name]).save(folder / f"{name}.png")
    return folder


def test_rows_become_lines(capsys: pytest.CaptureFixture[str]):
    Lines()({"samples": 12800, "loss": 1.23456, "per_second": 98.1, "seconds_left": 3723.4})
    Lines()({"samples": 12800, "validation": {"noise": 28.51, "name": "x"}})
    loss, validation = capsys.readouterr().err.splitlines()
    assert loss == "12,800 samples  loss 1.2346  98.1 samples/s  1:02:03 left"
    assert validation == "12,800 samples  validation: noise 28.51"


def test_a_restorer_is_trained_resumed_and_used(cli, images: Path, tmp_path: Path, crop: np.ndarray):
    out = tmp_path / "run"
    code, stdout, stderr = cli("train", "restorer", "--images", images, "-o", out, "--samples", 8, "--device", "cpu")
    assert code == 0 and stdout == f"weights: {out / 'weights'}\n", stderr
    assert (out / "weights" / "model_index.json").is_file() and (out / "metrics.jsonl").is_file()
    code, _, stderr = cli("train", "restorer", "--images", images, "-o", out, "--samples", 16, "--resume")
    assert code == 0, stderr
    Image.fromarray(crop).save(tmp_path / "a.png")
    arguments = ("restore", tmp_path / "a.png", "-o", tmp_path / "out", "--restorer", out / "weights")
    assert cli(*arguments, "--no-report")[0] == 0
    mean = tmp_path / "mean"
    code, stdout, stderr = cli("train", "average", out / "weights", out / "weights", "-o", mean)
    assert code == 0 and stdout == f"weights: {mean / 'weights'}\n", stderr
    code, _, stderr = cli("train", "average", out / "weights", "built-in", "-o", mean)
    assert code == 2 and "built-in: holds experts and no network of all kinds" in stderr
    code, _, stderr = cli("train", "average", out / "weights", tmp_path / "nowhere", "-o", mean)
    assert code == 2 and "nowhere" in stderr and "Traceback" not in stderr


def test_every_training_finds_its_first_weights_by_name(cli, images: Path, tmp_path: Path):
    assert expert_file("built-in", "noise") == expert_file(RESTORER, "noise") == RESTORER / "experts/noise.safetensors"
    assert expert_file(RESTORER / "experts/haze.safetensors", "haze").is_file()
    weights = tmp_path / "weights"
    shutil.copytree(REASONER, weights, ignore=shutil.ignore_patterns("reasoner.json"))
    code, _, stderr = cli("train", "reasoner", "--images", images, "-o", tmp_path / "run", "--init", weights)
    assert code == 2 and "its card reasoner.json is missing" in stderr
    code, _, stderr = cli("train", "expert", "rain", "--images", images, "-o", tmp_path / "run", "--init", weights)
    assert code == 2 and "rain.safetensors: not an expert's weights" in stderr


@pytest.mark.slow
def test_a_reasoner_is_trained_and_used(cli, images: Path, tmp_path: Path, crop: np.ndarray):
    out = tmp_path / "run"
    code, stdout, stderr = cli("train", "reasoner", "--images", images, "-o", out, "--samples", 320)
    assert code == 0 and (out / "weights" / "config.json").is_file(), stderr
    Image.fromarray(crop).save(tmp_path / "a.png")
    assert cli("diagnose", tmp_path / "a.png", "--reasoner", out / "weights", "--jsonl")[0] == 0
    more = ("--images", images, "-o", tmp_path / "more", "--samples", 16, "--init", out / "weights")
    assert cli("train", "reasoner", *more)[0] == 0
