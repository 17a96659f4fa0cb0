"""Tables, calibration and plots: `rnr bench …`. Every figure of the README comes from `evaluation/cli.py`."""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.evaluation.confusion": ("diagnosed", "write_confusion"),
        "rnr.evaluation.tables": ("Table",),
    },
)
