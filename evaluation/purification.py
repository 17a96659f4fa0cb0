"""Does pre-training gain by purification: `rnr bench purification`.

Three trainings of the quality model by the same photographs, samples and seeds: with true captions, with half of them
replaced by another picture's or by chatter, and with such captions weighed by `rnr.quality.purify`. On held-out
photographs: rank correlation with full-reference quality of the ladders read without labels (what captions alone
teach) and of the adapter. Intervals are 95% bootstrap over pictures; differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnr.evaluation.metrics import Statistic, interval, spearman
from rnr.evaluation.tables import Row, Table
from rnr.quality.adapter import Adapter
from rnr.quality.heads import labels_of
from rnr.quality.loading import load_clip
from rnr.quality.train import QualityRun, train_quality
from rnr.training.checkpoint import CHECKPOINT
from rnr.training.journal import Report

SPOILT = 0.5  # share of captions that are not their picture's
TWINS: dict[str, dict[str, Any]] = {
    "clean": {},
    "spoilt": {"noise": SPOILT},
    "purified": {"noise": SPOILT, "purify": True},
}
WAYS = ("4 ladders, no labels", "adapter")
TEST_SEED = 40_000  # of the pictures that are measured: not those of validation


def trained(images: Path, out: Path, report: Report = lambda row: None, **settings: Any) -> dict[str, Path]:
    """The weights of each twin, in `out`/NAME/weights; what is there stays, what was begun goes on."""
    return {name: _twin(images, out / name, report, settings | own) for name, own in TWINS.items()}


def _twin(images: Path, out: Path, report: Report, settings: Mapping[str, Any]) -> Path:
    weights = out / "weights"
    if (weights / "quality.json").is_file():
        return weights
    run = QualityRun.of({**settings, "out": out, "resume": (out / CHECKPOINT).is_file()}, "rnr bench purification")
    return train_quality(images, run, None, report)


@torch.no_grad()
def scores(weights: Path, photographs: Sequence[np.ndarray], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores (ways, N) of one twin, and the full-reference quality (N,)."""
    model = load_clip(weights)
    feature, truth = labels_of(model, photographs, count, TEST_SEED + seed)
    untrained = Adapter(feature.shape[1], float(model.clip.logit_scale))
    adapters = (untrained, model.heads["technical"].adapter)
    return np.stack([adapter(feature, model.ladders()).numpy() for adapter in adapters]), truth.numpy()


def table(found: Mapping[str, np.ndarray], truth_N: np.ndarray) -> Table:
    """A row for each twin and way, and what purification gains over spoilt captions.

    Args:
        found: Scores (ways, N) by twin.
        truth_N: Full-reference quality.
    """
    rows = [row for way in range(len(WAYS)) for row in _rows(way, found, truth_N)]
    note = "SRCC with full-reference quality; low, high: 95% bootstrap over pictures, paired for the difference"
    return Table.of("Purification in pre-training", rows, note, dict.fromkeys(("SRCC", "low", "high"), 3))


def _rows(way: int, found: Mapping[str, np.ndarray], truth_N: np.ndarray) -> list[Row]:
    def ranks(name: str) -> Statistic:
        return lambda drawn: spearman(found[name][way][drawn], truth_N[drawn])

    def gain(drawn: np.ndarray) -> float:
        return ranks("purified")(drawn) - ranks("spoilt")(drawn)

    each = {name: ranks(name) for name in found} | {"purified - spoilt": gain}
    return [_row(WAYS[way], name, statistic, len(truth_N)) for name, statistic in each.items()]


def _row(way: str, captions: str, statistic: Statistic, count: int) -> Row:
    low, high = interval(count, statistic)
    value = statistic(np.arange(count))
    return {"read by": way, "captions": captions, "SRCC": value, "low": low, "high": high, "n": count}
