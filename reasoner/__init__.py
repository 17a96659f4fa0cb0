"""Picture -> Diagnosis: a vision-language model that reasons field by field. Loads no torch by itself."""

from __future__ import annotations

from degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "reasoner.reasoner": ("Reasoner", "Settings"),
        "reasoner.server": ("load_reasoner",),
        "reasoner.chat": ("is_server",),
        "reasoner.grammar": ("Choice", "Skeleton", "program", "segments"),
        "reasoner.views": ("views_of", "views_of_batch"),
        "reasoner.data": ("held_out", "make_rows", "rows"),
        "reasoner.collate": ("Collator",),
    },
)
