"""A Diagnosis and its record where somebody looks at them: `repr` of one screen, a table in notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from rnr.degradation.kind import kinds

if TYPE_CHECKING:
    from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, State

STATE_WORDS: dict[State, str] = {
    "present": "present",
    "absent": "absent",
    "unknown": "could not say",
    "not_asked": "not asked",
}
WIDTH = 100  # columns of a `repr`; a choice: what a terminal beside an editor shows
COLUMNS = ("kind", "state", "probability", "severity", "evidence and factors")


class Displayed:
    """What `Diagnosis` and `DiagnosisRecord` share: how they are displayed."""

    def __repr__(self) -> str:
        """At most a line per kind and three more, none longer than 100 characters."""
        diagnosis, beliefs = _parts(self)
        rows = table(diagnosis, beliefs)
        widths = [max(map(len, column)) for column in zip(*rows)] if rows else []
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
        head, *notes = [type(self).__name__, *_notes(self, diagnosis)]
        return "\n".join([head, *(_cut(f"  {line}".rstrip()) for line in (*lines, *notes))])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """The same as an HTML table without styles of its own, which Jupyter shows."""
        diagnosis, beliefs = _parts(self)
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in table(diagnosis, beliefs)]
        notes = "<br>".join(map(escape, [type(self).__name__, *_notes(self, diagnosis)]))
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<table><caption>{notes}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def table(diagnosis: Diagnosis | None, beliefs: dict[str, Belief]) -> list[tuple[str, ...]]:
    """A row of `COLUMNS` for each finding in its order, then for the kinds that were not asked."""
    if diagnosis is None:
        return []
    names = [*diagnosis.findings, *(name for name in kinds() if name not in diagnosis.findings)]
    return [(name, STATE_WORDS[diagnosis.state(name)], *_cells(diagnosis, name, beliefs.get(name))) for name in names]


def percent(probability: float) -> str:
    return ">99%" if probability > 0.995 else "<1%" if probability < 0.005 else f"{probability:.0%}"


def _cells(diagnosis: Diagnosis, name: str, belief: Belief | None) -> tuple[str, str, str]:
    if name not in diagnosis.findings:
        return ("", "", "")
    finding = diagnosis.findings[name]
    read = finding.severity if belief is None or finding.present is None else belief.expected_severity
    severity = "" if read is None else f"{read:.0f}"  # as `rnr.judge.severity`
    if belief and belief.interval and finding.present:
        severity += f" ({belief.interval[0]:.0f}–{belief.interval[1]:.0f})"
    factors = ", ".join(f"{factor} {value}" for factor, value in finding.factors.items())
    because = "; ".join(" ".join(part.split()) for part in (finding.evidence or "", factors) if part)
    return (percent(belief.probability) if belief else "", severity, because)


def _parts(shown: Displayed) -> tuple[Diagnosis | None, dict[str, Belief]]:
    """Of a record its diagnosis and beliefs, of a Diagnosis itself."""
    diagnosis: Any = shown
    held = {kind: belief for kind in getattr(shown, "beliefs", {}) if (belief := diagnosis.belief(kind))}
    return getattr(shown, "diagnosis", diagnosis), held


def _notes(shown: Displayed, diagnosis: Diagnosis | None) -> list[str]:
    notes = []
    if diagnosis is not None:
        quality = diagnosis.quality
        words = f"; quality {quality.technical} of 100" if quality.technical is not None else ""
        notes.append(f"plan: {' → '.join(diagnosis.plan) or 'nothing to undo'}{words}")
    if shown is not diagnosis:
        notes.append(_origin(shown))  # type: ignore[arg-type]
    return notes


def _origin(record: DiagnosisRecord) -> str:
    if record.error:
        return f"error: {' '.join(record.error.split())}"
    return f"model: {record.model} {record.model_hash}, {record.seconds:.2f} s"


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
