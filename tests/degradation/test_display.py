"""A Diagnosis and its record on a screen and in a notebook."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Finding, Quality
from rnr.degradation.kind import kinds

SCREEN = (100, 24)  # columns, lines


@pytest.fixture
def long() -> DiagnosisRecord:
    """All kinds present, with every factor, with evidence as long as a server's model may write it."""
    findings = {}
    for name, kind in kinds().items():
        factors = {f.name: f.choices[0] if f.choices else f.written(f.high) for f in kind.factors}
        findings[name] = Finding(evidence="<b>grain & fog</b>\n" * 12, present=True, severity=100, factors=factors)
    diagnosis = Diagnosis(findings=findings, quality=Quality(technical=3), plan=list(findings))
    belief = Belief(probability=0.999, severity_if_present=88, spread=9, interval=(71.2, 100))
    beliefs = dict.fromkeys(findings, belief)
    return DiagnosisRecord(diagnosis=diagnosis, beliefs=beliefs, text="x" * 9000, model="m" * 300)


def test_a_repr_fits_a_screen_and_says_what_was_found(long: DiagnosisRecord) -> None:
    for shown in (long, long.diagnosis):
        lines = repr(shown).splitlines()
        assert len(lines) <= SCREEN[1] and max(map(len, lines)) <= SCREEN[0] and str(shown) == repr(shown)
        assert lines[0] == type(shown).__name__ and all(f"\n  {name} " in repr(shown) for name in kinds())
    assert ">99%" in repr(long) and "88 (71–100)" in repr(long)


def test_not_asked_and_could_not_say_are_not_zero() -> None:
    findings = {"noise": Finding(present=None, severity=None), "rain": Finding(present=False, severity=0)}
    noise, rain, *others = repr(Diagnosis(findings=findings)).splitlines()[1:-1]
    assert noise.split() == ["noise", "could", "not", "say"] and rain.split() == ["rain", "absent", "0"]
    assert len(others) == len(kinds()) - 2 and all(line.endswith("not asked") for line in others)


def test_a_record_without_a_diagnosis_says_why() -> None:
    record = DiagnosisRecord(diagnosis=None, error="the server\nwent away")
    assert repr(record) == "DiagnosisRecord\n  error: the server went away"
    assert "the server went away" in record._repr_html_()


def test_a_notebook_shows_a_table_of_escaped_text(long: DiagnosisRecord) -> None:
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)  # type: ignore
    parser.feed(long._repr_html_())
    assert set(tags) == {"table", "caption", "br", "thead", "tbody", "tr", "th", "td"}
    assert tags.count("tr") == 1 + len(kinds()) and "&lt;b&gt;grain &amp; fog" in long._repr_html_()
