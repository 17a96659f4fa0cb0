"""One token a fixed text, digit by digit, and nothing depends on what stands beside a piece."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from rnr.degradation.kind import kinds
from rnr.reasoner.grammar import segments
from tests.reasoner.conftest import random_diagnosis


def encode(tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def test_a_diagnosis_is_the_sum_of_its_pieces(tokenizer) -> None:
    for seed in range(150):
        diagnosis = random_diagnosis(seed)
        whole = encode(tokenizer, diagnosis.to_json())
        assert whole == [token for piece in segments(diagnosis) for token in encode(tokenizer, piece.text)]
        assert tokenizer.decode(whole) == diagnosis.to_json()


def test_numbers_are_digit_by_digit(tokenizer) -> None:
    assert [tokenizer.decode([i]) for i in encode(tokenizer, "-10.25,")] == ["-", "1", "0", ".", "2", "5", ","]


def test_evidence_is_one_token(tokenizer) -> None:
    for kind in kinds().values():
        assert all(len(encode(tokenizer, phrase)) == 1 for phrase in kind.measurement.texts)


@pytest.mark.parametrize("text", ["plain words", "größer, 大きい 🙂", "\x00\n\t", '{"noise":45}', " "])
def test_any_text_survives(tokenizer, text: str) -> None:
    assert tokenizer.decode(encode(tokenizer, text)) == text


def test_specials_are_qwens_and_are_kept_whole(tokenizer) -> None:
    ids = encode(tokenizer, "<|im_start|>user<|vision_start|><|image_pad|><|vision_end|>diagnose<|im_end|>")
    assert len(ids) == 7
    assert tokenizer.eos_token == "<|im_end|>" and tokenizer.pad_token == "<|endoftext|>"


def test_saving_changes_nothing(tokenizer, tmp_path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = random_diagnosis(7).to_json()
    assert encode(loaded, text) == encode(tokenizer, text)
    assert loaded.decode(encode(loaded, text)) == text
    assert loaded.chat_template == tokenizer.chat_template
