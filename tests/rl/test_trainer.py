"""The trainer of loop B: updates, resume, refusals, and what a run leaves."""

from __future__ import annotations

import json

import pytest
import torch

from rnr.degradation.errors import MissingExtra
from rnr.restorer import BridgeScheduler
from rnr.rl.config import RestorerConfig
from rnr.rl.metrics import METRICS
from rnr.rl.policy import BridgePolicy, Exploration, trainable
from rnr.rl.rewards import REASONER
from rnr.rl.trainer import DiffusionGRPOTrainer, draw_seed
from rnr.training.trackers import check_trackers
from tests.networks import heedful


def brightness(prompts, completions, **columns):
    """Rewards light."""
    return [float(c.mean()) for c in completions]


def same(prompts, completions, **columns):
    return [0.5] * len(completions)


def trainer_of(network, tasks, judge, config, rewards=None, **explore):
    network, frozen = trainable(network, config.train, config.rank, seed=0)
    policy = BridgePolicy(network, BridgeScheduler(), Exploration(**({"explore": "both"} | explore)), frozen)
    return DiffusionGRPOTrainer(policy, rewards or {"brightness": brightness}, tasks, tasks[:2], judge, config)


def weights(trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.live.values()])


def test_equal_rewards_change_nothing(network, tasks, judge, config):
    trainer = trainer_of(network, tasks, judge, config, {"same": same})
    before = weights(trainer)
    row = trainer.update([0, 1])
    assert torch.equal(weights(trainer), before)
    assert row["flat"] == 2 and row["spread"] == 0 and row["reward"] == 0.5


def test_rewards_may_be_normalised_before_they_are_added(network, tasks, judge, config):
    trainer = trainer_of(network, tasks, judge, config, {"same": same, "brightness": brightness})
    scores = {"same": [0.5] * 3, "brightness": [0.1, 0.2, 0.4]}

    def values(aggregation):
        trainer.config = config.model_copy(update={"aggregation": aggregation})
        return trainer._advantages(scores, [0.6, 0.7, 0.9]).values

    assert values("normalize_then_sum") == pytest.approx([v / 2 for v in values("sum_then_normalize")], abs=1e-3)


def test_a_tracker_that_is_named_and_missing_is_an_error(network, tasks, judge, config):
    with pytest.raises(MissingExtra, match=r"dvclive, which is not installed: pip install dvclive"):
        trainer_of(network, tasks, judge, config.model_copy(update={"report_to": ["dvclive"]}))
    with pytest.raises(ValueError, match="unknown tracker tensorbored; there are tensorboard, trackio"):
        check_trackers(["tensorbored"])


def test_the_reward_rises(network, tasks, judge, config):
    """On the mean of the tasks: of a picture whose brightness exploration hardly moves nothing can be learned."""
    config = config.model_copy(update={"lr": 1e-2, "beta": 0.0, "prompts": 3, "group": 6, "clip": 0.1, "train": "full"})
    trainer = trainer_of(network, tasks, judge, config, explore="condition", condition_std=0.3)
    seeds = list(range(len(tasks)))
    held = trainer.policy.rollout(tasks, seeds, noise=0).final.mean()
    for _ in range(8):
        row = trainer.update(seeds)
        assert row["ratio_off"] == 0  # one pass over fresh rollouts
    assert trainer.policy.rollout(tasks, seeds, noise=0).final.mean() > held + 1e-3


def test_unscored_rollouts_are_counted_and_left_out(network, tasks, judge, config):
    def some(prompts, completions, **columns):
        return [None if i == 0 else float(c.mean()) for i, c in enumerate(completions)]

    row = trainer_of(network, tasks, judge, config, {"some": some}).update([0, 1])
    assert row["unscored"] == 2 and row["flat"] == 0


def test_a_resumed_run_equals_an_unbroken_one(tasks, judge, config, tmp_path, monkeypatch):
    monkeypatch.setattr("rnr.rl.trainer.draw", lambda folder: None)
    whole = trainer_of(heedful(), tasks, judge, config.model_copy(update={"out": tmp_path / "whole", "max_steps": 3}))
    whole.train()
    broken = config.model_copy(update={"out": tmp_path / "broken", "max_steps": 3})
    first = trainer_of(heedful(), tasks, judge, broken.model_copy(update={"max_steps": 2}))
    first.train()
    (broken.out / "metrics.jsonl").open("a").write('{"step": 3, "reward": 9}\n')  # written, then killed before the save
    second = trainer_of(heedful(), tasks, judge, broken)
    second.train(resume=True)
    assert torch.equal(weights(whole), weights(second))
    for name, held in whole.average.held.items():
        assert torch.equal(held, second.average.held[name])
    rows = [[r for r in t.log.rows() if "evaluation" not in r] for t in (whole, second)]
    keys = ("step", "reward", "kl", "grad_norm", "spread")
    assert [[r[k] for k in keys] for r in rows[0]] == [[r[k] for k in keys] for r in rows[1]]


def test_a_run_leaves_its_record_with_scores_and_metrics_apart(network, tasks, judge, config):
    trainer = trainer_of(network, tasks, judge, config)
    trainer.train()
    rows = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    checks = [row for row in rows if "evaluation" in row]
    assert [row["step"] for row in checks] == [0, 2]
    assert set(checks[0]["evaluation"]["metrics"]) == set(METRICS)
    assert set(checks[0]["evaluation"]["scores"]) == {"brightness"}
    assert not set(METRICS) & (set(REASONER) | {"severity"})
    for name in ("curves.png", "goodhart.png", "samples/step-00000.png", "checkpoint.safetensors"):
        assert (config.out / name).stat().st_size > 500


def short(prompts, completions, **columns):
    return [0.0]


def broken(prompts, completions, **columns):
    return [float("nan")] * len(completions)


@pytest.mark.parametrize("reward, reason", [(short, "expected a list of 2"), (broken, "finite number")])
def test_a_reward_that_answers_wrongly_is_refused_at_once(network, tasks, judge, config, reward, reason):
    with pytest.raises(ValueError, match=reason):
        trainer_of(network, tasks, judge, config, {"bad": reward})


def test_tasks_without_truth_and_a_judge_that_is_the_policy_are_refused(network, tasks, judge, config):
    class Blind:
        degraded, number = tasks[0].degraded, 0

    with pytest.raises(ValueError, match="no truth"):
        trainer_of(network, [Blind(), Blind()], judge, config)
    policy = BridgePolicy(network, BridgeScheduler(), Exploration())
    policy.module = judge.reasoner.model
    with pytest.raises(ValueError, match="judge is the policy"):
        DiffusionGRPOTrainer(policy, {"b": brightness}, tasks, tasks, judge, config)


def test_seeds_are_all_different():
    seeds = {
        draw_seed(s, step, place, member)
        for s in range(3)
        for step in range(9)
        for place in range(3)
        for member in range(9)
    }
    assert len(seeds) == 3 * 9 * 3 * 9


def test_metrics_are_no_rewards(config: RestorerConfig):
    from rnr.rl.restoring import build

    with pytest.raises(ValueError, match="unknown reward psnr"):
        build(config.model_copy(update={"rewards": ["psnr"]}))
