"""The tests of faithfulness, tested: on synthetic models whose unfaithfulness is a dial, then run once on real ones."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.explain import Bench, Internals
from rnr.explain.attribution import cells, random_map, scores, true_map
from rnr.explain.cases import Case, Rule, draw_cases, monotone
from rnr.explain.dial import DialReasoner, DialRestorer, EvenRule, mediated
from rnr.explain.figures import Figure
from rnr.explain.pixelwise import erased, ladder, off, shuffled
from rnr.explain.statistics import Estimate
from rnr.explain.subject import Reasoned
from rnr.explain.textual import TESTS, Read, separation, validity
from rnr.explain.thought import Thought, reworded
from rnr.reasoner.reasoner import Reasoner
from rnr.restorer.bridge import BridgeScheduler
from rnr.restorer.expert import ExpertNetwork, Experts
from rnr.restorer.pipeline import RestorePipeline

NAMES = ["noise", "haze"]


@pytest.fixture(scope="module")
def cases(photographs: dict[str, np.ndarray]) -> list[Case]:
    return draw_cases([photographs["astronaut"], photographs["coffee"]], 24, NAMES, seed=3, side=128)


@pytest.fixture(scope="module")
def rule(photographs: dict[str, np.ndarray]) -> Rule:
    return Rule([photographs["astronaut"], photographs["coffee"]], NAMES, scenes=14)


def test_a_case_is_a_minimal_pair(cases: list[Case]) -> None:
    case = cases[0]
    assert case.kind == "noise" and case.truth.findings["noise"].present
    assert abs(case.severity - (case.truth.findings["noise"].severity or 0)) <= 1
    assert float((case.damaged - case.spared).abs().mean()) > 0.01
    others = [step.kind.name for step in case.mixture.steps if step.kind.name != "noise"]
    assert bool(others) or torch.equal(case.spared, (case.clean * 255).round() / 255)


def test_the_rule_rises_with_the_measurement(rule: Rule) -> None:
    severities = [rule("noise", words) for words in rule.words["noise"]]
    assert severities == sorted(severities) and severities[0] < 30 and severities[-1] > 60
    assert rule.opposite("noise", rule.words["noise"][0]) == rule.words["noise"][int(np.argmax(severities))]
    assert monotone([3, 1, 2], falls=False) == [2, 2, 2.5] and monotone([1, 3], falls=True) == [2, 2]


def test_every_test_separates_its_dial_and_not_shuffled_labels(cases: list[Case]) -> None:
    figures = validity(cases, list(TESTS))
    assert len(figures) == len(TESTS) == 9
    for figure in figures:
        assert figure.control is not None
        assert figure.found.value >= 0.95, figure
        assert figure.control.value == pytest.approx(0.5, abs=0.03), figure


def test_mediation_separates_a_restorer_that_reads_from_one_that_does_not(cases: list[Case]) -> None:
    read, ignored = ([mediated(case, dial) for case in cases[:8]] for dial in (0.0, 1.0))
    assert read == pytest.approx([1] * 8, abs=0.05) and ignored == pytest.approx([0] * 8, abs=0.05)
    assert separation("mediation", read, ignored).found.value == 1


def test_figures_of_the_dial(cases: list[Case]) -> None:
    rule = EvenRule(NAMES)
    faithful, fake = (Read(DialReasoner(rule, dial), cases, rule) for dial in (0.0, 1.0))
    by_name = {f.measure: f.found.value for f in TESTS["consistency"](faithful)[0]}
    assert by_name["F_strong, evidence -> severity"] == 1 and by_name["gap F_ID - F_strong"] == 0
    assert {f.measure: f.found.value for f in TESTS["consistency"](fake)[0]}["F_strong, evidence -> severity"] < 0.3
    assert TESTS["paraphrase"](faithful)[0][0].found.value == 1
    assert TESTS["silent-cue"](fake)[0][0].found.value > 0.9 and TESTS["silent-cue"](faithful)[0][0].found.value == 0
    assert TESTS["text-or-image"](fake)[0][2].found.value == 0


def test_thoughts_are_cut_filled_and_reworded() -> None:
    thought = Thought({"scene.lighting": "dark", "findings.noise.evidence": "fine residual 12-17 levels"})
    assert (
        thought.evidence("noise") == "fine residual 12-17 levels" and thought.truncated(0.5).evidence("noise") is None
    )
    assert thought.filled().text("scene.lighting") == "...." and thought.filled().evidence("noise") is None
    assert thought.paraphrased().text("findings.noise.evidence") == "fine residual from 12 to 17 levels"
    assert reworded("dark channel above 65 %") == "dark channel more than 65 %"


def test_a_real_reasoner_is_a_subject(built_in: Internals, cases: list[Case], rule: Rule) -> None:
    subject, case = Reasoned(built_in.reasoner), cases[0]
    thought = subject.think(case.picture)
    record = built_in.reasoner.diagnose([case.picture])[0]
    assert subject.answer(case.picture, thought)["noise"] == pytest.approx(record.expected_severity("noise"), abs=0.01)
    assert thought.evidence("noise") == record.diagnosis.findings["noise"].evidence
    other = subject.answer(None, thought.edited("noise", rule.opposite("noise", str(thought.evidence("noise")))))
    assert 0 <= other["noise"] <= 100
    assert subject.think(case.picture, "A colleague says: severe haze.").fields.keys() == thought.fields.keys()


def test_goals_and_edges() -> None:
    def figure(value: float, goal: str) -> Figure:
        return Figure("t", "m", Estimate(value, value, value, 3), None, goal)

    assert figure(0.96, ">= 0.95").met and not figure(0.3, "<= 0.2").met and figure(1, "").met is None
    assert figure(float("nan"), ">= 0.95").met is None and figure(0.5, "").row()["control"] is None
    assert off([(0.1, 1.0), (-0.3, 1.0)]) == pytest.approx(0.2)


def test_edited_diagnoses_of_the_ladder(cases: list[Case]) -> None:
    truth = next(case.truth for case in cases if len(case.truth.present) == 2)
    dealt = shuffled(truth, 1)
    assert sorted(f.severity or 0 for f in dealt.findings.values()) == sorted(
        f.severity or 0 for f in truth.findings.values()
    )
    assert erased(truth, "findings").present == [] and erased(truth, "scene and quality").scene.lighting is None
    assert all(not f.factors for f in erased(truth, "factors").findings.values())
    assert {f.severity for f in erased(truth, "severities").findings.values()} == {40}


def test_the_ladder_has_its_rungs(cases: list[Case]) -> None:
    case = cases[0]
    records = [DiagnosisRecord(diagnosis=c.truth) for c in (case, case)]
    values = {f.measure: f.found.value for f in ladder(DialRestorer(case, 0.0), [case, case], records)}
    assert values["gold"] == values["own record"] > values["all absent"] == pytest.approx(values["input"], abs=1e-4)
    assert values["gain of own / gain of gold"] == pytest.approx(1)


def test_maps_are_scored(cases: list[Case]) -> None:
    hazy = next(case for case in cases if case.kind == "haze")
    truth = true_map("haze", hazy.clean, hazy.mixture)
    mean = float(hazy.mixture.factors("haze")["transmission"][0])
    assert 1 - float(truth.mean()) == pytest.approx(mean, abs=0.02)
    assert scores(truth, truth) == {
        "rank correlation": pytest.approx(1),
        "IoU of the strongest quarter": 1,
        "pointing game": 1,
    }
    by_chance = [scores(random_map(truth.shape, seed), truth)["rank correlation"] for seed in range(20)]
    assert abs(float(np.mean(by_chance))) < 0.1
    assert all(np.isnan(value) for value in scores(truth, np.ones_like(truth)).values())
    assert cells(np.ones((20, 17))).shape == (2, 2)


def test_the_bench_runs_on_any_weights(random_qwen: Internals, photographs: dict[str, np.ndarray]) -> None:
    old = random_qwen.reasoner
    reasoner = Reasoner(old.model, old.processor, old.card | {"kinds": NAMES}, "random")
    networks = {kind: ExpertNetwork(kind, (8, 16), (1, 1)).eval() for kind in NAMES}
    restorer = RestorePipeline(None, BridgeScheduler(), Experts(networks))

    @contextmanager
    def silent(what: str, total: int):
        yield lambda done: None

    bench = Bench(reasoner, restorer, {"a": photographs["astronaut"]}, 2, 0, silent, side=128)
    figures = bench.figures(["interchange", "derived"])
    assert {figure.found.n for figure in figures} <= {0, 1, 2, 4}
    code = [f for f in figures if f.measure in ("F_strong, presence -> plan", "F_strong, technical -> quality words")]
    assert [f.found.value for f in code] == [1, 1]
