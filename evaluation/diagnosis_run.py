"""One run of `rnr bench diagnosis`: from photographs to tables and plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.evaluation import command, diagnosis_tables, plots
from rnr.evaluation.diagnosis_cases import Case, collect
from rnr.evaluation.samples import batches
from rnr.evaluation.tables import Row, Table

if TYPE_CHECKING:
    import numpy as np

    from rnr.degradation.protocols import Diagnoser
else:
    np = LazyModule("numpy")


def trained(
    reasoner: Diagnoser, photographs: Sequence[np.ndarray], mixtures: int, seed: int, out: Path
) -> dict[str, Table]:
    count = mixtures * len(photographs)
    with command.progress("diagnosing", count) as report:
        cases = collect(reasoner, batches(photographs, count, seed, names=reasoner.kinds), report)
    if all(case.record.diagnosis is None for case in cases):
        raise ValueError(f"no picture could be diagnosed: {cases[0].record.error}")
    draw(cases, out)
    return {
        "diagnosis": diagnosis_tables.summary_table(cases),
        "diagnosis_findings": diagnosis_tables.findings_table(cases),
        "diagnosis_alike": diagnosis_tables.either_table(cases),
        "diagnosis_factors": diagnosis_tables.factors_table(cases),
        "diagnosis_words": diagnosis_tables.words_table(cases),
        "diagnosis_reliability": reliability_table(cases),
    }


def untrained(photographs: Sequence[np.ndarray], count: int, seed: int) -> dict[str, Table]:
    from rnr.evaluation.random_weights import validity

    pictures = [p for batch in batches(photographs, min(count, 32), seed) for p in batch.pictures()]
    with command.progress("untrained weights", count) as report:
        return {"diagnosis_untrained": validity(pictures, count, seed, report)}


def reliability_table(cases: Sequence[Case]) -> Table:
    bins, error = diagnosis_tables.reliability_of(cases)
    rows: list[Row] = [{"P(present)": b.confidence, "share present": b.frequency, "findings": b.findings} for b in bins]
    return Table.of(
        "Reliability of presence",
        rows,
        f"expected calibration error {error:.3f}",
        {"share present": 3, "P(present)": 3},
    )


def draw(cases: Sequence[Case], out: Path) -> None:
    """True against expected severity, error by severity, reliability, confusion of kinds."""
    held = diagnosis_tables.kinds_of(cases)
    points = {kind: diagnosis_tables.points(cases, kind) for kind in held}
    plots.true_against_predicted(points, out / "severity.png")
    there = {kind: [(true, said) for true, said in pairs if true > 0] for kind, pairs in points.items()}
    plots.error_by_severity(there, out / "error_by_severity.png")
    plots.reliability_diagram(*diagnosis_tables.reliability_of(cases), out / "reliability.png")
    cells = np.array(diagnosis_tables.alarms_matrix(cases))
    labels = ("really there (severity >= 20)", "said to be there where it is not (diagonal: found)")
    plots.matrix(cells, held, held, "confusion of kinds, %", out / "confusion.png", labels)
