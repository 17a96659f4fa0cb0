"""Tables, calibration and plots: `rnr bench …`. Every figure of the README comes from `evaluation/cli.py`."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "evaluation.confusion": ("diagnosed", "write_confusion"),
    "evaluation.tables": ("Table",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'evaluation' has no attribute {name!r}")
