"""The legs of the experts as a policy: exact before anything is learned, and a run that is resumed and exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Finding
from rnr.restorer import RestorePipeline
from rnr.restorer.loading import load_bridge
from rnr.rl.chain import ChainPolicy
from rnr.rl.config import RestorerConfig
from rnr.rl.legs import ConditionExploration, DoseExploration, PixelExploration
from rnr.rl.loss import step_loss
from rnr.rl.noise import truncated_draw, truncated_kl, truncated_log_prob
from rnr.rl.restoring import build, run
from rnr.rl.tasks import Task

EXPLORE = ("dose", "condition", "pixels")
RECIPE = Path(__file__).parents[2] / "recipes" / "rl_restorer_smoke.toml"


@pytest.fixture
def restorer() -> RestorePipeline:
    return load_bridge()


@pytest.fixture(scope="module")
def task(tasks: list[Task]) -> Task:
    """A picture that a reasoner finds noisy and hazy: two legs, one of an expert without a condition vector."""
    findings = {kind: Finding(present=True, severity=30) for kind in ("haze", "noise")}
    beliefs = {kind: Belief(probability=0.9, severity_if_present=30, spread=5) for kind in findings}
    diagnosis = Diagnosis(findings=findings, plan=["noise", "haze"])
    record = DiagnosisRecord(diagnosis=diagnosis, text=diagnosis.to_json(), beliefs=beliefs, model="by hand", physics=2)
    first = tasks[0]
    return Task(first.number, first.degraded, first.clean, first.truth, record)


def policy_of(restorer: RestorePipeline, explore: str) -> ChainPolicy:
    if explore == "dose":
        return ChainPolicy(restorer, DoseExploration(restorer, 0.3, 1))
    if explore == "condition":
        return ChainPolicy(restorer, ConditionExploration(restorer, 0.1, 1))
    return ChainPolicy(restorer, PixelExploration(restorer, 0.05, "pink", 2, (0,), rank=2))


def disturb(policy: ChainPolicy) -> None:
    """As an update would: the trained weights move."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in policy.trained.values():
            p.add_(0.03 * torch.randn(p.shape, generator=generator) - 0.03)


