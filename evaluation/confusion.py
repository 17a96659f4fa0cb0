"""How a reasoner errs: what it believes of damage that is known, in the file that the restorer trains with.

`restorer.confusion.Confusion.read` takes {"rows": {kind: [[true severity, probability, severity if present, spread]]}}.
The mixtures are drawn as in the restorer's training, single kinds and repeated ones included.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from degradation.diagnosis import DiagnosisRecord
from degradation.synthesize import Stage
from evaluation.samples import batches

if TYPE_CHECKING:
    import numpy as np

STAGES: dict[Stage, float] = {"single": 0.45, "several": 0.40, "high_order": 0.15}  # as in restorer/data.py
SEVERITY = (3.0, 100.0)


class Diagnoser(Protocol):
    """What is asked of a reasoner here; a server's client fits, too."""

    def diagnose(self, images: list[np.ndarray], /) -> list[DiagnosisRecord]: ...


def beliefs_of(
    reasoner: Diagnoser,
    photographs: Sequence[np.ndarray],
    count: int,
    seed: int = 0,
    report: Callable[[int], None] = lambda done: None,
) -> dict[str, list[list[float]]]:
    """Rows per kind: true severity (0 = absent), P(present), E[severity | present], its standard deviation."""
    rows: dict[str, list[list[float]]] = {}
    done = 0
    for batch in batches(photographs, count, seed, STAGES, SEVERITY):
        records = reasoner.diagnose(batch.pictures())
        for i, record in enumerate(records):
            for kind, belief in record.beliefs.items():
                true = float(batch.mixture.severity(kind)[i])
                row = [true, belief.probability, belief.severity_if_present, belief.spread]
                rows.setdefault(kind, []).append([round(value, 4) for value in row])
        done += len(records)
        report(done)
    return rows


def write_confusion(rows: dict[str, list[list[float]]], path: Path, about: dict[str, Any]) -> None:
    """Write the file under a temporary name first, so that a training never reads half of it."""
    if not rows:
        raise ValueError("the reasoner gave no beliefs: no picture could be diagnosed")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"about": about | {"made": time.strftime("%Y-%m-%d")}, "rows": rows}) + "\n")
    os.replace(part, path)
