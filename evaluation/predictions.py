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
    """What a reasoner says of degraded crops whose damage is known.

    Args:
        reasoner: Any Diagnoser.
        photographs: Clean, uint8 (H, W, 3), at least 128 px each way.
        count: Crops of 128 px at least; they come four to a batch.
        seed: Batch n is what `rnr.restorer.diagnosed.crops_of` makes of seed + n.
        report: Gets the number of crops done.

    Returns:
        Of each batch the mixture (the ground truth) and the records.

    Example:
        >>> import numpy as np
        >>> from rnr.reasoner import load
        >>> photograph = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
        >>> [(mixture, records)] = diagnosed(load(), [photograph], 4)
        >>> mixture.batch == len(records) == 4
        True
    """
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
    """Write the file that the module describes; it appears whole or not at all, so that no training reads half of it.

    Args:
        batches: Of `diagnosed`.
        path: JSON; its folder is made.
        about: What the file says of its making.

    Returns:
        The rows by kind (`rows_of`).

    Raises:
        ValueError: Where no picture could be diagnosed.

    Example:
        >>> write_predictions([], Path("predictions.json"), {"reasoner": "built-in"})
        Traceback (most recent call last):
        ...
        ValueError: the reasoner gave no beliefs: no picture could be diagnosed
    """
    rows = rows_of(batches)
    if not rows:
        raise ValueError("the reasoner gave no beliefs: no picture could be diagnosed")
    records = [[record.model_dump(mode="json", include=KEPT) for record in batch] for _, batch in batches]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {"about": about | {"made": time.strftime("%Y-%m-%d")}, "rows": rows, "diagnosed": records}
    with whole(path) as part:
        part.write_text(json.dumps(text) + "\n")
    return rows
