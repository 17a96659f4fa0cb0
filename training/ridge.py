"""Ridge regression on standardised features: linear read-outs of what a network's layers hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")


def ridge(x: np.ndarray, y: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """Weights (D,) and bias in the features' own units.

    Args:
        x: Features (N, D).
        y: Targets (N,).
        strength: Of the penalty, times N, on standardised features.
    """
    mean, scale = x.mean(0), x.std(0) + 1e-6
    z = (x - mean) / scale
    if len(x) < x.shape[1]:  # the smaller of the two systems
        weight = z.T @ np.linalg.solve(z @ z.T + strength * len(x) * np.eye(len(x)), y - y.mean())
    else:
        weight = np.linalg.solve(z.T @ z + strength * len(x) * np.eye(x.shape[1]), z.T @ (y - y.mean()))
    return weight / scale, float(y.mean() - (mean / scale) @ weight)
