"""The bridge's step against closed forms and torch.distributions."""

import pytest
import torch

from rnr.restorer.bridge import BridgeScheduler, corrupt, times


def pictures(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, 8, 8, generator=generator), torch.rand(2, 3, 8, 8, generator=generator)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_a_perfect_estimate_ends_at_the_clean_picture_along_a_straight_line(steps):
    clean, degraded = pictures()
    scheduler = BridgeScheduler()
    sample, path = degraded, times(steps)
    for t, s in zip(path, path[1:]):
        sample = scheduler.step(clean, t, s, sample).prev_sample
        torch.testing.assert_close(sample, (1 - s) * clean + s * degraded)
    torch.testing.assert_close(sample, clean)


def test_log_probability_is_that_of_the_normal_distribution_and_the_mean_does_not_depend_on_eta():
    clean, degraded = pictures()
    scheduler = BridgeScheduler(sigma=0.1)
    drawn = scheduler.step(clean, 1.0, 0.75, degraded, eta=0.7, generator=torch.Generator().manual_seed(1))
    expected = torch.distributions.Normal(drawn.mean, drawn.std).log_prob(drawn.prev_sample).mean((1, 2, 3))
    torch.testing.assert_close(drawn.log_prob, expected)
    assert drawn.std == pytest.approx(0.7 * 0.1 * (0.75 * 0.25 / 1) ** 0.5)
    torch.testing.assert_close(drawn.mean, scheduler.step(clean, 1.0, 0.75, degraded).prev_sample)
    scored = scheduler.step(clean, 1.0, 0.75, degraded, eta=0.7, prev_sample=drawn.prev_sample)
    torch.testing.assert_close(scored.log_prob, drawn.log_prob)


def test_the_last_step_has_no_policy():
    clean, degraded = pictures()
    scheduler = BridgeScheduler()
    last = scheduler.step(clean, 0.5, 0.0, degraded, eta=1.0, generator=torch.Generator().manual_seed(0))
    assert last.log_prob is None and last.std == 0
    torch.testing.assert_close(last.prev_sample, clean)


def test_training_states_have_the_bridge_s_mean_and_spread():
    clean, degraded = torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    state = corrupt(clean, degraded, torch.tensor([0.25]), torch.tensor([0.2]), noise)
    assert float(state.mean()) == pytest.approx(0.25, abs=0.01)
    assert float(state.std()) == pytest.approx(0.2 * (0.25 * 0.75) ** 0.5, rel=0.05)


@pytest.mark.parametrize("steps", [0, -1, 101])
def test_a_senseless_number_of_steps_is_refused(steps):
    with pytest.raises(ValueError, match="num_inference_steps"):
        times(steps)


def test_a_bridge_that_stops_early_is_there_on_a_straight_line():
    clean, degraded = pictures()
    sample, path = degraded, times(3, end=0.4)
    for t, s in zip(path, path[1:]):
        sample = BridgeScheduler().step(clean, t, s, sample).prev_sample
    torch.testing.assert_close(sample, 0.6 * clean + 0.4 * degraded)
