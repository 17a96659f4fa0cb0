"""The accept test: what is held against a restoration, and what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Finding
from rnr.graph.judging import FIDELITY, fidelity, severities, verdict
from rnr.graph.state import Look
from rnr.graph.store import ImageRef


def look(sha: str, given: bool = False, **severity: float) -> Look:
    ref = ImageRef(sha256=sha * 64, width=1, height=1, bits=8)
    present = [kind for kind, value in severity.items() if value >= 10]
    return Look(picture=ref, record="r", severity=severity, present=present, plan=present, given=given)


BEFORE = look("a", haze=40, noise=30, blur=2)


@pytest.mark.parametrize(
    ("after", "likeness", "accepted", "reason"),
    [
        (look("b", haze=5, noise=10, blur=2), 0.9, True, "fell by 55, from 70 to 15"),
        (look("b", haze=39.5, noise=30, blur=2), 0.9, False, "fell by 0.5 only"),
        (look("b", haze=45, noise=30, blur=2), 0.9, False, "rose by 5.0"),
        (look("b", haze=30, noise=30, blur=15), 0.9, True, "fell by 10"),  # came to light
        (look("b", haze=30, noise=30, blur=25), 0.9, False, "blur got worse by 23"),
        (look("b", haze=30, noise=30, rain=12, low_light=11), 0.9, False, "rain got worse by 12"),  # new kinds count
        (look("b", haze=0, noise=0, blur=0), FIDELITY - 0.01, False, "no longer shows the same"),
        (look("a", haze=0, noise=0, blur=0), 1.0, False, "changed nothing"),
    ],
)
def test_verdicts(after: Look, likeness: float, accepted: bool, reason: str) -> None:
    said, why = verdict(BEFORE, BEFORE, after, likeness)
    assert said is accepted and reason in why


def test_where_a_person_gave_the_diagnosis_no_margin_is_asked() -> None:
    after = look("b", haze=39.5, noise=30, blur=2)
    assert verdict(BEFORE, BEFORE, after, 0.9)[0] is False
    assert verdict(BEFORE, {**BEFORE, "given": True}, after, 0.9)[0] is True


def changed(picture: np.ndarray, how: str) -> np.ndarray:
    x = picture / 255.0
    rng = np.random.default_rng(0)
    return {
        "dehazed": (x - 0.85 * 0.5) / 0.5,
        "relit": x**0.45 * 1.2,
        "coloured": x * (1.3, 1.0, 0.7) + 0.05,
        "denoised": x + rng.normal(0, 0.1, x.shape),
        "painted": np.where(np.indices(x.shape)[1] < 70, 0.5, x),
        "flat": np.full_like(x, 0.5),
        "upside down": x[::-1],
        "negative": 1 - x,
    }[how].clip(0, 1)


@pytest.mark.parametrize("how", ["relit", "coloured", "denoised"])
def test_right_changes_of_light_and_grain_cost_little(damaged: Any, how: str) -> None:
    assert fidelity(damaged(), changed(damaged(), how)) > 0.9


def test_haze_and_low_light_that_are_gone_cost_little(damaged: Any) -> None:
    for kinds in ({"haze": 60}, {"low_light": 55}, {"noise": 50}, {"rain": 40}, {"haze": 40, "noise": 30}):
        assert fidelity(damaged(**kinds), damaged()) > FIDELITY + 0.1, kinds


@pytest.mark.parametrize("how", ["flat", "upside down", "negative"])
def test_another_picture_has_next_to_nothing_in_common(damaged: Any, how: str) -> None:
    assert fidelity(damaged(), changed(damaged(), how)) < FIDELITY / 2


def test_painting_over_half_of_it_shows(damaged: Any) -> None:
    assert fidelity(damaged(), changed(damaged(), "painted")) < 0.75


def test_fidelity_takes_any_depth_and_tiny_pictures(damaged: Any) -> None:
    picture = damaged()
    deep = picture.astype(np.uint16) * 257
    assert fidelity(deep, picture / 255.0) == pytest.approx(1, abs=1e-3)
    assert 0 <= fidelity(picture[:1, :1], picture[:1, :1]) <= 1


def test_beliefs_come_before_words_and_unknown_is_missing() -> None:
    findings = {
        "haze": Finding(present=True, severity=40),
        "noise": Finding(present=True, severity=9),
        "rain": Finding(present=None, severity=None),
    }
    beliefs = {"haze": Belief(probability=0.5, severity_if_present=60, spread=1)}
    assert severities(DiagnosisRecord(diagnosis=Diagnosis(findings=findings), beliefs=beliefs)) == {
        "haze": 30.0,
        "noise": 9.0,
    }
