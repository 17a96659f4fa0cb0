"""Pre-training: captions and pictures come together, a resumed training is the unbroken one, the folder loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel

from rnr.quality.captions import title
from rnr.quality.export import read_card
from rnr.quality.loading import load_clip
from rnr.quality.network import build_tokenizer, text_features, with_words
from rnr.quality.pairs import draw_pairs
from rnr.quality.purify import spoilt
from rnr.quality.train import QualityEngine, QualityObjective, QualityRun, train_quality
from rnr.training.checkpoint import CHECKPOINT, read

pytestmark = pytest.mark.usefixtures("few_pictures")
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
            run = QualityRun(out=tmp_path / name, samples=8, resume=part != parts[0], **SMALL | {"echo": 2})
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


def test_a_training_is_taken_on_from_weights(folder: Path, tmp_path: Path) -> None:
    begun = train_quality(folder, QualityRun(out=tmp_path / "begun", samples=8, **SMALL))
    run = QualityRun(out=tmp_path / "on", samples=8, init=str(begun), **SMALL)
    objective, held = QualityObjective(run, [np.zeros((200, 200, 3), np.uint8)]), load_clip(begun)
    assert objective.views == held.views
    assert all(torch.equal(a, b) for a, b in zip(objective.model.clip.parameters(), held.clip.parameters()))
    weights = train_quality(folder, run)
    assert f"taken on from {begun}" in (weights / "README.md").read_text()
    with pytest.raises(ValueError, match=r"begun with init '.*', now ''; give the same options as then"):
        train_quality(folder, QualityRun(out=tmp_path / "on", samples=8, resume=True, **SMALL))


def test_new_words_leave_the_old_ones_as_they_were() -> None:
    model = load_clip()
    before, texts = model.text(["strong noise , slight haze"]), ["a gloomy picture", "a luminous picture"]
    assert torch.equal(*model.text(texts)), "words that it does not know"
    clip, tokenizer = with_words(model.clip, model.tokenizer, ["gloomy", "luminous", "noise"])
    assert len(tokenizer) == len(model.tokenizer) + 2
    assert torch.equal(text_features(clip, tokenizer, ["strong noise , slight haze"]), before)
    assert not torch.equal(*text_features(clip, tokenizer, texts))


def test_a_published_clip_can_be_the_start(folder: Path, tmp_path: Path) -> None:
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = build_tokenizer()
    text = tower | {"vocab_size": len(words), "max_position_embeddings": 40, "eos_token_id": 3, "pad_token_id": 0}
    vision = tower | {"image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(tmp_path / "hub")
    words.save_pretrained(tmp_path / "hub")
    run = QualityRun(out=tmp_path / "on", samples=8, init=str(tmp_path / "hub"), **SMALL)
    model = load_clip(train_quality(folder, run))
    assert model.clip.config.projection_dim == 16 and not model.views.measures


def test_purified_captions_that_are_wrong_count_for_little(tmp_path: Path) -> None:
    run = QualityRun(out=tmp_path, samples=8, **SMALL)
    objective = QualityObjective(run, [np.zeros((200, 200, 3), np.uint8)])
    objective.model.clip.load_state_dict(load_clip().clip.state_dict())
    texts = [f"severe {title(name)}" for name in ("noise", "blur", "haze", "rain", "snow", "compression")]
    feature = text_features(objective.model.clip, objective.tokenizer, texts)  # pictures that their captions describe
    right = objective.worth(feature, feature, texts)
    swapped = [texts[1], texts[0], *texts[2:5], "what a day"]
    wrong = objective.worth(feature, text_features(objective.model.clip, objective.tokenizer, swapped), swapped)
    assert (wrong[:2] < right[:2] / 2).all() and wrong[5] < right[5] / 10
    assert torch.allclose(wrong[2:5], right[2:5], atol=1e-4), "the others stay"
    plain, weighed = (float(objective.contrast(feature, swapped, weigh).detach()) for weigh in (False, True))
    assert weighed < plain


def test_a_share_of_captions_is_spoilt() -> None:
    captions = [[f"short {i}", f"long {i}"] for i in range(40)]
    other, wrong = spoilt(captions, 0.5, 0)
    assert wrong.sum() == 20 and all(a == b for a, b, bad in zip(captions, other, wrong) if not bad)
    assert sum(a != b for a, b in zip(captions, other)) >= 18 and all(len(texts) == 2 for texts in other)
    assert spoilt(captions, 0.0, 0)[0] == captions
