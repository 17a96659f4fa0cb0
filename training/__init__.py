"""The training kit that reasoner, restorer, quality and rl share: configuration, engine, journal, cards."""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.training.config": ("Run", "Settings"),
        "rnr.training.engine": ("Engine", "Objective"),
        "rnr.training.journal": ("Journal",),
    },
)
