"""Purification on a space where the truth is known, and on the built-in model."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from rnr.quality.network import build_tokenizer
from rnr.quality.purify import informativeness, known_share, relevance


def test_a_caption_of_another_picture_is_less_relevant() -> None:
    feature = normalize(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert relevance(feature, feature).min() == 1
    assert relevance(feature, feature.roll(1, 0)).mean() < 0.7


def test_a_caption_that_suits_all_alike_informs_of_nothing() -> None:
    feature = normalize(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    flat = torch.zeros(64, 16)
    assert informativeness(feature, flat, 20.0).abs().max() < 1e-5
    assert informativeness(feature, feature, 20.0).min() > 0.3


def test_words_that_nobody_knows_add_nothing() -> None:
    shares = known_share(build_tokenizer(), ["strong noise", "strong dog", "lovely dog"])
    assert shares.tolist() == [1.0, 0.5, 0.0]
