"""Picture + Diagnosis -> picture: a diffusion bridge from the degraded picture to the clean one."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "restorer.bridge": ("BridgeScheduler", "BridgeStep"),
    "restorer.condition": ("Condition", "Intent"),
    "restorer.network": ("RestorerNetwork",),
    "restorer.pipeline": ("RestorePipeline", "RestoreResult"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'restorer' has no attribute {name!r}")
