"""Training of the restorer of tasks: the loss falls, a new task is a new file, and everything else stays to the bit."""

import hashlib

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from rnr.restorer import Intent, load
from rnr.restorer.latent.downstream import Agreement, Perception
from rnr.restorer.latent.task_files import load_network
from rnr.restorer.latent.tasks_train import PromptRun, TaskObjective, TasksRun, train_prompt, train_tasks
from rnr.training.journal import rows_of
from tests.restorer.latent.tiny_tasks import SHAPE, stable_diffusion, tiny, written

CAT = skimage.data.chelsea()


def brightness(image: torch.Tensor) -> torch.Tensor:
    """A machine of two classes: dark and bright."""
    light = image.mean((1, 2, 3))
    return 20 * torch.stack([0.5 - light, light - 0.5], 1)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    Image.fromarray(CAT).save(folder / "cat.png")
    Image.fromarray(np.ascontiguousarray(CAT[:, ::-1])).save(folder / "other.png")
    return folder


def hashes(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def test_all_parts_learn(images):
    """The same batch again and again: its loss falls, and every part has gradients."""
    autoencoder, network = tiny()
    objective = TaskObjective(network, autoencoder, {"perception": Perception()}, {"cat.png": CAT})
    batch, count = objective.batch(0.0, 3)
    assert count == 4
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        loss = objective.loss(batch, 0.0, 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    still = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    moved = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved >= {"unet", "repairs", "control", "tuners", "fusers", "prompts", "tokens"}, still


def test_a_training_writes_what_is_loaded_and_is_the_same_again(images, tmp_path, monkeypatch):
    monkeypatch.setattr("rnr.restorer.latent.tasks_train.HELD", 1)
    made = []
    for name in ("a", "b"):
        run = TasksRun(out=tmp_path / name, samples=8, warm_up=4, precision="fp32")
        made.append(train_tasks(images, run, val=images, options=SHAPE | {"cfrm": False}))
    restorer = load(made[0])
    assert restorer.tasks == ["perception"] and restorer.network.repairs is None
    assert hashes(made[0]) == hashes(made[1])
    text = (made[0] / "README.md").read_text(encoding="utf-8")
    assert "Without cfrm: an ablation." in text and "8 crops of 64x64 px" in text
    assert "perception" in rows_of(tmp_path / "a")[-1]["validation"]


def test_stable_diffusion_is_trained_by_the_same_code(images, tmp_path):
    source = stable_diffusion(tmp_path / "sd")
    run = TasksRun(out=tmp_path / "out", samples=4, precision="fp32")
    made = train_tasks(images, run, autoencoder=source / "vae", options=SHAPE | {"prior": str(source)})
    assert load(made).network.config["prior"] == str(source)
    assert (made / "tasks.safetensors").stat().st_size < 200_000 and (made / "autoencoder" / "config.json").is_file()


def test_a_new_task_is_a_new_file_and_all_else_is_bit_identical(images, tmp_path):
    base = written(tmp_path / "base")
    before, held = hashes(base), load_network(base)[0].state_dict()
    task = Agreement(brightness, side=32)
    run = PromptRun(out=tmp_path / "out", samples=24, warm_up=4, precision="fp32", rate=0.05)
    made = train_prompt("bright", base, images, run, task)
    assert hashes(base) == before
    assert hashes(made) == before | {"prompts/bright.safetensors": hashes(made)["prompts/bright.safetensors"]}
    after = load_network(made)[0].state_dict()
    assert after.keys() - held.keys() == {"prompts.bright"}
    assert all(torch.equal(held[name], after[name]) for name in held)
    assert not torch.equal(after["prompts.bright"], held["prompts.perception"])
    pixels = np.ascontiguousarray(CAT[:64, :64], np.float32) / 255
    old, new = (load(folder).restore(pixels, None, Intent(task="reading")).pixels_HWC3 for folder in (base, made))
    assert np.array_equal(old, new)


def test_a_prompt_serves_its_task(images, tmp_path):
    """The machine likes bright pictures; the prompt alone makes them brighter than that of perception does."""
    base = written(tmp_path / "base")

    class Bright:
        side = 32

        def draw(self, photographs, batch, generator):
            return Perception(32).draw(photographs, batch, generator)

        def loss(self, image, batch):
            return (1 - image).mean()

    run = PromptRun(out=tmp_path / "out", samples=40, warm_up=4, precision="fp32", rate=0.1, ema=0.5)
    made = load(train_prompt("bright", base, images, run, Bright()))
    pixels = np.ascontiguousarray(CAT[:64, :64], np.float32) / 255
    people, machine = (made.restore(pixels, None, Intent(task=t)).pixels_HWC3.mean() for t in ("perception", "bright"))
    assert machine > people


def test_a_prompt_training_goes_on_where_it_stopped(images, tmp_path):
    base, task = written(tmp_path / "base"), Agreement(brightness, side=32)
    whole = train_prompt("x", base, images, PromptRun(out=tmp_path / "whole", samples=24, precision="fp32"), task)
    part = {"out": tmp_path / "part", "samples": 24, "precision": "fp32"}
    train_prompt("x", base, images, PromptRun(**part, minutes=1e-6), task)
    again = train_prompt("x", base, images, PromptRun(**part, resume=True), task)
    first, second = (folder / "prompts" / "x.safetensors" for folder in (whole, again))
    a, b = (load_network(path.parent.parent)[0].prompts["x"] for path in (first, second))
    assert torch.equal(a, b)


def test_what_cannot_be_trained_is_named(images, tmp_path):
    base = written(tmp_path / "base", tfa=False)
    with pytest.raises(ValueError, match="has no TFA"):
        train_prompt("x", base, images, PromptRun(out=tmp_path / "out"), Perception())
    with pytest.raises(ValueError, match="the name of a task is letters"):
        train_prompt("../x", base, images, PromptRun(out=tmp_path / "out"), Perception())
