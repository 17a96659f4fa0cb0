"""Names and what they load: any CLIP and SigLIP, others by prefix, and what is said where something is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

import rnr
from rnr.quality.captions import LADDERS
from rnr.quality.export import export, read_card
from rnr.quality.loading import load, load_clip
from rnr.quality.model import QualityModel
from rnr.quality.network import build_tokenizer
from rnr.quality.others import LanguageScorer
from rnr.reasoner.model import new_model, tiny_config
from rnr.reasoner.processor import build_processor
from rnr.reasoner.tokenizer import build_tokenizer as build_words
from tests.reasoner.conftest import SMALL_TEXT, SMALL_VISION

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(params=["clip", "siglip"])
def published(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkpoint as a hub has it: random weights, a tokenizer, no card of ours."""
    tokenizer = build_tokenizer()
    text = TOWER | {"vocab_size": len(tokenizer), "max_position_embeddings": 40, "eos_token_id": 3, "pad_token_id": 0}
    vision = TOWER | {"image_size": 32, "patch_size": 16}
    if request.param == "clip":
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(tmp_path)
    else:
        SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}')
    return tmp_path


def test_a_published_checkpoint_is_read_without_labels(published: Path) -> None:
    model = load_clip(published)
    assert model.views.side == 32 and model.views.mean == (0.5, 0.5, 0.5) and not model.views.measures
    (found,) = model.score([np.zeros((50, 70, 3), np.uint8)])
    assert found.technical is not None and found.interval is None and found.aesthetic is None


def test_what_is_written_is_read_back_with_its_heads(published: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    model = load_clip(published)
    again = load_clip(export(model, tmp_path / "weights", {"samples": 1}))
    assert again.views == model.views
    assert again.score([picture])[0].technical == pytest.approx(model.score([picture])[0].technical, abs=0.3)


def test_errors_name_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(rnr.SetupError, match="no weights here; train them with `rnr train quality`"):
        load(tmp_path)
    (tmp_path / "quality.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        read_card(tmp_path)
    (tmp_path / "quality.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format 99, this release reads"):
        read_card(tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("pyiqa") is not None, reason="pyiqa is installed here")
def test_pyiqa_is_named_where_it_is_missing() -> None:
    with pytest.raises(rnr.SetupError, match="non-commercial, so it is in no extra: pip install pyiqa"):
        load("pyiqa:musiq")


def test_the_built_in_reasoner_has_no_such_words() -> None:
    with pytest.raises(rnr.SetupError, match="writes a Diagnosis and no such words"):
        load("reasoner:built-in")


def test_a_vision_language_model_scores_by_five_words() -> None:
    tokenizer = build_words(extra=LanguageScorer.words)
    model = new_model(tiny_config(tokenizer, SMALL_TEXT, SMALL_VISION), seed=3)
    scorer = LanguageScorer(model, build_processor(tokenizer), "random")
    draw = np.random.default_rng(0)
    pictures = [draw.integers(0, 256, (96, 128, 3), dtype=np.uint8), np.full((64, 64, 3), 90, np.uint8)]
    first, second = scorer.score(pictures)
    assert first.ladder is not None and list(first.ladder) == list(LADDERS[0].words)
    assert sum(first.ladder.values()) == pytest.approx(1, abs=1e-3) and first.aesthetic is None
    expected = sum(p * at for p, at in zip(first.ladder.values(), (0, 25, 50, 75, 100)))
    assert first.technical == pytest.approx(expected, abs=0.1) and first.technical != second.technical
    assert scorer.score(pictures[1:])[0] == second, "alone as beside another"
    scorer.tokens = scorer.tokens.flip(0)
    assert scorer.score(pictures[:1])[0].technical == pytest.approx(100 - expected, abs=0.1), "from bad to perfect"


def test_a_quality_model_is_loaded_by_name() -> None:
    assert QualityModel.load("built-in").identity == load().identity == QualityModel.load().identity
    with pytest.raises(rnr.SetupError, match="no weights here; train them"):
        QualityModel.load(Path(__file__).parent)


def test_words_that_begin_alike_are_refused() -> None:
    with pytest.raises(rnr.SetupError, match="begins two of .* alike; name another model"):
        LanguageScorer(None, build_processor(build_words()), "letters")
