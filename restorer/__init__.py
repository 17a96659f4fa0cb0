"""Picture + Diagnosis -> picture: a diffusion bridge from the degraded picture to the clean one."""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.restorer.bridge": ("BridgeScheduler", "BridgeStep"),
        "rnr.restorer.chain": ("Leg",),
        "rnr.restorer.expert": ("ExpertNetwork", "Experts"),
        "rnr.degradation.intent": ("Intent",),
        "rnr.restorer.condition": ("Condition",),
        "rnr.restorer.latent.restorer": ("LatentRestorer",),
        "rnr.restorer.latent.task_restorer": ("TaskRestorer",),
        "rnr.restorer.network": ("RestorerNetwork",),
        "rnr.restorer.loading": ("load", "load_bridge"),
        "rnr.restorer.other_models": ("DiffusersRestorer",),
        "rnr.restorer.qwen_edit": ("QwenEditRestorer",),
        "rnr.restorer.pipeline": ("RestorePipeline",),
        "rnr.restorer.result": ("RestoreResult",),
    },
)
