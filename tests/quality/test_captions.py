"""Captions say what the Diagnosis says, in words that the tokenizer knows."""

from __future__ import annotations

import pytest

from rnr.degradation.diagnosis import Diagnosis, Finding, Scene
from rnr.quality.captions import LADDERS, captions_of, findings_text, level, rung
from rnr.quality.network import LENGTH, build_tokenizer


def hazy_and_noisy() -> Diagnosis:
    findings = {"haze": Finding(present=True, severity=20), "noise": Finding(present=True, severity=80)}
    scene = Scene(lighting="dark", texture="very_busy", colours=["blue", "grey"])
    return Diagnosis(findings=findings | {"rain": Finding(present=False, severity=0)}, scene=scene)


def test_the_worst_damage_comes_first_and_what_is_absent_is_not_named() -> None:
    assert findings_text(hazy_and_noisy()) == "severe noise , slight haze"
    assert findings_text(Diagnosis(findings={})) == "no visible damage"


@pytest.mark.parametrize(("severity", "word"), [(1, "slight"), (25, "moderate"), (50, "strong"), (75, "severe")])
def test_levels(severity: int, word: str) -> None:
    assert level(severity) == word


@pytest.mark.parametrize(("score", "place"), [(0, 0), (19.9, 0), (20, 1), (99, 4), (100, 4)])
def test_rungs(score: float, place: int) -> None:
    assert rung(score) == place


def test_the_rung_stands_in_the_caption_of_every_ladder() -> None:
    first = {captions_of(hazy_and_noisy(), 30, seed)[0] for seed in range(40)}
    assert first == {ladder.prompts[1] for ladder in LADDERS}


def test_without_a_score_no_caption_names_a_rung() -> None:
    reported = " ".join(captions_of(hazy_and_noisy()))
    assert not any(prompt in reported for ladder in LADDERS for prompt in ladder.prompts)
    assert "dark light , very busy , mostly blue and grey" in reported


def test_the_tokenizer_knows_every_word_and_no_caption_is_cut() -> None:
    tokenizer = build_tokenizer()
    findings = {name: Finding(present=True, severity=60) for name in ("low_light", "low_resolution", "haze", "snow")}
    full = Diagnosis(findings=findings, scene=hazy_and_noisy().scene)
    texts = [text for seed in range(20) for text in captions_of(full, 5 * seed, seed)]
    rows = tokenizer(texts)["input_ids"]
    assert not any(tokenizer.unk_token_id in row for row in rows) and max(map(len, rows)) <= LENGTH
    assert tokenizer.unk_token_id in tokenizer("a lovely dog")["input_ids"]
