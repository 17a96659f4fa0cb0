"""What a person asks of a restoration, in words -> the kinds of degradation that are to be removed. Loads no torch by
itself."""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.reasoner.instructions.loading": ("load",),
        "rnr.reasoner.instructions.phrasings": ("Wish", "phrasing"),
        "rnr.reasoner.instructions.reader": ("Reader",),
    },
)
