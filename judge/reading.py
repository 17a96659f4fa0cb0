"""The one reading of severity: console, report, JSON, agent and reward show this number of a kind, and no other."""

from __future__ import annotations

from dataclasses import dataclass

from rnr.degradation.diagnosis import DiagnosisRecord, State
from rnr.degradation.display import STATE_WORDS


@dataclass(frozen=True)
class Reading:
    """Severity of one kind.

    Attributes:
        state: What the Diagnosis says of the kind.
        severity: Expected severity, 0-100; None where it could not be said or was not asked, never 0 for that.
        interval: Central 80% of the severity if the kind is present; None where the model gave none.

    Example:
        >>> found = Reading("present", 41.6, (33.0, 52.0))
        >>> f"{found.words}: {found.number} ({found.range})"
        'present: 42 (33–52)'
    """

    state: State
    severity: float | None
    interval: tuple[float, float] | None = None

    @property
    def words(self) -> str:
        return STATE_WORDS[self.state]

    @property
    def number(self) -> str:
        """The severity as people read it; empty where there is none."""
        return "" if self.severity is None else f"{self.severity:.0f}"

    @property
    def range(self) -> str:
        """The interval as people read it, of a kind that is present; empty where there is none."""
        shown = self.interval if self.state == "present" else None
        return f"{shown[0]:.0f}–{shown[1]:.0f}" if shown else ""


def severity(record: DiagnosisRecord, kind: str) -> Reading:
    """P(present) x E[severity | present] where the model gave its beliefs, else the severity in the Diagnosis.

    Args:
        record: Of one image; one without a Diagnosis reads as "could not say".
        kind: Name of a degradation type.

    Example:
        >>> from rnr.degradation.diagnosis import Belief, Diagnosis, Finding
        >>> found = Diagnosis(findings={"haze": Finding(present=True, severity=40)})
        >>> belief = Belief(probability=0.5, severity_if_present=60, spread=5, interval=(50, 70))
        >>> severity(DiagnosisRecord(diagnosis=found, beliefs={"haze": belief}), "haze")
        Reading(state='present', severity=30.0, interval=(50.0, 70.0))
        >>> severity(DiagnosisRecord(diagnosis=found), "rain").words
        'not asked'
    """
    diagnosis = record.diagnosis
    state = diagnosis.state(kind) if diagnosis else "unknown"
    if diagnosis is None or state in ("unknown", "not_asked"):
        return Reading(state, None)
    belief, written = record.belief(kind), diagnosis.findings[kind].severity
    if belief is None:
        return Reading(state, None if written is None else float(written))
    return Reading(state, belief.expected_severity, belief.interval)


def severities(record: DiagnosisRecord) -> dict[str, float]:
    """The severity of each kind that has one, in the order of the findings.

    Args:
        record: Of any reasoner; one without a diagnosis has none.

    Returns:
        By kind, 0-100: P(present) x E[severity | present], or what was written where there are no beliefs. A kind
        that was not asked, or could not be said, is missing.

    Example:
        >>> from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord, Finding
        >>> noisy = Diagnosis(findings={"noise": Finding(present=True, severity=25)}, plan=["noise"])
        >>> severities(DiagnosisRecord(diagnosis=noisy))
        {'noise': 25.0}
    """
    found = record.diagnosis.findings if record.diagnosis else {}
    read = {kind: severity(record, kind).severity for kind in found}
    return {kind: value for kind, value in read.items() if value is not None}
