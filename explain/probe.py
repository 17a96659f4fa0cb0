"""Linear probes, always with their control.

A probe that reads something off hidden states says that it is there, not that it is used (Belinkov, "Probing
classifiers", 2022). A probe with shuffled labels says how much the probe itself can memorise (Hewitt & Liang, "control
tasks", EMNLP 2019); it is fitted and printed every time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.errors import Error
from rnr.evaluation.metrics import spearman
from rnr.explain.statistics import Estimate, auroc, bootstrap
from rnr.training.ridge import ridge

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

FOLDS = 5
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # of the ridge, on standardised features; a choice
LEAST = 10  # samples


@dataclass(frozen=True)
class Probe:
    """A linear map from hidden states to a number.

    Attributes:
        weight_D: For features as they come.
        bias: Added to it.
        score: On samples that it was not fitted on: Spearman's rank correlation, or AUROC for labels of two values.
        control: The same with shuffled labels.
        strength: Of the ridge.
        predicted_N: What was predicted for each sample while it was left out.
    """

    weight_D: np.ndarray
    bias: float
    score: Estimate
    control: Estimate
    strength: float
    predicted_N: np.ndarray

    def __call__(self, features_ND: np.ndarray) -> np.ndarray:
        return np.asarray(features_ND) @ self.weight_D + self.bias

    def __str__(self) -> str:
        return f"{self.score} (shuffled labels: {self.control})"


def fit_probe(features_ND: np.ndarray, targets_N: Sequence[float], seed: int = 0) -> Probe:
    """Ridge regression from hidden states, cross-validated, with a shuffled-label control.

    Args:
        features_ND: Hidden states of N samples, `Run.hidden` of each.
        targets_N: What to read: severities, or 0 and 1.
        seed: Of the folds, the shuffling and the bootstrap.

    Raises:
        Error: For fewer than 10 samples or targets that are all the same.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(60, 4))
        >>> probe = fit_probe(x, x[:, 1])
        >>> bool(probe.score.value > 0.95 and abs(probe.control.value) < 0.5)
        True
    """
    x, y = np.asarray(features_ND, float), np.asarray(targets_N, float)
    if len(x) != len(y) or len(y) < LEAST or len(set(y)) < 2:
        raise Error(f"a probe needs {LEAST} samples or more with different targets, got {len(x)} and {len(set(y))}")
    rng = np.random.default_rng(seed)
    folds, measure = rng.permutation(len(y)) % FOLDS, measure_of(y)
    strength, predicted = best(x, y, folds, measure)
    shuffled = rng.permutation(y)
    control = best(x, shuffled, folds, measure)[1]
    weight, bias = ridge(x, y, strength)
    scores = [bootstrap([*zip(truth, said)], measure, seed) for truth, said in ((y, predicted), (shuffled, control))]
    return Probe(weight, bias, scores[0], scores[1], strength, predicted)


def measure_of(y: np.ndarray) -> Callable[[Sequence[tuple[float, float]]], float]:
    """How (target, prediction) pairs are scored: AUROC where the targets are 0 and 1, else rank correlation."""
    if set(y) <= {0.0, 1.0}:
        return lambda pairs: auroc([s for t, s in pairs if t], [s for t, s in pairs if not t])
    return lambda pairs: spearman(*zip(*pairs))


def best(
    x: np.ndarray, y: np.ndarray, folds: np.ndarray, measure: Callable[[Sequence[tuple[float, float]]], float]
) -> tuple[float, np.ndarray]:
    """The ridge whose left-out predictions have the least squared error, and those predictions."""
    tried = [(strength, left_out(x, y, folds, strength)) for strength in STRENGTHS]
    return min(tried, key=lambda pair: float(((pair[1] - y) ** 2).mean()))


def left_out(x: np.ndarray, y: np.ndarray, folds: np.ndarray, strength: float) -> np.ndarray:
    """Predictions for each fold by a ridge that was fitted on the others, (N,)."""
    said = np.empty(len(y))
    for fold in range(FOLDS):
        held = folds == fold
        weight, bias = ridge(x[~held], y[~held], strength)
        said[held] = x[held] @ weight + bias
    return said
