"""Purification of noisy captions: how much each is worth in a contrastive training (UniQA, section 3.3).

Relevance: whether the caption suits its own picture better than it suits others. Informativeness: how far it tells
pictures apart at all, whichever they are, as information gained about the picture in shares of all there is to know;
UniQA takes the length of the text, by which chatter is as good as a diagnosis. Words that the model does not know add
nothing. Both are shares, their product is the weight.

Shapes: feature_ND of pictures, text_ND of their captions, of length 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from rnr.quality.model import QualityModel


def relevance(feature_ND: torch.Tensor, text_ND: torch.Tensor) -> torch.Tensor:
    """(N,) 0-1: the share of the other pictures that a caption suits less than its own."""
    suits = text_ND @ feature_ND.T
    own = suits.diagonal()[:, None]
    less = (suits < own).float() + 0.5 * (suits == own).float()
    return (less.sum(1) - 0.5) / max(1, len(suits) - 1)


def informativeness(feature_ND: torch.Tensor, text_ND: torch.Tensor, scale: float) -> torch.Tensor:
    """(N,) 0-1: divergence of p(picture | caption) from the uniform distribution, by its most, log N."""
    logs = (scale * text_ND @ feature_ND.T).log_softmax(1)
    gain = (logs.exp() * (logs + math.log(len(feature_ND)))).sum(1)
    return gain / math.log(max(2, len(feature_ND)))


def known_share(tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """(N,) 0-1: share of the words that the tokenizer knows; 1 where it falls back to pieces."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    return torch.tensor([sum(i != unknown for i in row) / max(1, len(row)) for row in rows])


def purified(model: QualityModel, feature_ND: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
    """Weight (N,) 0-1 of each caption beside its picture: relevance x informativeness.

    Args:
        model: Whose space is used.
        feature_ND: Of the pictures, N of 2 or more.
        texts: A caption of each.

    Example:
        >>> import torch
        >>> relevance(torch.eye(2), torch.eye(2)).tolist(), relevance(torch.eye(2), torch.eye(2).flip(0)).tolist()
        ([1.0, 1.0], [0.0, 0.0])
    """
    text = model.text(texts)
    scale = float(model.clip.logit_scale.exp().clamp(max=100))
    informative = informativeness(feature_ND, text, scale) * known_share(model.tokenizer, texts)
    return relevance(feature_ND, text) * informative
