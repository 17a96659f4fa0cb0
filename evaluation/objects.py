"""Which coarse words a reasoner says of what photographs show: F1 per word, undamaged and under damage.

The words are those of `degradation.scene.THINGS`, the labels those of a list (`degradation.photographs.read_objects`).
Damage is each of the reasoner's kinds alone, at severity `SEVERITY` or the kind's top, the kinds in turn over the
photographs. Words on fewer than `ENOUGH` photographs have no F1 and do not count in the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from rnr.degradation.kind import kinds
from rnr.degradation.photographs import to_tensor, to_uint8
from rnr.degradation.scene import THINGS
from rnr.degradation.synthesize import degrade, prescribe
from rnr.evaluation.metrics import presence
from rnr.evaluation.robustness import diagnosed
from rnr.evaluation.tables import Row, Table

if TYPE_CHECKING:
    import numpy as np

    from rnr.degradation.protocols import Diagnoser

SEVERITY = 50.0
ENOUGH = 5
Words = list[set[str]]


def damaged(image_HWC: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """A whole photograph under one kind of damage, uint8 HWC."""
    mixture = prescribe({kind: min(SEVERITY, kinds()[kind].top)}, seed)
    return to_uint8(degrade(to_tensor(image_HWC), mixture))


def said(reasoner: Diagnoser, image_HWC: np.ndarray) -> set[str]:
    """The words of one diagnosis; none where it says null."""
    diagnosis = diagnosed(reasoner, image_HWC).diagnosis
    return set(diagnosis.scene.objects or []) if diagnosis else set()


def table(
    reasoner: Diagnoser,
    photographs: Mapping[str, np.ndarray],
    labels: Mapping[str, Sequence[str]],
    seed: int,
    report: Callable[[int], None],
) -> Table:
    """A row a word, and their mean: photographs that show it, F1 undamaged and damaged. `labels` by file name."""
    known = [(set(labels[file]), image) for name, image in photographs.items() if (file := Path(name).name) in labels]
    if not known:
        raise ValueError("the list of objects names none of these photographs")
    true, clean, hurt = [words for words, _ in known], list[set[str]](), list[set[str]]()
    for number, (_, image) in enumerate(known):
        clean.append(said(reasoner, image))
        hurt.append(said(reasoner, damaged(image, reasoner.kinds[number % len(reasoner.kinds)], seed + number)))
        report(number + 1)
    rows: list[Row] = []
    for word in THINGS:
        if count := sum(word in words for words in true):
            rows.append({"word": word, "n": count, "F1": f1(word, true, clean), "F1 damaged": f1(word, true, hurt)})
    whole: Row = {"word": "mean", "n": len(known)}
    for column in ("F1", "F1 damaged"):
        values = [float(row[column]) for row in rows if row[column] is not None]  # type: ignore[arg-type]
        whole[column] = fmean(values) if values else None
    note = f"n: photographs that show it; F1 from {ENOUGH} on. Damage: one kind, severity {SEVERITY:g}."
    return Table.of("What photographs show", [*rows, whole], note)


def f1(word: str, true: Words, found: Words) -> float | None:
    """None for a word that too few photographs show."""
    shown = [word in words for words in true]
    return presence(shown, [word in words for words in found]).f1 if sum(shown) >= ENOUGH else None
