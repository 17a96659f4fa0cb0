"""Rewards on completions and pictures whose score is known."""

from __future__ import annotations

import json
import pickle

import pytest
import torch

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.judge.change import Change
from rnr.judge.content import PASS
from rnr.rl import rewards
from rnr.rl.judge import Judge
from rnr.rl.rewards import SeverityReward, ask, combine, named, paid, words

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


def parts(text: str) -> list[dict]:
    return [{"role": "assistant", "content": [{"type": "text", "text": half} for half in (text[:50], text[50:])]}]


@pytest.mark.parametrize("wrap", [lambda text: [{"role": "assistant", "content": text}], parts])
def test_rewards_read_trls_messages_too(wrap):
    for name in ("format", "type", "severity", "factor"):
        assert rewards.REASONER[name](prompts=[""], completions=[wrap(TRUTH)], truth=[TRUTH]) == [1.0], name


@pytest.mark.parametrize("nothing", [[], "", [{"role": "assistant", "content": []}], [{"role": "assistant"}]])
def test_an_empty_answer_is_scored_as_no_diagnosis(nothing):
    assert rewards.format_reward([""], [nothing], truth=[TRUTH]) == [0.0]
    assert rewards.severity_reward([""], [nothing], [TRUTH]) == [None]
    assert all(reward(prompts=[], completions=[], truth=[]) == [] for reward in rewards.REASONER.values())


def test_a_truth_may_be_a_dictionary_as_datasets_fills_it():
    datasets = pytest.importorskip("datasets", reason="the `train` extra is not installed")
    rows = [{"truth": json.loads(TRUTH)}, {"truth": json.loads(text(noise=0, haze=30, rain=0, blur=10))}]
    filled = [row["truth"] for row in datasets.Dataset.from_list(rows)]
    assert filled[0]["findings"]["blur"] is None and filled[1]["findings"]["noise"]["factors"]["sigma"] is None
    other = json.dumps(rows[1]["truth"])
    for said, true in ((TRUTH, filled[0]), (TRUTH, Diagnosis.from_json(TRUTH)), (other, filled[1])):
        assert rewards.severity_reward([""], [said], [true]) == rewards.type_reward([""], [said], [true]) == [1.0]


def test_what_the_built_in_reasoner_writes_is_read_in_parts(reasoner, tasks):
    (record,) = reasoner.diagnose([tasks[0].degraded.permute(1, 2, 0).numpy()])
    true = tasks[0].truth.model_dump(mode="json")
    for name, reward in rewards.REASONER.items():
        columns = {"prompts": [""] * 2, "truth": [true] * 2}
        (one, _), (other, _) = (reward(completions=[w, w], **columns) for w in (record.text, parts(record.text)))
        assert one == other and (name == "factor" or one is not None)


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
    assert paid(Change(removed=25, new=5, over=0, content=1, before=50)) == pytest.approx(25 / 50 - 5 / 50)
    assert paid(Change(removed=25, new=5, over=10, content=PASS, before=50)) == pytest.approx(25 / 50 - 15 / 50)
    assert paid(Change(removed=25, new=5, over=0, content=PASS / 2, before=50)) == pytest.approx(0.25 - 0.1 - 0.5)
    assert paid(Change(removed=0, new=0, over=0, content=1, before=50)) == 0
    assert paid(Change(removed=2, new=0, over=0, content=1, before=2)) is None  # nothing was seen: no score, not 0


def test_doing_nothing_scores_exactly_0_and_what_was_not_seen_is_none(judge, tasks):
    reward = SeverityReward(judge)
    one = tasks[0]
    columns = {"degraded": [one.degraded], "clean": [one.clean]}
    assert reward([""], [one.degraded], present=[one.present], **columns) == [0.0]
    assert reward([""], [one.degraded], degraded=[one.degraded]) == [0.0]  # nor where nobody says what is present
    assert reward([""], [one.clean], present=[[]], **columns) == [None]


def test_views_that_disagree_pay_less(reasoner, tasks):
    class Two(Judge):
        def _look(self, picture):
            mean = float(picture.mean())
            return [{"noise": 50 - 40 * mean}, {"noise": 50 + 0 * mean}]

    dark, light = torch.zeros(3, 64, 64), torch.ones(3, 64, 64)
    score = SeverityReward(Two(reasoner, 2), gate=False).score(light, dark, ["noise"])
    assert score == pytest.approx(0.4 - 0.4)  # 0.8 in one view, 0 in the other: mean minus spread


def test_another_image_is_paid_for_no_fall_of_severity(reasoner, tasks):
    class Pleased(Judge):
        def _look(self, picture):
            return [{"noise": 50.0 if torch.equal(picture, tasks[0].degraded) else 0.0}]

    reward = SeverityReward(Pleased(reasoner, 1))
    one, other = tasks[0], tasks[1]
    columns = {"degraded": [one.degraded] * 2, "present": [["noise"]] * 2}
    kept, replaced = reward([""] * 2, [one.clean, other.clean], **columns)
    assert kept is not None and replaced is not None and kept > 0.5 and replaced < 0


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


def test_a_completion_may_be_text_messages_or_messages_with_parts():
    parts = [{"type": "text", "text": "{"}, {"type": "image"}, {"type": "text", "text": "}"}]
    for completion in ("{}", [{"role": "assistant", "content": "{}"}], [{"role": "assistant", "content": parts}]):
        assert words(completion) == "{}"
