"""Tables, calibration and plots: `rnr bench …`. Figures of docs/benchmarks.md come from `evaluation/cli.py`."""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.evaluation.predictions": ("diagnosed", "write_predictions"),
        "rnr.evaluation.tables": ("Table",),
    },
)
