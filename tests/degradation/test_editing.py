"""One edit of a diagnosis: what it changes, what it leaves, and that beliefs give way to it."""

from __future__ import annotations

from typing import Any

import pytest

from rnr import Error
from rnr.degradation import Belief, Diagnosis, DiagnosisRecord, Finding, kinds
from rnr.degradation.editing import beyond_top, edited
from rnr.degradation.synthesize import prescribe

NOISE = {"type": "gaussian", "sigma": 13, "colour": "grey", "grain": 1}
DIAGNOSIS = Diagnosis(
    findings={
        "noise": Finding(evidence="fine residual 8-12 levels", present=True, severity=30, factors=dict(NOISE)),
        "haze": Finding(present=False, severity=0),
        "blur": Finding(present=None, severity=None),
    },
    plan=["noise"],
)


def record() -> DiagnosisRecord:
    beliefs = {
        "noise": Belief(probability=0.9, severity_if_present=40, spread=5),
        "haze": Belief(probability=0.3, severity_if_present=50, spread=9),
    }
    return DiagnosisRecord(diagnosis=DIAGNOSIS.model_copy(deep=True), beliefs=beliefs, text=DIAGNOSIS.to_json())


def test_zero_is_absent_and_more_is_present() -> None:
    changed = edited(DIAGNOSIS, {"noise": 0, "haze": 40, "blur": 20, "rain": 10})
    assert changed.plan == ["haze", "rain", "blur"]  # last formed, first undone
    assert list(changed.findings) == ["noise", "haze", "rain", "blur"]  # a kind that was not asked, in its place
    assert changed.findings["noise"].factors == {} and changed.findings["noise"].evidence
    assert DIAGNOSIS.present == ["noise"]  # stays as it was
    assert edited(DIAGNOSIS, {}) == DIAGNOSIS == DIAGNOSIS.edit("noise", severity=30)


def test_a_kind_joins_the_plan_where_it_is_usually_undone() -> None:
    assert DIAGNOSIS.edit("compression", severity=20).plan == ["compression", "noise"]
    assert DIAGNOSIS.edit("haze", severity=20).plan == ["noise", "haze"]
    turned = Diagnosis(findings=dict(DIAGNOSIS.edit("haze", severity=9).findings), plan=["haze", "noise"])
    assert turned.edit("blur", severity=5).plan == ["haze", "noise", "blur"]  # an order of one's own stays


@pytest.mark.parametrize("name", list(kinds()))
def test_the_main_factor_follows_the_severity(name: str) -> None:
    import torch

    kind = kinds()[name]
    drawn = prescribe({name: kind.highest // 2}, 3).steps[0].factors
    factors = {factor.name: factor.written(float(drawn[factor.name])) for factor in kind.factors}
    start = Diagnosis(findings={name: Finding(present=True, severity=kind.highest // 2, factors=factors)}, plan=[name])
    changed = start.edit(name, severity=kind.highest // 4).findings[name].factors
    values = {key: torch.tensor([kind.factor(key).value(value)]) for key, value in changed.items()}
    assert float(kind.severity(values)) == pytest.approx(kind.highest // 4, abs=3)  # the grid of the main factor
    assert {key: value for key, value in changed.items() if key != kind.main} == {
        key: value for key, value in factors.items() if key != kind.main
    }


def test_a_main_factor_that_cannot_be_solved_is_left_out() -> None:
    half = Diagnosis(findings={"noise": Finding(present=True, severity=30, factors={"sigma": 13, "grain": 2})})
    assert half.edit("noise", severity=60).findings["noise"].factors == {"grain": 2}


REFUSED: list[tuple[str, Any, str]] = [
    ("fog", 10, "unknown kind 'fog'; there are blur"),
    ("noise", 101, r"the severity of noise is a whole number in 0\.\.89, not 101"),
    ("noise", 90, r"0\.\.89"),
    ("noise", -1, r"0\.\.89"),
    ("noise", 3.5, "whole number"),
    ("noise", True, "whole number"),
    ("compression", 90, r"0\.\.51"),
]


@pytest.mark.parametrize(("name", "severity", "message"), REFUSED)
def test_what_cannot_be_is_refused_with_the_top(name: str, severity: Any, message: str) -> None:
    for target in (DIAGNOSIS, record()):
        with pytest.raises(Error, match=message):
            target.edit(name, severity=severity)
    with pytest.raises(Error, match="unknown kind 'fog'"):
        DIAGNOSIS.without("fog")
    with pytest.raises(Error, match="unknown kind 'fog'"):
        DIAGNOSIS.only("fog")


def test_without_and_only() -> None:
    both = DIAGNOSIS.edit("haze", severity=40)
    assert both.without("haze").present == ["noise"] == both.only("noise").present
    assert both.only("noise").state("blur") == "absent"  # "could not say" gives way, too
    assert both.only("rain").present == [] == both.without("noise", "haze").plan
    assert both.only("rain").state("rain") == "not_asked"


def test_an_edit_of_a_record_makes_its_beliefs_certain() -> None:
    changed = record().edit("noise", severity=10)
    assert changed.expected_severity("noise") == 10 and changed.beliefs["noise"].interval == (10, 10)
    assert changed.expected_severity("haze") == record().expected_severity("haze") == 15
    assert changed.settings["edited"] == {"noise": 10} and changed.text == record().text
    assert changed.without("haze").settings["edited"] == {"noise": 10, "haze": 0}
    assert record().only("noise").expected_severity("haze") == 0  # what was only suspected
    assert DiagnosisRecord.model_validate_json(changed.model_dump_json()) == changed
    with pytest.raises(Error, match="there is no diagnosis to edit"):
        DiagnosisRecord(diagnosis=None, error="dark").edit("noise", severity=1)


def test_a_finding_that_was_set_by_hand_overrules_the_belief() -> None:
    changed = record()
    assert changed.diagnosis
    changed.diagnosis.findings["noise"] = Finding(present=True, severity=10)
    assert changed.expected_severity("noise") == 10 and changed.expected_severity("haze") == 15
    assert changed.belief("blur") is None  # could not be scored, and nobody said more
    no_text = record().model_copy(update={"text": "a model's own words"})
    assert no_text.expected_severity("noise") == 36


def test_a_severity_above_the_top_is_named() -> None:
    high = Diagnosis(findings={"compression": Finding(present=True, severity=90)}, plan=["compression"])
    assert beyond_top(high) == ["compression 90 is above its highest severity, 51, and counts as that"]
    assert beyond_top(DIAGNOSIS) == []
