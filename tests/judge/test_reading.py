"""One reading of severity: beliefs before words, and what could not be said is no number."""

from __future__ import annotations

import pytest

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Finding
from rnr.judge.reading import severities, severity

FINDINGS = {
    "haze": Finding(present=True, severity=40),
    "noise": Finding(present=True, severity=9),
    "rain": Finding(present=None, severity=None),
}
BELIEF = Belief(probability=0.5, severity_if_present=60, spread=1, interval=(50, 70))
RECORD = DiagnosisRecord(diagnosis=Diagnosis(findings=FINDINGS), beliefs={"haze": BELIEF, "rain": BELIEF})


@pytest.mark.parametrize(
    ("kind", "state", "number", "shown"),
    [
        ("haze", "present", "30", "50–70"),
        ("noise", "present", "9", ""),
        ("rain", "unknown", "", ""),
        ("blur", "not_asked", "", ""),
    ],
)
def test_a_kind_is_read_in_one_way(kind: str, state: str, number: str, shown: str) -> None:
    read = severity(RECORD, kind)
    assert (read.state, read.number, read.range) == (state, number, shown)
    assert (read.severity is None) == (number == "")


def test_what_could_not_be_said_is_missing_among_the_severities() -> None:
    assert severities(RECORD) == {"haze": 30.0, "noise": 9.0}
    assert severities(DiagnosisRecord(diagnosis=None, error="broken")) == {}


def test_an_edit_overrules_the_belief() -> None:
    assert severity(RECORD.edit("haze", severity=0), "haze").severity == 0


def test_console_report_and_json_show_the_same_number() -> None:
    from rnr.app.tables import detail_table, overview_table
    from rnr.report.thoughts import thoughts
    from rnr.serve.work import summary

    assert [str(cell) for cell in detail_table("image", RECORD).columns[3].cells][0] == "30 (50–70)"
    assert any(str(c) == "30" for column in overview_table([("image", RECORD)]).columns for c in column.cells)
    assert thoughts(RECORD)[0].severity == "30" and summary(RECORD)["expected_severity"]["haze"] == 30
    assert "30 (50–70)" in repr(RECORD)
