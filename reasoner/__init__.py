"""Picture -> Diagnosis: a vision-language model that reasons field by field. Loads no torch by itself."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "reasoner.reasoner": ("Reasoner", "Settings"),
    "reasoner.grammar": ("Choice", "Skeleton", "program", "segments"),
    "reasoner.views": ("views_of", "views_of_batch"),
    "reasoner.data": ("held_out", "make_rows", "rows"),
    "reasoner.collate": ("Collator",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'reasoner' has no attribute {name!r}")
