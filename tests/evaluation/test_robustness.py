"""What the robustness benchmark shows a reasoner, and what it counts, with the built-in one."""

from __future__ import annotations

import numpy as np
import pytest

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Finding
from rnr.degradation.kind import kind_named, kinds
from rnr.evaluation import robustness
from rnr.evaluation.samples import batches
from rnr.reasoner import Reasoner


@pytest.fixture(scope="module")
def reasoner() -> Reasoner:
    return Reasoner.from_pretrained("built-in")


@pytest.fixture(scope="module")
def shown(reasoner: Reasoner, photographs: dict[str, np.ndarray]) -> list[robustness.Shown]:
    return robustness.looked_at(reasoner, batches(list(photographs.values()), 2, seed=1, batch=2, names=reasoner.kinds))


def test_a_png_changes_nothing_and_a_mirror_little(reasoner: Reasoner, shown: list[robustness.Shown]):
    rows = {row["change"]: row for row in robustness.changes_table(reasoner, shown).rows}
    assert rows["saved as PNG"]["median"] == 0 and rows["saved as PNG"]["identical %"] == 100
    assert 0 < float(str(rows["mirrored"]["median"])) < 15
    assert (
        rows["a row and a column less"]["n"]
        == rows["mirrored"]["n"]
        == sum(len(truth.present) for _, truth, _ in shown)
    )


OLD = ["blur", "rain", "haze", "low_light", "noise", "compression"]  # the kinds of physics 1
STRANGERS = robustness.strangers(OLD)


def test_what_weights_know_is_no_stranger_to_them():
    assert list(STRANGERS) == ["snow", "low resolution", "colour cast"]
    assert list(robustness.strangers(list(kinds()))) == ["colour cast"]


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers_are_seen_and_follow_their_seed(name: str, photographs: dict[str, np.ndarray]):
    picture = photographs["coffee"]
    first, again, other = (STRANGERS[name](picture, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.shape == picture.shape and first.dtype == np.uint8
    assert 3 < np.abs(first.astype(float) - picture).mean() < 80


def test_inventions_by_hand():
    def record(said: dict[str, float]) -> DiagnosisRecord:
        findings = {kind: Finding(present=p >= 0.5, severity=20 if p >= 0.5 else 0) for kind, p in said.items()}
        beliefs = {kind: Belief(probability=p, severity_if_present=20, spread=10 * p) for kind, p in said.items()}
        return DiagnosisRecord(diagnosis=Diagnosis(findings=findings), beliefs=beliefs)

    row = robustness._inventions([record({"noise": 0.95, "haze": 0.6}), record({"noise": 0.1, "haze": 0.2})])
    assert (row["invented %"], row["sure %"], row["pictures %"], row["n"]) == (50, 25, 50, 2)
    assert row["P"] == pytest.approx(0.775) and row["spread"] == pytest.approx((9.5 + 2) / 2)


def test_a_forced_word_is_the_neighbour_of_the_one_that_was_said(reasoner: Reasoner, shown: list[robustness.Shown]):
    picture, first = next((picture, record) for picture, _, record in shown if '"present":true' in record.text)
    said = Diagnosis.from_json(first.text)
    kind = said.present[0]
    shifts = dict(robustness._shifts(reasoner, picture, first, kind))
    texts = kind_named(kind).measurement.texts
    assert shifts and set(shifts) <= {-1, 1}
    for way, shift in shifts.items():
        forced = {f"findings.{kind}.evidence": texts[texts.index(str(said.findings[kind].evidence)) + way]}
        again = reasoner.diagnose([picture], forced=forced)[0].beliefs[kind]
        moved = again.expected_severity - first.beliefs[kind].expected_severity
        assert shift == pytest.approx(moved) and shift != 0


def test_forced_words_are_counted_along_the_trend(reasoner: Reasoner, shown: list[robustness.Shown]):
    rows = {row["evidence of"]: row for row in robustness.forced_table(reasoner, shown).rows}
    assert set(rows) == set(reasoner.kinds)
    assert sum(int(str(row["n"])) for row in rows.values()) > 0
    assert all(0 <= float(str(row["right way %"])) <= 100 for row in rows.values() if row["n"])
    for row in rows.values():
        assert row["n"] == 0 or abs(float(str(row["range"]))) > 0, "the words at both ends say something"


def test_false_evidence_is_forced_on_every_kind(reasoner: Reasoner, photographs: dict[str, np.ndarray]):
    table = robustness.false_table(reasoner, [photographs["coffee"][:160, :160]])
    assert [row["false evidence of"] for row in table.rows] == reasoner.kinds
    assert all(row["n"] == 1 and row["no finding %"] in (0.0, 100.0) for row in table.rows)
    plain = robustness.diagnosed(reasoner, photographs["coffee"][:160, :160])
    moved = [
        float(str(r["expected severity"])) - (plain.expected_severity(k) or 0)
        for k, r in zip(reasoner.kinds, table.rows)
    ]
    assert max(moved) > 0.1, "the strongest word is taken for one"
