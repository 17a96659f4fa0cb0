"""The same commands with a server, a recipe, another restorer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rnr.degradation.errors import SetupError
from rnr.degradation.loading import recipe_of
from rnr.reasoner.card import BUILT_IN
from rnr.work.models import Models
from tests.reasoner.chat_server import running
from tests.restorer.tiny_qwen import tiny_pipeline


@pytest.fixture(scope="module")
def server():
    with running(str(BUILT_IN)) as (address, _):
        yield address


def test_diagnoses_come_from_a_server_in_order(cli, server: str, tmp_path: Path, crop: np.ndarray) -> None:
    (tmp_path / "recipe.toml").write_text(f'model = "{server}"\nworkers = 2\n')
    for name, picture in (("a.png", crop), ("c.png", crop[::-1])):
        Image.fromarray(picture).save(tmp_path / name)
    (tmp_path / "b.png").write_text("no picture")
    code, out, _ = cli("diagnose", tmp_path, "--jsonl", "--reasoner", tmp_path / "recipe.toml")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and [Path(row["file"]).name for row in rows] == ["a.png", "b.png", "c.png"]
    assert [row["model"] for row in rows] == ["tiny", "", "tiny"] and rows[0]["beliefs"]["noise"]["probability"] > 0.5


def test_no_server_is_wrong_usage(cli, tmp_path: Path, crop: np.ndarray, monkeypatch) -> None:
    monkeypatch.setattr("rnr.reasoner.chat.Client.retries", 0)
    Image.fromarray(crop).save(tmp_path / "a.png")
    code, _, err = cli("diagnose", tmp_path / "a.png", "--server", "http://127.0.0.1:9")
    assert code == 2 and "is the server running" in err


def test_a_recipe_restores_with_qwen_image_edit(cli, tmp_path: Path, crop: np.ndarray) -> None:
    tiny_pipeline().save_pretrained(tmp_path / "qwen")
    Image.fromarray(crop[:64, :96]).save(tmp_path / "a.png")
    recipe = tmp_path / "edit.toml"
    recipe.write_text(f'model = "{tmp_path / "qwen"}"\narea = 4096\nnum_inference_steps = 2\nguidance = 1.0\n')
    given = tmp_path / "d.json"
    given.write_text('{"findings":{"noise":{"present":true,"severity":40,"factors":{}}},"plan":["noise"]}')
    arguments = ("restore", tmp_path / "a.png", "-o", tmp_path / "out", "--restorer", recipe, "--no-report")
    code, _, err = cli(*arguments, "--diagnosis", given, "--device", "cpu")
    record = json.loads((tmp_path / "out" / "a.diagnosis.json").read_text())["restoration"]
    assert code == 0 and record["num_inference_steps"] == 2 and "Denoise" in record["text"], err
    assert Image.open(tmp_path / "out" / "a.png").size == (96, 64)


def test_a_recipe_trains_qwen_image_edit(cli, tmp_path: Path, photographs) -> None:
    tiny_pipeline().save_pretrained(tmp_path / "qwen")
    (tmp_path / "images").mkdir()
    Image.fromarray(photographs["coffee"][:128, :128]).save(tmp_path / "images" / "a.png")
    recipe = tmp_path / "lora.toml"
    recipe.write_text(f'model = "{tmp_path / "qwen"}"\n[training]\nmax_steps = 1\nbatch = 1\nrank = 2\nsize = 64\n')
    arguments = ("train", "restorer", "--recipe", recipe, "-o", tmp_path / "run")
    code, out, err = cli(*arguments, "--images", tmp_path / "images", "--device", "cpu")
    assert code == 0 and out == f"weights: {tmp_path / 'run' / 'weights'}\n", err
    assert cli(*arguments)[0] == 2
    recipe.write_text(f'model = "{tmp_path / "qwen"}"\n[training]\nspeed = 1\n')
    code, _, err = cli(*arguments, "--images", tmp_path / "images", "--device", "cpu")
    assert code == 2 and "speed" in err


def test_a_data_set_is_built_and_asked_for(cli, tmp_path: Path, monkeypatch) -> None:
    code, _, err = cli("data", "build", "--images", tmp_path, "-o", tmp_path / "data")
    assert code == 2 and "no photographs" in err
    code, _, err = cli("data", "build", "--images", tmp_path, "-o", tmp_path / "data", "--teacher-model", "x")
    assert code == 2 and "--teacher" in err
    monkeypatch.setattr("rnr.reasoner.chat.Client.retries", 0)
    arguments = ("--images", tmp_path, "-o", tmp_path / "data", "--teacher", "http://127.0.0.1:9")
    code, _, err = cli("data", "build", *arguments)
    assert code == 2 and "is the server running" in err
    code, _, err = cli("train", "reasoner", "--model", "x", "--data", tmp_path / "data", "-o", tmp_path / "run")
    assert code == 2 and "x" in err
    code, _, err = cli("train", "reasoner", "-o", tmp_path / "run")
    assert code == 2 and "--images" in err


def test_a_training_that_fills_the_gpu_names_what_to_turn(cli, tmp_path: Path, monkeypatch) -> None:
    import torch

    import rnr.reasoner.finetune

    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(rnr.reasoner.finetune, "finetune", full)
    code, _, err = cli("train", "reasoner", "--model", "x", "--data", tmp_path, "-o", tmp_path / "run")
    assert code == 2 and "out of memory" in err and "quantisation" in err


def test_what_is_wrong_with_a_recipe_is_said(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    with pytest.raises(SetupError, match="cannot be read"):
        recipe_of(str(recipe))
    recipe.write_text("num_inference_steps = 3")
    with pytest.raises(SetupError, match="names no model"):
        recipe_of(str(recipe))
    recipe.write_text('model = "built-in"\nspeed = 9\n')
    with pytest.raises(SetupError, match="speed"):
        _ = Models(restorer=str(recipe), device="cpu").pipeline
    with pytest.raises(SetupError, match="speed"):
        _ = Models(reasoner=str(recipe), device="cpu").reasoner


RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize(
    "recipe", [p for p in RECIPES if not p.stem.startswith(("rl_", "unified"))], ids=lambda p: p.stem
)
def test_every_recipe_names_a_model(recipe: Path) -> None:
    model, _ = recipe_of(str(recipe))
    assert "/" in model
