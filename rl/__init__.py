"""Learning from predicted severity, and the proof that the truth follows. Loads no torch by itself."""

from __future__ import annotations

from degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rl.rewards": ("SeverityReward", "combine"),
        "rl.judge": ("Judge",),
        "rl.policy": ("BridgePolicy", "DiffusionPolicy"),
        "rl.trainer": ("DiffusionGRPOTrainer",),
    },
)
