"""What a reasoner believes of damage that is known: the file that the restorer trains with.

{"about": {...}, "rows": {kind: [[true severity, probability, severity if present, spread]]}, "diagnosed": [[record]]}:
`rows` say how it errs (`rnr.restorer.confusion.Confusion`), `diagnosed` what it said of each crop
(`rnr.restorer.diagnosed`). Crops and mixtures are those of the restorer's training.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.files import whole

if TYPE_CHECKING:
    import numpy as np

    from rnr.degradation.protocols import Diagnoser
    from rnr.degradation.synthesize import Mixture

TOGETHER = 16  # crops that are diagnosed at a time
KEPT = {"diagnosis", "beliefs"}  # of a record

Batch = tuple["Mixture", list[DiagnosisRecord]]


def diagnosed(
    reasoner: Diagnoser,
    photographs: Sequence[np.ndarray],
    count: int,
    seed: int = 0,
    report: Callable[[int], None] = lambda done: None,
) -> list[Batch]:
    """At least `count` crops of 128 px, four to a batch; batch n is what `crops_of` makes of seed + n."""
    from rnr.degradation.photographs import to_uint8
    from rnr.restorer.diagnosed import BATCH, crops_of

    found: list[Batch] = []
    waiting: list[tuple[Mixture, list[np.ndarray]]] = []
    total = -(-count // BATCH)
    for number in range(total):
        _, degraded, mixture = crops_of(photographs, seed + number, reasoner.kinds)
        waiting.append((mixture, [to_uint8(image) for image in degraded]))
        if len(waiting) * BATCH >= TOGETHER or number == total - 1:
            records = iter(reasoner.diagnose([image for _, images in waiting for image in images]))
            found += [(mixture, [next(records) for _ in images]) for mixture, images in waiting]
            waiting = []
            report(len(found) * BATCH)
    return found


def rows_of(batches: Sequence[Batch]) -> dict[str, list[list[float]]]:
    """Rows per kind: true severity (0 = absent), P(present), E[severity | present], its standard deviation."""
    rows: dict[str, list[list[float]]] = {}
    for mixture, records in batches:
        for i, record in enumerate(records):
            for kind, belief in record.beliefs.items():
                true = float(mixture.severity(kind)[i])
                row = [true, belief.probability, belief.severity_if_present, belief.spread]
                rows.setdefault(kind, []).append([round(value, 4) for value in row])
    return rows


def write_predictions(batches: Sequence[Batch], path: Path, about: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Write the file under a temporary name first, so that a training never reads half of it; returns the rows."""
    rows = rows_of(batches)
    if not rows:
        raise ValueError("the reasoner gave no beliefs: no picture could be diagnosed")
    records = [[record.model_dump(mode="json", include=KEPT) for record in batch] for _, batch in batches]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {"about": about | {"made": time.strftime("%Y-%m-%d")}, "rows": rows, "diagnosed": records}
    with whole(path) as part:
        part.write_text(json.dumps(text) + "\n")
    return rows
