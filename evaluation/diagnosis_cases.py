"""What a reasoner said of damaged pictures beside what is true of them: the raw material of `rnr bench diagnosis`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord
from rnr.evaluation.samples import Batch

if TYPE_CHECKING:
    from rnr.degradation.protocols import Diagnoser


@dataclass
class Case:
    """One picture. `severity` and `factors` are exact, where the Diagnosis holds them rounded."""

    record: DiagnosisRecord
    truth: Diagnosis
    severity: dict[str, float]
    factors: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def asked(self) -> list[str]:
        """Kinds that the reasoner knows and could speak of."""
        return list(self.record.diagnosis.findings) if self.record.diagnosis else []

    def belief(self, kind: str) -> Belief | None:
        return self.record.beliefs.get(kind)

    def said_present(self, kind: str) -> bool:
        return self.record.diagnosis is not None and self.record.diagnosis.state(kind) == "present"

    def said_severity(self, kind: str) -> int:
        """The greedy answer; 0 where absent."""
        return (self.record.diagnosis.findings[kind].severity or 0) if self.record.diagnosis else 0

    @property
    def count(self) -> int:
        """How many kinds are there."""
        return sum(value > 0 for value in self.severity.values())


def cases_of(batch: Batch, records: Iterable[DiagnosisRecord]) -> list[Case]:
    truths = batch.truths()
    names = list(truths[0].findings)
    severity = {name: batch.mixture.severity(name).tolist() for name in names}
    factors = {name: {f: v.tolist() for f, v in batch.mixture.factors(name).items()} for name in names}

    def exact(i: int) -> dict[str, dict[str, float]]:
        return {name: {f: values[i] for f, values in of.items()} for name, of in factors.items()}

    return [
        Case(record, truths[i], {name: severity[name][i] for name in names}, exact(i))
        for i, record in enumerate(records)
    ]


def collect(
    reasoner: Diagnoser, batches: Iterable[Batch], report: Callable[[int], None] = lambda done: None
) -> list[Case]:
    cases: list[Case] = []
    for batch in batches:
        cases += cases_of(batch, reasoner.diagnose(batch.pictures()))
        report(len(cases))
    return cases


def is_valid(record: DiagnosisRecord) -> bool:
    """The text is a Diagnosis, and canonical: writing it again gives the same text."""
    if record.diagnosis is None:
        return False
    try:
        return Diagnosis.from_json(record.text).to_json() == record.text
    except ValueError:
        return False
