"""Files of physics 1, when there were six kinds: read as ever, and of newer kinds they say that nobody asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.kind import PHYSICS, kinds
from rnr.reasoner.grammar import segments, written_physics

OLD = Path(__file__).parent.parent / "files" / "physics1"
SIX = ["compression", "noise", "low_light", "haze", "rain", "blur"]


def records() -> list[DiagnosisRecord]:
    """Both of a restoration, and the row of `rnr diagnose --jsonl`."""
    restored = json.loads((OLD / "coffee.diagnosis.json").read_text(encoding="utf-8"))
    row = json.loads((OLD / "diagnoses.jsonl").read_text(encoding="utf-8"))
    fields = {name: value for name, value in row.items() if name in DiagnosisRecord.model_fields}
    return [DiagnosisRecord.model_validate(data) for data in (restored["before"], restored["after"], fields)]


@pytest.mark.parametrize("record", records(), ids=["before", "after", "row"])
def test_a_record_says_of_newer_kinds_that_nobody_asked(record: DiagnosisRecord) -> None:
    assert record.physics == 1 < PHYSICS and record.diagnosis is not None
    newer = [name for name in kinds() if name not in SIX]
    assert {"snow", "low_resolution"} <= set(newer) and list(record.diagnosis.findings) == SIX
    assert {record.diagnosis.state(name) for name in newer} == {"not_asked"}
    assert {record.expected_severity(name) for name in newer} == {None}


@pytest.mark.parametrize("name", ["coffee.diagnosis.json", "truth.diagnosis.json"])
def test_a_diagnosis_is_read_and_written_as_it_was(name: str) -> None:
    diagnosis = Diagnosis.read(OLD / name)
    assert diagnosis.state("noise") == "present" and "grain" not in diagnosis.findings["noise"].factors
    assert written_physics(diagnosis) == 1
    assert "".join(segment.text for segment in segments(diagnosis)) == diagnosis.to_json()


def test_the_text_is_still_what_the_grammar_writes() -> None:
    for record in records():
        assert record.diagnosis is not None and record.diagnosis.to_json() == record.text
