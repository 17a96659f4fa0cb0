"""Learning from predicted severity, and the proof that measured quality follows. Loads no torch by itself."""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.rl.rewards": ("SeverityReward", "combine"),
        "rnr.rl.chain": ("ChainPolicy",),
        "rnr.rl.judge": ("Judge",),
        "rnr.rl.policy": ("BridgePolicy", "DiffusionPolicy"),
        "rnr.rl.trainer": ("DiffusionGRPOTrainer",),
    },
)
