"""Purification of noisy captions: how much each is worth in a contrastive training (UniQA, section 3.3).

Relevance: whether the caption suits its own picture better than it suits others. Informativeness: how far it tells
pictures apart at all, whichever they are, as information gained about the picture in shares of all there is to know;
UniQA takes the length of the text, by which chatter is as good as a diagnosis. Words that the model does not know add
nothing. Both are shares, their product is the weight; `rnr train quality --purify` weighs each batch by it.

Shapes: feature_ND of pictures, text_ND of their captions, of length 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from rnr.quality.model import QualityModel

CHATTER = ("what a day", "my dog loves it here", "holiday 2019", "nice one , thanks for sharing", "first !")


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
    scale = float(model.clip.logit_scale.exp().clamp(max=100))
    return worth(feature_ND, model.text(texts), scale, known_share(model.tokenizer, texts))


def worth(feature_ND: torch.Tensor, text_ND: torch.Tensor, scale: float, known_N: torch.Tensor) -> torch.Tensor:
    """`purified` for those who have the texts' features and the shares of their words that are known."""
    return relevance(feature_ND, text_ND) * informativeness(feature_ND, text_ND, scale) * known_N


def spoilt(captions: Sequence[list[str]], share: float, seed: int) -> tuple[list[list[str]], np.ndarray]:
    """Captions as they come from the wild, for experiments: a share replaced by another's or by chatter, as often.

    Args:
        captions: Of each picture.
        share: 0-1.
        seed: Of everything that is drawn.

    Returns:
        The captions, and which of them (N,) are not their picture's.
    """
    draw = np.random.default_rng(seed)
    wrong = draw.permutation(len(captions)) < round(share * len(captions))
    others = [[str(draw.choice(CHATTER))] * 2 if draw.random() < 0.5 else captions[int(draw.integers(len(captions)))]
              for _ in captions]  # fmt: skip
    return [other if bad else own for own, other, bad in zip(captions, others, wrong)], wrong
