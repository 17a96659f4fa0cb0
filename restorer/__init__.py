"""Picture + Diagnosis -> picture: a diffusion bridge from the degraded picture to the clean one."""

from __future__ import annotations

from degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "restorer.bridge": ("BridgeScheduler", "BridgeStep"),
        "restorer.condition": ("Condition", "Intent"),
        "restorer.network": ("RestorerNetwork",),
        "restorer.other_models": ("DiffusersRestorer", "load_restorer"),
        "restorer.qwen_edit": ("QwenEditRestorer",),
        "restorer.pipeline": ("RestorePipeline", "RestoreResult"),
    },
)
