"""Tokens from diagnoses: certainty, belief, states, intent; new kinds change nothing."""

import pytest
import torch

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Finding, Scene
from rnr.degradation.intent import Intent
from rnr.degradation.kind import kinds
from rnr.restorer.condition import Layout, encode, scene_features

LAYOUT = Layout.of(kinds())


def diagnosis(**findings: Finding) -> Diagnosis:
    return Diagnosis(findings=findings, plan=[name for name, f in findings.items() if f.present])


HAZY = diagnosis(
    haze=Finding(present=True, severity=40, factors={"transmission": 0.5, "airlight": 0.9}),
    noise=Finding(present=False, severity=0),
    rain=Finding(present=None, severity=None),
)


def test_a_diagnosis_is_certain_and_states_are_kept_apart():
    condition = encode(LAYOUT, HAZY)
    assert condition.asked["haze"].item() and condition.asked["noise"].item()
    assert not condition.asked["rain"].item(), "could not say is not a statement"
    assert not condition.asked["blur"].item(), "not asked is not a statement"
    probability, severity, expected, spread = condition.findings["haze"][0, :4].tolist()
    assert (probability, severity, spread) == (1, pytest.approx(0.4), 0) and expected == pytest.approx(0.4)
    assert not condition.findings["noise"].any()


def test_factors_are_scaled_to_their_range():
    features = encode(LAYOUT, HAZY).findings["haze"][0]
    transmission = kinds()["haze"].factor("transmission")
    share = (0.5 - transmission.low) / (transmission.high - transmission.low)
    assert features[4].item() == pytest.approx(share) and features[5].item() == 1


def test_a_record_is_trusted_as_far_as_it_trusts_itself():
    beliefs = {"haze": Belief(probability=0.6, severity_if_present=50, spread=9)}
    condition = encode(LAYOUT, DiagnosisRecord(diagnosis=HAZY, beliefs=beliefs))
    probability, severity, expected, spread = condition.findings["haze"][0, :4].tolist()
    assert (probability, severity, spread) == (pytest.approx(0.6), pytest.approx(0.5), pytest.approx(0.09))
    assert expected == pytest.approx(0.3)


def test_an_intent_leaves_the_other_kinds_alone():
    both = diagnosis(haze=HAZY.findings["haze"], noise=Finding(present=True, severity=30, factors={"sigma": 25}))
    condition = encode(LAYOUT, both, Intent(kinds=["noise"]))
    assert not condition.findings["haze"].any() and condition.asked["haze"].item()
    assert condition.findings["noise"][0, 0].item() == 1


def test_blind_means_no_finding_at_all():
    condition = encode(LAYOUT, None)
    assert not any(asked.any() for asked in condition.asked.values())
    assert condition.task.item() == 0 and encode(LAYOUT, HAZY).task.item() == 1


def test_words_that_are_not_in_the_vocabulary_stay_unknown():
    assert not scene_features(Scene(lighting="moonlit", colours=["teal"])).any()
    assert scene_features(Scene(lighting="dim")).sum() == 1


def test_a_kind_that_the_weights_do_not_know_changes_nothing():
    few = Layout({name: rows for name, rows in LAYOUT.factors.items() if name != "rain"})
    rainy = diagnosis(haze=HAZY.findings["haze"], rain=Finding(present=True, severity=60))
    with_rain, without = encode(few, rainy), encode(few, HAZY)
    assert "rain" not in with_rain.findings
    assert torch.equal(with_rain.findings["haze"], without.findings["haze"])
