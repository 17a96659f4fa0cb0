"""The benchmark of the quality model: its statistics, and one small run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnr.degradation.measure import technical_quality
from rnr.degradation.photographs import to_tensor
from rnr.evaluation.quality_model import SIDE, figure, rank_row, tables
from rnr.evaluation.unseen import UNSEEN, damaged
from rnr.quality.loading import load_clip


@pytest.mark.parametrize("name", UNSEEN)
def test_damage_that_was_never_trained_grows_with_its_strength(name: str, photographs: dict[str, np.ndarray]) -> None:
    clean = to_tensor(photographs["chelsea"][:192, :192])
    left = [float(technical_quality(damaged(UNSEEN[name], clean, s), clean)) for s in (0.0, 0.5, 1.0)]
    assert left[0] > left[1] > left[2]


def test_an_interval_holds_the_value_and_shrinks_with_more_pictures() -> None:
    draw = np.random.default_rng(0)
    widths = []
    for count in (20, 500):
        truth = draw.normal(size=count)
        row = rank_row("x", list(truth + draw.normal(size=count)), torch.tensor(truth))
        assert row["low"] < row["value"] < row["high"] and row["n"] == count  # type: ignore[operator]
        widths.append(float(row["high"]) - float(row["low"]))  # type: ignore[arg-type]
    assert widths[1] < widths[0] / 2
    assert figure("mean", 3, lambda rows: float(rows.mean()))["value"] == 1.0


def test_a_small_run_fills_its_tables(photographs: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnr.evaluation.quality_model.SIDE", 128)
    monkeypatch.setattr("rnr.quality.adapter.STEPS", 20)
    held = {name: picture for name, picture in photographs.items() if min(picture.shape[:2]) >= SIDE}
    made = tables(load_clip(), held, 24, seed=0)
    ranks = {row["measured"]: row for row in made["quality_ranks"].rows}
    assert set(ranks) == {"trained kinds", *(name.replace("_", "-") for name in UNSEEN)}
    assert [row["labels"] for row in made["quality_labels"].rows[:5]] == [0, 0, 50, 100, 200]
    assert all(row["n"] for table in made.values() for row in table.rows)