@pytest.mark.parametrize("explore", EXPLORE)
def test_without_noise_the_policy_is_the_restorer(restorer, task, explore) -> None:
    pixels = task.degraded.permute(1, 2, 0).numpy()
    expected = restorer.restore(pixels, task.source, num_inference_steps=2 if explore == "pixels" else 1).pixels_HWC3
    trajectory = policy_of(restorer, explore).rollout([task], [0], noise=0)
    assert not trajectory.draws and trajectory.final is not None
    np.testing.assert_allclose(trajectory.final[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    "explore, legs", [("dose", ["noise", "haze"]), ("condition", ["noise"]), ("pixels", ["noise", "haze"])]
)
def test_ratio_is_1_and_kl_0_before_an_update_and_both_move_with_it(restorer, task, explore, legs) -> None:
    policy = policy_of(restorer, explore)
    trajectory = policy.rollout([task] * 3, [1, 2, 3])
    assert [draw.kind for draw in trajectory.draws] == legs
    assert len({float(picture.sum()) for picture in policy.decode(trajectory)}) == 3
    advantage = torch.tensor([1.0, -1.0, 0.0])
    for draw in trajectory.draws:
        loss = step_loss(policy, trajectory, draw, advantage, 1e-3, beta=0.1)
        torch.testing.assert_close(loss.ratio, torch.ones(3), atol=1e-6, rtol=0)
        torch.testing.assert_close(loss.kl, torch.zeros(3), atol=1e-6, rtol=0)
        loss.loss.backward()
    assert set(policy.moved().values()) == {0.0}
    learns = {name for name, p in policy.trained.items() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {kind for kind in legs for name in learns if kind in name.split(".")} == set(legs)
    disturb(policy)
    assert all(policy.moved()[kind] > 0 for kind in legs)
    for draw in trajectory.draws:
        loss = step_loss(policy, trajectory, draw, advantage, 1e-3, beta=0.1)
        assert (loss.ratio != 1).all() and (loss.kl > 0).all()
        with torch.no_grad(), policy.reference():
            torch.testing.assert_close(policy.log_prob(trajectory, draw)[0], draw.log_prob, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("explore", EXPLORE)
def test_a_rollout_follows_from_its_seed_alone(restorer, task, explore) -> None:
    policy = policy_of(restorer, explore)
    several = policy.decode(policy.rollout([task] * 2, [5, 6]))
    assert torch.equal(several[1:], policy.decode(policy.rollout([task], [6])))
    assert not torch.equal(several[0], several[1])


@pytest.mark.parametrize("place, other", [(-0.4, -0.1), (0.0, 0.2), (0.7, -0.2)])
def test_a_truncated_normal_is_scipys(place: float, other: float) -> None:
    std, location, another = (torch.full((1, 1), value) for value in (0.3, place, other))
    ours, theirs = (truncnorm(-np.inf, -where / 0.3, where, 0.3) for where in (place, other))
    values = np.linspace(-1.5, -0.01, 40)
    got = truncated_log_prob(torch.tensor(values)[:, None], location, std)
    np.testing.assert_allclose(got, ours.logpdf(values), atol=1e-4)
    expected = ours.expect(lambda z: ours.logpdf(z) - theirs.logpdf(z))
    assert float(truncated_kl(location, another, std)) == pytest.approx(float(expected), abs=1e-4)
    uniform = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)[:, None]
    np.testing.assert_allclose(truncated_draw(location, std, uniform), ours.ppf(uniform), atol=1e-4)


def test_an_edited_severity_is_obeyed_and_not_explored(restorer, task) -> None:
    edited = task.source.edit("noise", severity=20)
    policy = policy_of(restorer, "dose")
    drawn = policy.rollout([Task(0, task.degraded, task.clean, task.truth, edited)], [0]).draws
    assert [draw.kind for draw in drawn] == ["haze"]
    pixels = task.degraded.permute(1, 2, 0).numpy()
    before = restorer.restore(pixels, edited).legs
    disturb(policy)
    after = restorer.restore(pixels, edited).legs
    assert after[0].dose == before[0].dose and after[1].dose < before[1].dose == 1


@pytest.mark.parametrize("explore", EXPLORE)
def test_what_was_learned_is_loaded_from_the_folder(restorer, task, explore, tmp_path) -> None:
    policy = policy_of(restorer, explore)
    disturb(policy)
    card = {"data": "none", "training": "none", "command": "none", "figures": "none"}
    weights = policy.export(tmp_path, card)
    pixels, loaded = task.degraded.permute(1, 2, 0).numpy(), load_bridge(weights)
    shipped, expected, got = (pipe.restore(pixels, task.source) for pipe in (load_bridge(), policy.restorer, loaded))
    rounding = np.abs(got.pixels_HWC3 - expected.pixels_HWC3).max()  # to half precision
    assert np.abs(got.pixels_HWC3 - shipped.pixels_HWC3).max() > 4 * rounding
    assert [leg.dose for leg in got.legs] == pytest.approx([leg.dose for leg in expected.legs])
    assert ("P(present) 0.95: blur" in (weights / "README.md").read_text()) == (explore == "dose")


def test_the_smoke_recipe_is_resumed_as_an_unbroken_run_and_exports(folder, tmp_path) -> None:
    def config(name: str, **more) -> RestorerConfig:
        return RestorerConfig.read(RECIPE, images=folder, val=folder, out=tmp_path / name, **more)

    weights = run(config("whole"))
    run(config("broken", max_steps=1))
    again = run(config("broken"), resume=True)
    files = [folder / "doses" / "diffusion_pytorch_model.safetensors" for folder in (weights, again)]
    assert files[0].read_bytes() == files[1].read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    updates = [row for row in rows if "evaluation" not in row]
    assert len(updates) == 2 and all(len(row["spreads"]) == 1 for row in updates)
    assert set(updates[-1]["moved"]) >= set(updates[-1]["leg_spreads"])
    assert json.loads((weights / "training.json").read_text())["rollouts"] == 6
    assert load_bridge(weights).doses is not None


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"explore": "both"}, "one thing is explored"),
        ({"conditioned_on": "true"}, 'conditioned_on = "predicted"'),
        ({"conditioned_on": "blind"}, "there are no legs"),
        ({"explore": "pixels"}, "no policy: its only step has no variance"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_anything_loads(folder, tmp_path, change, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        build(RestorerConfig.read(RECIPE, images=folder, val=folder, out=tmp_path).model_copy(update=change))
