"""Is the diagnosis the cause? Interventions, attribution, insides, faithfulness. Loads no torch by itself."""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.explain.bench": ("Bench",),
        "rnr.explain.counterfactual": ("Counterfactual", "Intervention", "intervene"),
        "rnr.explain.internals": ("Gradient", "Internals", "Run"),
        "rnr.explain.probe": ("Probe", "fit_probe"),
        "rnr.explain.restoring": ("LegRun", "RestorerInternals"),
        "rnr.explain.saved": ("load_run", "save_run"),
        "rnr.explain.script": ("Place", "Script"),
        "rnr.explain.statistics": ("Estimate", "auroc", "bootstrap", "mean_of"),
    },
)
