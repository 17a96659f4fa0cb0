"""The bridge as a policy: what must hold exactly before anything is learned."""

from __future__ import annotations

import math

import pytest
import torch

from rnr.restorer import BridgeScheduler, RestorePipeline
from rnr.rl.advantage import decoupled_advantages, group_advantages
from rnr.rl.loss import step_loss
from rnr.rl.noise import dct, inverse_dct, spectrum
from rnr.rl.policy import BridgePolicy, Exploration, trainable

EXPLORE = ("condition", "pixels", "both")


def policy_of(network, how="lora", **exploration) -> BridgePolicy:
    network, frozen = trainable(network, how, rank=2, seed=0)
    return BridgePolicy(network, BridgeScheduler(), Exploration(**exploration), frozen)


def disturb(policy: BridgePolicy) -> None:
    """As an update would: the first trained weights move."""
    with torch.no_grad():
        for p in policy.module.parameters():
            if p.requires_grad:
                p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))


def test_noise_level_0_is_the_deterministic_sampler(network, tasks):
    task = tasks[0]
    pipe = RestorePipeline(network, BridgeScheduler())
    expected = pipe(task.degraded[None], task.source, num_inference_steps=3, output_type="pt").images
    policy = policy_of(network, steps=3, window=(0, 1))
    ours = policy.rollout([task], [0], noise=0)
    assert not ours.draws
    assert ours.final is not None
    torch.testing.assert_close(ours.final.clamp(0, 1), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("explore", EXPLORE)
def test_before_an_update_ratio_is_exactly_1_and_kl_exactly_0(network, tasks, explore):
    policy = policy_of(network, explore=explore)
    trajectory = policy.rollout([tasks[0]] * 3, [1, 2, 3])
    loss = step_loss(policy, trajectory, trajectory.draws[0], torch.tensor([1.0, -1.0, 0.0]), 1e-3, beta=0.1)
    assert torch.equal(loss.ratio, torch.ones(3)) and torch.equal(loss.kl, torch.zeros(3))
    assert not loss.clipped.any()


@pytest.mark.parametrize("how", ["lora", "full"])
def test_after_an_update_ratio_and_kl_move_and_the_reference_does_not(network, tasks, how):
    policy = policy_of(network, how, explore="both")
    trajectory = policy.rollout([tasks[0]] * 2, [1, 2])
    draw = trajectory.draws[0]
    disturb(policy)
    loss = step_loss(policy, trajectory, draw, torch.tensor([1.0, -1.0]), 1e-3, beta=0.1)
    assert (loss.ratio != 1).all() and (loss.kl > 0).all()
    with torch.no_grad(), policy.reference():
        torch.testing.assert_close(policy.log_prob(trajectory, draw)[0], draw.log_prob, atol=1e-6, rtol=0)


@pytest.mark.parametrize("explore", EXPLORE)
def test_log_probability_is_that_of_torchs_normal(network, tasks, explore):
    policy = policy_of(network, explore=explore, colour="pink")
    trajectory = policy.rollout([tasks[0], tasks[0]], [1, 2])
    draw = trajectory.draws[0]
    disturb(policy)
    log_prob, means = policy.log_prob(trajectory, draw)
    parts = [
        torch.distributions.Normal(means[n], draw.stds[n]).log_prob(draw.values[n]).flatten(1).mean(1) for n in means
    ]
    torch.testing.assert_close(log_prob, sum(parts), atol=1e-5, rtol=1e-5)
    assert set(means) == {"condition": {"condition"}, "pixels": {"pixels"}}.get(explore, {"condition", "pixels"})


def test_pink_noise_is_diagonal_in_an_orthonormal_dct():
    image = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(inverse_dct(dct(image)), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(dct(image).square().sum(), image.square().sum())
    shape = spectrum(24, 40, "pink")
    assert shape.square().mean() == pytest.approx(1, abs=1e-5)
    assert shape[0, 1] > 5 * shape[12, 20]


def test_a_pictures_noise_depends_on_its_seed_alone(network, tasks):
    policy = policy_of(network, explore="both")
    pair = policy.decode(policy.rollout([tasks[0], tasks[1]], [5, 6]))
    alone = policy.decode(policy.rollout([tasks[1]], [6]))
    torch.testing.assert_close(pair[1:], alone, atol=5e-3, rtol=0)  # rounding, through a QR
    assert not torch.equal(pair[1:], policy.decode(policy.rollout([tasks[1]], [7])))


@pytest.mark.parametrize(
    "settings, reason",
    [({"steps": 1}, "no policy"), ({"steps": 2, "window": (1,)}, "never the last"), ({"window": ()}, "window")],
)
def test_a_window_without_variance_is_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        Exploration(**settings).check()


def test_advantages_of_a_group_by_hand():
    rewards = [1.0, 2.0, 3.0, None, 0.5, 0.5, 0.5, 0.5]
    result = group_advantages(rewards, 4)
    assert result.values == pytest.approx([-1 / 1.0001, 0, 1 / 1.0001, 0, 0, 0, 0, 0])
    assert result.flat_groups == 1 and result.spread == pytest.approx(0.5)
    unscaled = group_advantages([0.0, 3.0], 2, by_std=False)
    assert unscaled.values == [-1.5, 1.5]
    assert group_advantages([0.0] * 11 + [1.0], 12, clip=2.0).values[-1] == 2.0
    assert math.sqrt(sum(v * v for v in group_advantages([1.0, 5.0], 2).values) / 1) == pytest.approx(1, abs=1e-3)


def test_a_group_of_one_and_a_torn_group_are_refused():
    with pytest.raises(ValueError, match="nobody to compare"):
        group_advantages([1.0], 1)
    with pytest.raises(ValueError, match="do not make groups"):
        group_advantages([1.0, 2.0, 3.0], 2)


def test_decoupled_advantages_give_each_reward_its_say():
    """Two rewards of very different scale: added first, the larger one decides; each on its own, both do."""
    scores = {"large": [0.0, 100.0, 0.0, 100.0], "small": [1.0, 0.0, 0.0, 1.0]}
    added = group_advantages([a + b for a, b in zip(*scores.values())], 4)
    apart = decoupled_advantages(scores, {"large": 1.0, "small": 1.0}, 4)
    assert abs(added.values[0] - added.values[2]) < 0.05  # whether the small one was earned hardly shows
    assert apart.values == pytest.approx([0, 0, -0.866, 0.866], abs=1e-3)  # (z of each) / 2
    alone = {"a": [0.0, 3.0, None, 1.0]}
    assert decoupled_advantages(alone, {"a": 2.0}, 4).values == group_advantages(alone["a"], 4).values
    flat = decoupled_advantages({"a": [1.0, 1.0], "b": [None, None]}, {"a": 1.0, "b": 1.0}, 2)
    assert flat.values == [0, 0] and flat.flat_groups == 1
