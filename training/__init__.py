"""The training kit that reasoner, restorer, quality and rl share: configuration, engine, journal, cards.

A checkpoint is one safetensors file (`checkpoint.py`), not what accelerate's `save_state` writes: that pickles, and a
pickle runs code when it is loaded.
"""

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
