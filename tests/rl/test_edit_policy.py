"""Qwen-Image-Edit as a policy, assembled from tiny random components of its own classes."""

from __future__ import annotations

import pytest
import torch

from rnr.restorer import load
from rnr.restorer.qwen_edit import LORA_FILE
from rnr.rl.edit_policy import EditPolicy
from rnr.rl.loss import step_loss
from rnr.rl.restoring import build, finish
from rnr.rl.trainer import DiffusionGRPOTrainer
from tests.restorer.tiny_qwen import tiny_pipeline

AREA = 64 * 64


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("qwen")
    tiny_pipeline().save_pretrained(path)
    return path


@pytest.fixture
def policy(weights) -> EditPolicy:
    return EditPolicy(load(weights, area=AREA, guidance=1.0), 3, [0, 1], 0.7, rank=2, seed=0)


def test_noise_level_0_is_the_restorer_itself(policy, tasks):
    ours = policy.decode(policy.rollout([tasks[0]], [5], noise=0))[0].permute(1, 2, 0).numpy()
    pixels = tasks[0].degraded.permute(1, 2, 0).numpy()
    theirs = policy.restorer.restore(pixels, tasks[0].source, num_inference_steps=3, seed=5).pixels_HWC3
    assert abs(ours - theirs).max() < 1e-5


def test_before_an_update_ratio_is_1_and_kl_0_and_after_they_move(policy, tasks):
    trajectory = policy.rollout([tasks[0]] * 2, [1, 2])
    assert [draw.index for draw in trajectory.draws] == [0, 1]
    advantage = torch.tensor([1.0, -1.0])
    for draw in trajectory.draws:
        part = step_loss(policy, trajectory, draw, advantage, clip=0.1, beta=0.1)
        assert torch.allclose(part.ratio, torch.ones(2), atol=1e-5) and float(part.kl.abs().max()) < 1e-10
        part.loss.backward()
    trained = [p for p in policy.module.parameters() if p.requires_grad]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)
    torch.optim.SGD(trained, lr=100.0).step()
    part = step_loss(policy, trajectory, trajectory.draws[0], advantage, clip=0.1, beta=0.1)
    assert (part.ratio != 1).any() and float(part.kl.max()) > 0


def test_different_pictures_in_a_group_are_refused(policy, tasks):
    with pytest.raises(ValueError, match="one picture at a time"):
        policy.rollout(tasks[:2], [1, 2])


def dark(prompts, completions, **columns):
    return [-float(picture.mean()) for picture in completions]


def test_a_run_leaves_an_adapter_that_loads(weights, config, judge, tasks):
    options = {"area": AREA, "guidance": 1.0}
    config = config.model_copy(update={"restorer": str(weights), "options": options, "max_steps": 1, "lr": 1e-2})
    trainer: DiffusionGRPOTrainer = build(config)
    trainer.judge, trainer.rewards = judge, {"dark": dark}
    trainer.weights = {"dark": 1.0}
    trainer.train()
    folder = finish(trainer)
    assert (folder / LORA_FILE).is_file() and "Flow-GRPO" in (folder / "README.md").read_text()
    load(weights, lora=folder, **options)


def test_what_it_cannot_do_is_said_at_once(weights, config):
    with pytest.raises(ValueError, match="trained by an adapter"):
        build(config.model_copy(update={"restorer": str(weights), "train": "full"}))
