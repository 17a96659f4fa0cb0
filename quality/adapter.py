"""UniQA's adapter: a few weights between the frozen features and the words of the ladders.

score = sum_k w_k softmax_k(s <normalise(x + W2 relu(W1 x)), t_k>), averaged over ladders, where x is the picture's
feature, t_k the text feature of rung k, w_k learnable from 0.2 to 1.0 (UniQA, "Unified vision-language pre-training
for quality and aesthetic assessment", section 3.4: 512-256-512 for CLIP-B/16; here half the width of the space).
Without training it is the zero-shot reading of the ladders: W2 begins at zero.

Shapes: feature_ND of length 1, ladder_L5D of length 1, scores (N,) 0-100.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize, relu

from rnr.quality.captions import VALUES

STEPS = 400  # of Adam on all labels at once; a choice: the loss is flat by then
# Labels up to which the bottleneck stays closed and the rungs' values and the temperature alone are trained. With 480
# labels it lost rank correlation on other photographs (zero-shot 0.77, open 0.65-0.73; docs/lab-log.md).
FEW = 1_000
COVERED = 0.8  # share of truths that an interval is to hold
BINS = 5  # of the score, in each of which the interval is measured


class Adapter(nn.Module):
    """Args: width of the space, logarithm of the model's temperature."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, width // 2), nn.Linear(width // 2, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.values = nn.Parameter(torch.tensor(VALUES))
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def rungs(self, feature_ND: torch.Tensor, ladder_L5D: torch.Tensor) -> torch.Tensor:
        """Probability (N, 5) of each rung, worst to best: the mean of the logits over the ladders."""
        adapted = normalize(feature_ND + self.up(relu(self.down(feature_ND))), dim=-1)
        logits = torch.einsum("nd,lkd->nlk", adapted, ladder_L5D).mean(1)
        return (self.scale.exp() * logits).softmax(-1)

    def forward(self, feature_ND: torch.Tensor, ladder_L5D: torch.Tensor) -> torch.Tensor:
        """Scores (N,); about 0-100, not clipped."""
        value = self.rungs(feature_ND, ladder_L5D) @ self.values
        return 100 * (value - VALUES[0]) / (VALUES[-1] - VALUES[0])


def fit(adapter: Adapter, feature_ND: torch.Tensor, ladder_L5D: torch.Tensor, score_N: torch.Tensor) -> Adapter:
    """Train it by these labels, all at once: squared error, Adam; deterministic. Returns it."""
    few = len(score_N) <= FEW
    weights = [adapter.values, adapter.scale] if few else list(adapter.parameters())
    optimizer = torch.optim.AdamW(weights, 1e-2 if few else 1e-3, weight_decay=0.0 if few else 0.05)
    for _ in range(STEPS):
        loss = ((adapter(feature_ND, ladder_L5D) - score_N) / 100).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return adapter.eval()


@dataclass(frozen=True)
class Intervals:
    """What lies around a score: quantiles of (truth - score) on held-out pictures, by the score (split conformal).

    Attributes:
        low, high: By bin of the score, 0-20, 20-40, ...
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def measured(cls, score_N: torch.Tensor, truth_N: torch.Tensor) -> Intervals:
        """From held-out pictures; a bin with few of them takes those of all."""
        bins, error = (score_N / 100 * BINS).long().clamp(0, BINS - 1), truth_N - score_N
        ends = torch.tensor([(1 - COVERED) / 2, (1 + COVERED) / 2])
        rows = [error[bins == b] if (bins == b).sum() >= 10 else error for b in range(BINS)]
        low, high = zip(*(torch.quantile(row, ends).tolist() for row in rows))
        return cls(tuple(round(x, 2) for x in low), tuple(round(x, 2) for x in high))

    def around(self, score: float) -> tuple[float, float]:
        """0-100."""
        b = min(BINS - 1, int(score / 100 * BINS))
        low, high = min(score, score + self.low[b]), max(score, score + self.high[b])
        return round(max(0.0, low), 2), round(min(100.0, high), 2)


@dataclass(frozen=True)
class Agreement:
    """Rank and linear correlation with what people or a full-reference measure say."""

    srcc: float
    plcc: float
    n: int


def agreement(score: np.ndarray | torch.Tensor, truth: np.ndarray | torch.Tensor) -> Agreement:
    """SRCC and PLCC of two rows of numbers."""
    from scipy.stats import pearsonr, spearmanr

    a, b = np.asarray(score, float), np.asarray(truth, float)
    return Agreement(float(spearmanr(a, b).statistic), float(pearsonr(a, b).statistic), len(a))


def splits(groups: Sequence[str], count: int = 10, share: float = 0.8) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`count` random splits into indices to train and to test on; pictures of one group (a reference) stay together."""
    names = sorted(set(groups))
    held = np.asarray(groups)
    for seed in range(count):
        chosen = np.random.default_rng(seed).permutation(names)[: round(share * len(names))]
        inside = np.isin(held, chosen)
        yield np.flatnonzero(inside), np.flatnonzero(~inside)
