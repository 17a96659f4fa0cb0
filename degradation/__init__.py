"""The ground: the kinds of damage, their physics, and the Diagnosis that speaks of them. Loads no torch by itself."""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.degradation.diagnosis": (
            "Belief",
            "Diagnosis",
            "DiagnosisRecord",
            "Finding",
            "Quality",
            "Scene",
        ),
        "rnr.degradation.kind": ("Factor", "Kind", "Measurement", "Words", "kind_named", "kinds"),
        "rnr.degradation.schema": ("diagnosis_schema",),
        "rnr.degradation.synthesize": ("Mixture", "degrade", "draw_mixture", "truths"),
    },
)
