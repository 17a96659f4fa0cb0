"""One consistent edit: a severity of one kind is set, and presence, factors, plan and beliefs follow.

    record = rnr.diagnose("photo.jpg")
    rnr.restore("photo.jpg", record.edit("haze", severity=30).without("noise"))

Evidence stays: it was measured on the image, and an edit does not change the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Finding, reasoning_order
from rnr.degradation.errors import DiagnosisError
from rnr.degradation.kind import Kind, kinds


def edited(diagnosis: Diagnosis, severities: Mapping[str, int]) -> Diagnosis:
    """A copy of the diagnosis with these severities (0: absent, up to each kind's top); all else is consistent.

    Raises:
        DiagnosisError: For an unknown kind, and for a severity that its kind cannot have.
    """
    for name, value in severities.items():
        _check(name, value)
    findings = diagnosis.model_copy(deep=True).findings
    for name, value in severities.items():
        findings[name] = _finding(kinds()[name], findings.get(name), value)
    if set(findings) - set(diagnosis.findings):
        findings = {name: findings[name] for name in reasoning_order() if name in findings}
    planned = [name for name in diagnosis.plan if findings[name].present]
    for name in severities:
        if findings[name].present and name not in planned:
            planned.insert(_place(name, planned), name)
    changed = diagnosis.model_copy(deep=True, update={"findings": findings, "plan": planned})
    return Diagnosis.from_json(changed.to_json())


def edited_record(record: DiagnosisRecord, severities: Mapping[str, int]) -> DiagnosisRecord:
    """A copy of the record whose diagnosis is `edited`, whose beliefs in these kinds are certain, and which says so in
    `settings["edited"]`. The text and its trace stay: they are what the model wrote.

    Raises:
        DiagnosisError: Also for a record without a diagnosis.
    """
    if record.diagnosis is None:
        raise DiagnosisError(f"there is no diagnosis to edit ({record.error or 'empty record'})")
    diagnosis = edited(record.diagnosis, severities)
    beliefs = dict(record.beliefs)
    if beliefs:  # a record without beliefs is certain already
        beliefs |= {name: Belief.certain(value) for name, value in severities.items()}
    said = {**record.settings.get("edited", {}), **severities}
    settings = {**record.settings, "edited": said} if said else record.settings
    update = {"diagnosis": diagnosis, "beliefs": beliefs, "settings": settings}
    return record.model_copy(deep=True, update=update)


def others(diagnosis: Diagnosis | None, names: Iterable[str]) -> dict[str, int]:
    """0 for every finding that is not among the names: what `only` sets."""
    named = list(names)
    for name in named:
        _check(name, 0)
    return {name: 0 for name in (diagnosis.findings if diagnosis else ()) if name not in named}


def beyond_top(diagnosis: Diagnosis) -> list[str]:
    """A remark for each severity that is above what its kind can have: the leg is gone to its end, and no further."""
    written = {name: finding.severity or 0 for name, finding in diagnosis.findings.items()}
    return [
        f"{name.replace('_', ' ')} {value} is above its highest severity, {kinds()[name].highest}, and counts as that"
        for name, value in written.items()
        if value > kinds()[name].highest
    ]


def _check(name: str, value: int) -> None:
    if name not in kinds():
        raise DiagnosisError(f"unknown kind {name!r}; there are {', '.join(kinds())}")
    top = kinds()[name].highest
    if type(value) is not int or not 0 <= value <= top:
        raise DiagnosisError(f"the severity of {name} is a whole number in 0..{top}, not {value!r}")


def _finding(kind: Kind, old: Finding | None, severity: int) -> Finding:
    evidence = old.evidence if old else None
    if old is None or not severity or severity == old.severity:
        factors = old.factors if old and severity else {}
    else:
        factors = _factors(kind, old.factors, severity)
    return Finding(evidence=evidence, present=severity > 0, severity=severity, factors=factors)


def _factors(kind: Kind, written: Mapping[str, int | float | str], severity: int) -> dict[str, int | float | str]:
    """The factors with the main one solved for the severity; without it where the others do not give it."""
    if any(factor.name not in written for factor in kind.as_of(1).factors if factor.name != kind.main):
        return {name: value for name, value in written.items() if name != kind.main}
    import torch

    solved = kind.with_severity(torch.tensor([float(severity)]), kind.values(written))[kind.main]
    return {**written, kind.main: kind.factor(kind.main).written(float(solved))}


def _place(name: str, plan: list[str]) -> int:
    """Where a kind joins a plan: before the first that is usually undone later."""
    order = reasoning_order()
    later = (place for place, other in enumerate(plan) if order.index(other) > order.index(name))
    return next(later, len(plan))
