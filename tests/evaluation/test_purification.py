"""The experiment on purification: its table on scores that are known, and one run of seconds that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rnr.evaluation.purification import TWINS, scores, table, trained


def test_the_gain_is_the_paired_difference() -> None:
    draw = np.random.default_rng(0)
    truth = draw.uniform(0, 100, 300)
    noise = {"clean": 5, "spoilt": 60, "purified": 20}
    found = {name: np.stack([truth + draw.normal(0, spread, 300)] * 2) for name, spread in noise.items()}
    rows = {str(row["captions"]): row for row in table(found, truth).rows[:4]}
    clean, spoilt, purified, gain = (float(rows[name]["SRCC"] or 0) for name in rows)
    assert clean > purified > spoilt and gain == pytest.approx(purified - spoilt)
    assert 0 < float(rows["purified - spoilt"]["low"] or 0) < gain, "seen at 300 pictures"


def test_the_twins_differ_in_their_captions_alone(
    photographs: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnr.quality.train.FITTED", 32)
    (tmp_path / "clean").mkdir()
    Image.fromarray(photographs["chelsea"][:200, :200]).save(tmp_path / "clean" / "cat.png")
    small: dict[str, Any] = {"samples": 8, "batch": 4, "side": 96, "warm_up": 16, "labels": 16}
    weights = trained(tmp_path / "clean", tmp_path / "out", **small)
    assert list(weights) == list(TWINS)
    stamps = [path.stat().st_mtime_ns for path in weights.values()]
    again = trained(tmp_path / "clean", tmp_path / "out", **small)
    assert [path.stat().st_mtime_ns for path in again.values()] == stamps, "what is there stays"
    score, truth = scores(weights["purified"], [photographs["coffee"]], 8, 0)
    assert score.shape == (2, 8) and np.isfinite(score).all() and truth.shape == (8,)
    first, second = (scores(weights[name], [photographs["coffee"]], 8, 0)[1] for name in ("clean", "spoilt"))
    assert np.array_equal(first, second), "on equal pictures"
