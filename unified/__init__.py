"""Assessing and restoring as one model (UARE): the reasoner's hidden states condition the restorer; both are trained
together. Loads no torch by itself."""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.unified.loading": ("load",),
        "rnr.unified.model": ("UnifiedModel",),
    },
)
