"""What the table knows of a record: a few numbers and states.

The raw JSON is read here, not a validated DiagnosisRecord: 10,000 records have to be listed within seconds. A picture's
own page validates its record. None is a state of its own (could not say, not asked, no ground truth), never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Raw = Mapping[str, Any]
STATES = {True: "p", False: "a", None: "u"}  # present, absent, could not say; "n": not asked


@dataclass
class Facts:
    """Lists run over the known kinds.

    Attributes:
        status: restored, untouched, diagnosed, failed, or evaluated (a picture of an rl run).
        error: What went wrong, empty if nothing.
        states: A letter for each kind, see STATES.
        before: Predicted severity 0-100 of the picture that came in.
        after: Predicted severity of the result.
        truth: Severity of the ground truth.
        doubt: Standard deviation of the predicted severity, in points.
        measures: Other numbers by name, such as an rl run's reward.
        sha256: Of the picture that came in, if known.
    """

    status: str
    error: str = ""
    states: str = ""
    before: Sequence[float | None] = ()
    after: Sequence[float | None] = ()
    truth: Sequence[float | None] = ()
    doubt: Sequence[float | None] = ()
    measures: dict[str, float] = field(default_factory=dict)
    sha256: str = ""


def facts_of(data: Raw, truth: Raw | None, kinds: Sequence[str]) -> Facts:
    """The facts of a raw record as `rnr restore`, `rnr diagnose` or `rnr agent` writes it.

    Raises:
        ValueError: If it holds no record.
    """
    before, after = records(data)
    diagnosis = before.get("diagnosis")
    if diagnosis is None:
        return Facts("failed", str(before.get("error") or "no diagnosis was made"), states="u" * len(kinds))
    if not isinstance(diagnosis, Mapping) or not isinstance(diagnosis.get("findings"), Mapping):
        raise ValueError("holds no diagnosis")
    status = "diagnosed" if "before" not in data else "untouched" if data.get("untouched") else "restored"
    seconds = (data.get("restoration") or {}).get("seconds")
    return Facts(
        status,
        str((after or {}).get("error") or ""),
        "".join(state(before, kind) for kind in kinds),
        [severity(before, kind) for kind in kinds],
        [severity(after, kind) for kind in kinds] if after else [],
        [finding_severity(truth, kind) for kind in kinds] if truth else [],
        [doubt(before, kind) for kind in kinds],
        {"seconds": seconds} if isinstance(seconds, int | float) else {},
        str((data.get("source") or {}).get("sha256") or ""),
    )


def records(data: Raw) -> tuple[Raw, Raw | None]:
    """The raw DiagnosisRecords before and after; a bare Diagnosis counts as a record without beliefs.

    Raises:
        ValueError: If `data` is neither.
    """
    if isinstance(data.get("before"), Mapping):
        after = data.get("after")
        return data["before"], after if isinstance(after, Mapping) and not data.get("untouched") else None
    if "diagnosis" in data:
        return data, None
    if isinstance(data.get("findings"), Mapping):
        return {"diagnosis": data}, None
    raise ValueError("is no record of a diagnosis")


def state(record: Raw, kind: str) -> str:
    finding = ((record.get("diagnosis") or {}).get("findings") or {}).get(kind)
    return "n" if finding is None else STATES.get(finding.get("present"), "u")


def severity(record: Raw, kind: str) -> float | None:
    """Expected severity where the model gave its beliefs, else the number in the diagnosis (as `judge.severity`)."""
    if state(record, kind) in "un":
        return None
    belief = (record.get("beliefs") or {}).get(kind)
    if belief:
        return float(belief["probability"] * belief["severity_if_present"])
    return finding_severity(record["diagnosis"], kind)


def finding_severity(diagnosis: Raw | None, kind: str) -> float | None:
    """The severity that stands in a diagnosis."""
    finding = ((diagnosis or {}).get("findings") or {}).get(kind)
    return None if finding is None or finding.get("severity") is None else float(finding["severity"])


def doubt(record: Raw, kind: str) -> float | None:
    """Standard deviation of the severity: 0 with 1 - p, else of mean m and spread s: sqrt(p (s^2 + m^2) - (p m)^2)."""
    belief = (record.get("beliefs") or {}).get(kind)
    if not belief or state(record, kind) in "un":
        return None
    p, m, s = belief["probability"], belief["severity_if_present"], belief["spread"]
    return math.sqrt(max(0.0, p * (s * s + m * m) - (p * m) ** 2))
