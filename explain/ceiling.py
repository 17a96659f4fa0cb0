"""What the vision tower knows beside what the reasoner says: linear probes on the tokens that it hands over.

Vision-language models often fall far behind a linear readout of their own encoder (Fu et al. 2025, arXiv 2506.08008).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.errors import Error
from rnr.evaluation.metrics import spearman
from rnr.explain.figures import Figure
from rnr.explain.internals import Internals
from rnr.explain.probe import fit_probe
from rnr.explain.statistics import bootstrap

if TYPE_CHECKING:
    import numpy as np

    from rnr.degradation.diagnosis import Diagnosis
else:
    np = LazyModule("numpy")


def view_features(internals: Internals, picture: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Mean token of each view as the text model receives it, joined (views * D,); and the expected severities."""
    run = internals.run(picture)
    views = [name for name in run.script.places if name.startswith("views.")]
    features = np.concatenate([run.hidden(name, 0).cpu().numpy() for name in views])
    return features, {kind: run.expected_severity(kind) for kind in internals.reasoner.kinds}


def ceiling(
    reasoner: Any,
    pictures: Sequence[np.ndarray],
    truths: Sequence[Diagnosis],
    seed: int = 0,
    report: Callable[[int], None] = lambda done: None,
) -> list[Figure]:
    """Rank correlation with the true severity, absent = 0: of a linear probe on the views' tokens, and of the reasoner.

    Args:
        reasoner: A `rnr.reasoner.Reasoner`.
        pictures: uint8 (H, W, 3); 10 or more.
        truths: Their diagnoses.
        seed: Of the probes.
        report: Called with the number of pictures done.
    """
    internals, rows = Internals(reasoner), []
    for done, picture in enumerate(pictures, 1):
        rows.append(view_features(internals, picture))
        report(done)
    features = np.stack([row[0] for row in rows])
    figures = []
    for kind in reasoner.kinds:
        targets = [float(truth.findings[kind].severity or 0) for truth in truths]
        own = bootstrap([(t, said[kind]) for t, (_, said) in zip(targets, rows)], lambda p: spearman(*zip(*p)), seed)
        try:
            probe = fit_probe(features, targets, seed)
        except Error:  # a kind that no picture holds
            continue
        figures.append(Figure("linear-probe ceiling", f"vision tower, {kind}", probe.score, probe.control))
        figures.append(Figure("linear-probe ceiling", f"reasoner, {kind}", own))
    return figures
