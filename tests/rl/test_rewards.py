"""Rewards on completions and pictures whose score is known."""

from __future__ import annotations

import json
import pickle

import pytest
import torch

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import degrade, prescribe
from rnr.rl import rewards
from rnr.rl.judge import Judge
from rnr.rl.rewards import SeverityReward, ask, combine, fidelity, named, paid, structure

NOISE: dict[str, int | float | str] = {"type": "gaussian", "sigma": 13, "colour": "per_channel"}


def text(**severities: int) -> str:
    findings = {
        kind: Finding(present=bool(s), severity=s, factors=NOISE if kind == "noise" and s else {})
        for kind, s in severities.items()
    }
    return Diagnosis(findings=findings).to_json()


TRUTH = text(noise=40, haze=0, rain=20)


@pytest.mark.parametrize(
    "completion, scores",
    [
        (TRUTH, {"format": 1, "type": 1, "severity": 1, "factor": 1}),
        (f"Well: {TRUTH} so.", {"format": 0.5, "type": 1, "severity": 1}),
        (text(noise=55, haze=0, rain=20), {"format": 1, "type": 1, "severity": 0.75}),
        (text(noise=40, haze=0, rain=0), {"type": 2 / 3, "severity": (1 + 1 / 3) / 2}),
        (text(noise=0, haze=0, rain=0), {"type": 0, "severity": (0 + 1 / 3) / 2, "factor": None}),
        ("haze, a lot", {"format": 0, "type": None, "severity": None, "factor": None, "calibration": None}),
    ],
)
def test_the_reasoners_rewards(completion, scores):
    for name, expected in scores.items():
        got = rewards.REASONER[name](prompts=[""], completions=[completion], truth=[TRUTH])
        assert got == [pytest.approx(expected) if expected is not None else None], name


def test_rewards_read_trls_messages_too():
    message = [{"role": "assistant", "content": TRUTH}]
    assert rewards.type_reward(prompts=[""], completions=[message], truth=[TRUTH]) == [1.0]


def test_a_factor_is_scored_by_its_range_and_a_word_by_being_right():
    said = json.loads(TRUTH)
    said["findings"]["noise"]["factors"] |= {"type": "poisson", "sigma": 13}
    assert rewards.factor_reward([""], [json.dumps(said)], [TRUTH]) == [pytest.approx(2 / 3)]


def test_calibration_is_a_proper_score():
    # Truth 20 or 60, each half of the time: sampling both beats always saying 40, and always saying one of them.
    def value(answers: list[int]) -> float:
        total = 0.0
        for true in (20, 60):
            scores = rewards.calibration_reward(
                [""], [text(noise=a) for a in answers], [text(noise=true)] * len(answers)
            )
            total += sum(scores) / len(scores)  # type: ignore[arg-type]
        return total

    honest = value([20, 60] * 8)
    assert honest > value([40] * 16) and honest > value([20] * 16)


def test_the_formula_by_hand():
    before, after = {"haze": 40.0, "rain": 10.0, "blur": 5.0}, {"haze": 10.0, "rain": 15.0, "blur": 10.0}
    assert paid(before, after, ["haze", "rain"], 1.0) == pytest.approx(25 / 50 - 5 / 50)
    assert paid(before, after, ["haze", "rain"], 0.5) == pytest.approx(0.25 - 0.1 - 0.5)
    assert paid(before, before, ["haze", "rain"], 1.0) == 0
    assert paid({"haze": 2.0}, {"haze": 0.0}, ["haze"], 1.0) is None  # nothing was seen: no score, not 0


def test_doing_nothing_scores_exactly_0_and_what_was_not_seen_is_none(judge, tasks):
    reward = SeverityReward(judge)
    one = tasks[0]
    columns = {"degraded": [one.degraded], "clean": [one.clean]}
    assert reward([""], [one.degraded], present=[one.present], **columns) == [0.0]
    assert reward([""], [one.degraded], degraded=[one.degraded]) == [0.0]  # nor without the truth
    assert reward([""], [one.clean], present=[[]], **columns) == [None]


def test_views_that_disagree_pay_less(reasoner, tasks):
    class Two(Judge):
        def _look(self, picture):
            mean = float(picture.mean())
            return [{"noise": 50 - 40 * mean}, {"noise": 50 + 0 * mean}]

    dark, light = torch.zeros(3, 64, 64), torch.ones(3, 64, 64)
    score = SeverityReward(Two(reasoner, 2), gate=False).score(light, dark, None, ["noise"])
    assert score == pytest.approx(0.4 - 0.4)  # 0.8 in one view, 0 in the other: mean minus spread


def test_the_gate_of_a_known_truth():
    clean = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.2
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1)) * 0.02
    degraded = clean + noise
    assert fidelity(degraded, degraded, clean) == fidelity(clean, degraded, clean) == 1
    assert fidelity(clean + 2**0.5 * noise, degraded, clean) == pytest.approx(0, abs=0.01)  # 3 dB
    assert 0.4 < fidelity(clean + 2**0.25 * noise, degraded, clean) < 0.6


def test_another_picture_is_paid_nothing_even_where_the_input_shows_hardly_anything(photographs):
    clean, other = (to_tensor(photographs[name][100:228, 100:228])[0] for name in ("astronaut", "coffee"))
    mixture = prescribe({"haze": 75, "blur": 70}, seed=1)
    degraded = degrade(clean[None], mixture)[0]
    assert fidelity(other, degraded, clean) == 0
    assert fidelity(degraded, degraded, clean) == fidelity(clean, degraded, clean) == 1


def test_the_gate_without_truth_forgives_light_and_not_another_picture(tasks):
    for one, other in zip(tasks, tasks[1:]):
        relit = (0.1 + 0.8 * one.clean**0.6).clamp(0, 1)
        assert structure(relit, one.clean) == pytest.approx(1)
        assert structure(other.clean, one.clean) < 0.4
        assert structure(torch.zeros_like(one.clean), one.clean) == 0


def test_unknown_names_and_wrong_answers_are_refused():
    with pytest.raises(ValueError, match="unknown reward beauty; there are: format"):
        named(["beauty"], rewards.REASONER)
    with pytest.raises(ValueError, match="none named"):
        named([], rewards.REASONER)
    with pytest.raises(ValueError, match="expected a list of 1 scores, got 2"):
        ask("two", lambda completions: [0.0, 1.0], completions=[""])
    with pytest.raises(ValueError, match="finite number"):
        ask("nan", lambda completions: [float("nan")], completions=[""])


def test_weights_combine_scores_and_none_is_left_out():
    scores = {"a": [1.0, None, None], "b": [0.5, 0.5, None]}
    assert combine(scores, {"a": 2.0, "b": 1.0}) == [2.5, 0.5, None]


def test_rewards_can_travel_to_other_processes():
    for reward in rewards.REASONER.values():
        assert pickle.loads(pickle.dumps(reward)) is reward
