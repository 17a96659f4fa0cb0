"""A small CLIP: transformers' `CLIPModel`, unmodified, with the tokenizer of a closed vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from rnr.quality.captions import vocabulary
from rnr.quality.views import CELL, CHANNELS, Views

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SPECIAL = ("<pad>", "<unk>", "<start>", "<end>")
LENGTH = 40  # tokens of a caption; a choice: the longest of ours has 34
ACT = "gelu_pytorch_tanh"  # one kernel; CLIP's quick_gelu took a quarter of a CPU training
VISION = {"hidden_size": 160, "intermediate_size": 640, "num_hidden_layers": 4, "num_attention_heads": 5}
TEXT = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
WIDTH = 192  # of the space of pictures and words: a choice within 6 MB


def build_tokenizer(extra: Sequence[str] = ()) -> PreTrainedTokenizerBase:
    """One token a word of `captions.vocabulary`, and of `extra`; other words are <unk>."""
    return tokenizer_of([*SPECIAL, *vocabulary(extra)])


def tokenizer_of(words: Sequence[str]) -> PreTrainedTokenizerBase:
    """One token a word, in this order, which begins with `SPECIAL`."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [("<start>", 2), ("<end>", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("<start> $A <end>", special_tokens=ends)
    named = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<start>", "eos_token": "<end>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LENGTH, **named)


def small_config(words: int, views: Views) -> CLIPConfig:
    """The built-in model's shape: 1.7 M parameters."""
    text = TEXT | {"hidden_act": ACT, "vocab_size": words, "max_position_embeddings": LENGTH}
    text |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    vision = VISION | {"hidden_act": ACT, "image_size": views.side // CELL, "patch_size": 1, "num_channels": CHANNELS}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH, logit_scale_init_value=2.3)


def small_clip(tokenizer: PreTrainedTokenizerBase, views: Views, seed: int = 0) -> CLIPModel:
    """With random weights."""
    torch.manual_seed(seed)
    return CLIPModel(small_config(len(tokenizer), views))


def with_words(
    clip: CLIPModel, tokenizer: PreTrainedTokenizerBase, words: Sequence[str], seed: int = 0
) -> tuple[CLIPModel, PreTrainedTokenizerBase]:
    """Both with a token for each of these words: tokens of before keep place and embedding, new ones are random.

    A tokenizer that writes unknown words in pieces stays as it is.
    """
    known = tokenizer.get_vocab()
    new = sorted(set(words) - set(known))
    if not new or not set(SPECIAL) <= set(known):
        return clip, tokenizer
    held = clip.text_model.embeddings.token_embedding
    more = torch.randn(len(new), held.embedding_dim, generator=torch.Generator().manual_seed(seed))
    table = torch.cat([held.weight.detach(), more * held.weight.detach().std()])
    clip.text_model.embeddings.token_embedding = torch.nn.Embedding.from_pretrained(table, freeze=False)
    clip.config.text_config.vocab_size = len(table)  # type: ignore[union-attr]
    return clip, tokenizer_of([*sorted(known, key=known.__getitem__), *new])


def projected(features: object) -> torch.Tensor:
    """What `get_image_features` or `get_text_features` gives, as a tensor (N, D): releases differ."""
    return features if isinstance(features, torch.Tensor) else features.pooler_output  # type: ignore[attr-defined]


def picture_feature(model: CLIPModel, views_VCSS: torch.Tensor) -> torch.Tensor:
    """One picture's feature (D,), not normalised: the mean of its crops' and its overview's, halves of each."""
    each = projected(model.get_image_features(pixel_values=views_VCSS))
    return (each[:-1].mean(0) + each[-1]) / 2


def text_features(model: CLIPModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> torch.Tensor:
    """Features (N, D) of texts, of length 1."""
    tokens = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(model.device)
    given = {name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens}
    return torch.nn.functional.normalize(projected(model.get_text_features(**given)), dim=-1)
