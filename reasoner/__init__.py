"""Picture -> Diagnosis: a vision-language model that reasons field by field. Loads no torch by itself."""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.reasoner.reasoner": ("Reasoner", "Settings"),
        "rnr.reasoner.loading": ("is_server", "load", "load_local"),
        "rnr.reasoner.client": ("ServerReasoner",),
        "rnr.reasoner.grammar": ("Choice", "Skeleton", "program", "segments"),
        "rnr.reasoner.views": ("views_of", "views_of_batch"),
        "rnr.reasoner.data": ("held_out", "make_rows", "rows"),
        "rnr.reasoner.collate": ("Collator",),
    },
)
