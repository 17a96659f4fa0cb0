"""The ground: the kinds of damage, their physics, and the Diagnosis that speaks of them. Loads no torch by itself."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "degradation.diagnosis": (
        "Belief",
        "Diagnosis",
        "DiagnosisRecord",
        "Finding",
        "Quality",
        "Scene",
        "diagnosis_schema",
    ),
    "degradation.kind": ("Factor", "Kind", "Measurement", "Words", "kind_named", "kinds"),
    "degradation.synthesize": ("Mixture", "degrade", "draw_mixture", "truths"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'degradation' has no attribute {name!r}")
