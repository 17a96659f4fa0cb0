"""A DiagnosisRecord in words and bars: what the report and the terminal say of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord, Scene, State, reasoning_order
from rnr.degradation.display import STATE_WORDS, percent
from rnr.degradation.kind import Kind, kinds
from rnr.judge.reading import Reading, severity


@dataclass(frozen=True)
class FactorWords:
    name: str
    value: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class Thought:
    """One step of the chain: evidence -> present or not, how sure -> severity and its interval -> factors -> cause."""

    kind: str
    title: str
    state: State
    evidence: str
    probability: str  # "97%"; empty if the model gave none
    severity: str  # as `Reading.number`; empty where it could not be said
    interval: str  # "35-50", of the severity if present; empty if unknown
    factors: tuple[FactorWords, ...]
    cause: str
    look: str

    @property
    def words(self) -> str:
        return STATE_WORDS[self.state]


@dataclass(frozen=True)
class SeverityRow:
    """One kind before and after, for the bars."""

    title: str
    before: Reading
    after: Reading | None


def spoken(name: str) -> str:
    """An identifier as words."""
    return name.replace("_", " ")


def severity_rows(before: DiagnosisRecord, after: DiagnosisRecord | None) -> list[SeverityRow]:
    """Every known kind, in the order of the reasoning."""
    order = list(before.diagnosis.findings) if before.diagnosis else []
    order += [name for name in reasoning_order() if name not in order]
    return [
        SeverityRow(kinds()[name].words.title, severity(before, name), severity(after, name) if after else None)
        for name in order
    ]


def thoughts(record: DiagnosisRecord) -> list[Thought]:
    """The findings in the order they were reasoned, then the kinds that were not asked."""
    diagnosis = record.diagnosis
    if diagnosis is None:
        return []
    names = [*diagnosis.findings, *(name for name in reasoning_order() if name not in diagnosis.findings)]
    return [_thought(kinds()[name], diagnosis, record) for name in names]


def _thought(kind: Kind, diagnosis: Diagnosis, record: DiagnosisRecord) -> Thought:
    finding, belief = diagnosis.findings.get(kind.name), record.belief(kind.name)
    read = severity(record, kind.name)
    return Thought(
        kind=kind.name,
        title=kind.words.title,
        state=diagnosis.state(kind.name),
        evidence=(finding.evidence or "") if finding else "",
        probability=percent(belief.probability) if belief else "",
        severity=read.number,
        interval=read.range,
        factors=tuple(_factors(kind, finding.factors)) if finding else (),
        cause=kind.words.cause,
        look=kind.words.look,
    )


def _factors(kind: Kind, written: dict[str, int | float | str]) -> Iterable[FactorWords]:
    for name, value in written.items():
        factor = kind.factor(name)
        yield FactorWords(spoken(name), spoken(str(value)), factor.unit, factor.meaning)


def scene_words(scene: Scene) -> list[tuple[str, str]]:
    """What is known of the scene, as (label, words)."""
    parts = {
        "": scene.summary,
        "medium": scene.medium,
        "lighting": scene.lighting,
        "colours": " and ".join(dict.fromkeys(scene.colours or [])),
        "texture": scene.texture,
        "layout": scene.layout,
        "objects": ", ".join(scene.objects or []),
    }
    return [(label, spoken(words)) for label, words in parts.items() if words]


def changes(before: DiagnosisRecord, after: DiagnosisRecord) -> list[tuple[str, Reading, Reading]]:
    """(title, before, after) of the kinds that were found at first: the picture's story in one line."""
    found = before.diagnosis.present if before.diagnosis else []
    return [(kinds()[name].words.title, severity(before, name), severity(after, name)) for name in found]
