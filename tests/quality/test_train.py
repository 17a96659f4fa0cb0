"""Pre-training: captions and pictures come together, a resumed training is the unbroken one, the folder loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rnr.quality.export import read_card
from rnr.quality.loading import load_clip
from rnr.quality.pairs import draw_pairs
from rnr.quality.train import QualityEngine, QualityObjective, QualityRun, train_quality
from rnr.training.checkpoint import CHECKPOINT, read

SMALL: dict[str, Any] = {"batch": 4, "side": 96, "echo": 1, "warm_up": 16, "labels": 16}


@pytest.fixture(scope="module")
def folder(photographs: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photographs")
    for name in ("chelsea", "coffee"):
        Image.fromarray(photographs[name][:320, :320]).save(place / f"{name}.png")
    return place


def test_pairs_hold_what_is_true_of_them(photographs: dict[str, np.ndarray]) -> None:
    pairs = draw_pairs(list(photographs.values()), 6, 128, seed=3)
    same = (pairs.clean_BCHW == pairs.degraded_BCHW).flatten(1).all(1)
    assert torch.all(pairs.score_B[same] > 99.9) and pairs.score_B.min() >= 0
    for diagnosis, severities in zip(pairs.diagnoses(), pairs.severity_BK):
        assert len(diagnosis.present) == int((severities.round() > 0).sum())
    assert torch.equal(draw_pairs(list(photographs.values()), 6, 128, seed=3).degraded_BCHW, pairs.degraded_BCHW)


def test_a_resumed_training_is_the_unbroken_one(photographs: dict[str, np.ndarray], tmp_path: Path) -> None:
    held = {}
    for name, parts in {"whole": (8,), "broken": (4, 8)}.items():
        for part in parts:
            run = QualityRun(out=tmp_path / name, samples=8, resume=part != parts[0], **SMALL)
            engine = QualityEngine(QualityObjective(run, [photographs["chelsea"]]), run)
            while engine.samples < part:
                engine.update()
            engine.save()
        held[name] = read(tmp_path / name / CHECKPOINT)[1]
    assert all(torch.equal(tensor, held["broken"][name]) for name, tensor in held["whole"].items())


def test_the_loss_falls_on_a_batch_that_is_seen_again(photographs: dict[str, np.ndarray], tmp_path: Path) -> None:
    run = QualityRun(out=tmp_path, samples=1000, **SMALL)
    engine = QualityEngine(QualityObjective(run, [photographs["chelsea"]]), run)
    batch = engine.objective.batch(0, 0)
    engine.objective.batch = lambda progress, seed: batch  # type: ignore[method-assign]
    losses = [loss for _ in range(12) for loss in engine.update()]
    assert losses[-1] < 0.8 * losses[0]


def test_equal_captions_are_no_negatives(photographs: dict[str, np.ndarray], tmp_path: Path) -> None:
    run = QualityRun(out=tmp_path, **SMALL)
    objective = QualityObjective(run, [photographs["chelsea"]])
    feature = torch.ones(4, 192)
    assert float(objective.contrast(feature, ["strong noise"] * 4)) == pytest.approx(0.69, abs=0.02)  # ln 4 / 2


def test_a_trained_folder_is_loaded_and_says_where_it_comes_from(folder: Path, tmp_path: Path) -> None:
    weights = train_quality(folder, QualityRun(out=tmp_path, samples=8, license="CC0-1.0", **SMALL), val=folder)
    model, card = load_clip(weights), read_card(weights)
    assert card["training"]["samples"] == 8 and "license: cc0-1.0" in (weights / "README.md").read_text()
    assert model.heads["technical"].intervals is not None
    assert model.score([np.zeros((64, 64, 3), np.uint8)])[0].technical is not None
