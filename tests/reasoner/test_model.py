"""Sizes and starting weights of the built-in model; the processor beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rnr.degradation.diagnosis import reasoning_order
from rnr.reasoner.collate import Collator
from rnr.reasoner.grammar import Skeleton, program, run
from rnr.reasoner.model import dct_filters, deepened, grown, new_model, tiny_config, use_quick_tower
from rnr.reasoner.processor import PictureProcessor, load_processor
from rnr.reasoner.tokenizer import build_tokenizer
from tests.reasoner.conftest import SMALL_TEXT, SMALL_VISION, picture

MARKS = (("image_token_id", "image_pad"), ("vision_start_token_id", "vision_start"), ("eos_token_id", "im_end"))


def pieces(names: list[str]):
    return run(program(names), lambda choice: choice.options[0])


def test_stored_in_half_precision_it_is_small(tokenizer) -> None:
    model = new_model(tiny_config(tokenizer))
    count = sum(p.numel() for p in model.parameters())
    assert 3_000_000 < count < 5_000_000 and 2 * count < 12_000_000


def test_dct_filters_are_orthonormal() -> None:
    filters, frequency = dct_filters(128)
    assert torch.allclose(filters.flatten(1) @ filters.flatten(1).T, torch.eye(128), atol=1e-5)
    assert frequency[0] == 0 and frequency.max() > 15


def test_patches_as_a_matrix_product_are_the_same(small_model) -> None:
    pixels = torch.randn(8, 1536, generator=torch.Generator().manual_seed(0))
    before = small_model.model.visual.patch_embed(pixels)
    use_quick_tower(small_model)
    assert torch.allclose(small_model.model.visual.patch_embed(pixels), before, atol=1e-4)


def test_a_deeper_tower_starts_as_what_it_grew_from(small_model) -> None:
    depth = len(small_model.model.visual.blocks)
    deeper = deepened(small_model, 2 * depth)
    assert len(deeper.model.visual.blocks) == 2 * depth
    pixels, grid = torch.randn(128, 1536, generator=torch.Generator().manual_seed(0)), torch.tensor([[1, 8, 8]] * 2)
    before, after = small_model.model.visual(pixels, grid_thw=grid), deeper.model.visual(pixels, grid_thw=grid)
    assert torch.equal(after.pooler_output, before.pooler_output)
    for old, new in zip(before.deepstack_features, after.deepstack_features, strict=True):
        assert torch.equal(new, old)
    last = deeper.model.visual.blocks[-1].mlp.linear_fc2.weight
    after.pooler_output.square().sum().backward()
    assert last.grad is not None and last.grad.abs().max() > 0, "what does nothing yet can learn"


def test_a_tower_grows_by_whole_multiples(small_model) -> None:
    with pytest.raises(ValueError, match="multiple"):
        deepened(small_model, 2 * small_model.config.vision_config.depth + 1)


def test_a_model_grows_by_a_kind_and_says_of_the_others_what_it_said() -> None:
    *fewer, _ = names = reasoning_order()
    old, new = build_tokenizer(fewer), build_tokenizer(names)
    model = new_model(tiny_config(old, SMALL_TEXT, SMALL_VISION), seed=1)
    larger: Any = grown(model, old, new)
    assert set(new.get_vocab()) > set(old.get_vocab())
    text = "".join(piece.text if isinstance(piece, Skeleton) else piece.options[0] for piece in pieces(fewer))
    before, after = (
        by(input_ids=torch.tensor([words.encode(text)])).logits[0, -1] for by, words in ((model, old), (larger, new))
    )
    shared = sorted(old.get_vocab())
    said, says = (logits[words.convert_tokens_to_ids(shared)] for logits, words in ((before, old), (after, new)))
    assert torch.allclose(said, says, atol=1e-5)
    assert all(larger.config.to_dict()[name] == new.convert_tokens_to_ids(f"<|{mark}|>") for name, mark in MARKS)
    assert larger.config.text_config.vocab_size == len(new) == larger.get_input_embeddings().weight.shape[0]


def test_the_patch_embedding_starts_white(tokenizer) -> None:
    photographs = [picture(160, 160, seed) for seed in range(4)]
    model = new_model(tiny_config(tokenizer), 0, photographs)
    pixels = np.stack([photo[:128, :128] for photo in photographs])
    rows = torch.cat([torch.from_numpy(pixels)]).permute(0, 3, 1, 2).float() / 127.5 - 1
    from rnr.reasoner.collate import patchify

    with torch.no_grad():
        coefficients = model.model.visual.patch_embed(patchify(rows))
    assert coefficients.mean(0).abs().max() < 0.6 and coefficients.std(0).max() < 1.3


def test_weights_depend_on_the_seed_alone(tokenizer) -> None:
    torch.manual_seed(5)
    first = new_model(tiny_config(tokenizer), seed=3)
    torch.manual_seed(6)
    second = new_model(tiny_config(tokenizer), seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))


def test_processor_survives_saving(processor, small_model, tmp_path) -> None:
    processor.save_pretrained(tmp_path)
    small_model.save_pretrained(tmp_path)
    loaded = load_processor(str(tmp_path))
    assert isinstance(loaded, PictureProcessor)
    views = list(np.stack([picture(128, 128, seed) for seed in range(3)]))
    text = "<|vision_start|><|image_pad|><|vision_end|>" * 3
    ours, theirs = (p(text=[text], images=views, return_tensors="pt") for p in (processor, loaded))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_collator_makes_what_the_processor_makes(processor) -> None:
    collator = Collator(processor)
    views = np.stack([picture(128, 128, seed) for seed in range(3)])
    from rnr.reasoner.collate import messages

    chat = processor.apply_chat_template(messages("diagnose", 3), add_generation_prompt=True)
    slow = processor(text=[chat], images=list(views), return_tensors="pt")
    fast = collator.pixels([views])
    assert torch.allclose(slow["pixel_values"], fast["pixel_values"], atol=1e-6)
    assert torch.equal(slow["image_grid_thw"], fast["image_grid_thw"])
    assert slow["input_ids"][0].tolist() == collator.prompt_ids("diagnose", views.shape[:3])
