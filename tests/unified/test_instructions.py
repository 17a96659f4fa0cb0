"""Phrasings mean what they say, held-out ones are held out, and the reader learns from the others."""

from __future__ import annotations

import random

import pytest
import torch

from rnr.degradation.kind import kinds
from rnr.unified.instructions import Wish, _beyond, _phrases, _taken, phrasing
from rnr.unified.reader import MOST, Reader, words_of

NAMES = ["rain", "haze", "noise"]


def drawn(count: int, held_out: bool = False) -> list[tuple[str, Wish]]:
    return [phrasing(random.Random(i), list(kinds()), held_out) for i in range(count)]


def test_a_seed_gives_the_same_words() -> None:
    assert drawn(20) == drawn(20) and len({words for words, _ in drawn(200)}) > 150


@pytest.mark.parametrize("held_out", [False, True])
def test_words_mean_what_they_say(held_out: bool) -> None:
    rows = [phrasing(random.Random(i), NAMES, held_out) for i in range(600)]
    assert not any("[" in words or "{" in words or "  " in words for words, _ in rows)
    for words, wish in rows:
        if words.lower().startswith(("please remove just", "undo only", "remove only")):
            assert wish.remove and not wish.unknown
        if "everything but" in words and "cartoon" not in words:
            assert len(wish.remove) < len(NAMES)
    assert {wish.unknown for _, wish in rows} == {False, True}
    assert any(wish.remove == () for _, wish in rows) and any(len(wish.remove) == 3 for _, wish in rows)


def test_no_training_can_write_a_held_out_phrasing() -> None:
    rng, held_out = random.Random(0), {text for texts in _phrases(True).values() for text in texts}
    seen = {_taken(rng, text) for texts in _phrases(False).values() for text in texts for _ in range(400)}
    assert not held_out & seen and not set(_beyond(True)) & set(_beyond(False))


def test_a_kind_that_nobody_has_words_for_goes_by_its_title(new_kind: str) -> None:
    words = {words.lower() for i in range(40) for words, _ in [phrasing(random.Random(i), [new_kind])]}
    assert any("stripes" in text for text in words)


def test_the_reader_learns_to_read() -> None:
    torch.manual_seed(0)
    reader = Reader(NAMES)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=2e-3)
    losses = []
    for step in range(150):
        rng = random.Random(step)
        names = [rng.choice(NAMES) for _ in range(32)]
        texts = [rng.choice(("only remove the {}", "get rid of {}", "take the {} away")).format(n) for n in names]
        loss = reader.loss(texts, [Wish((name,)) for name in names])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]
    assert reader.eval().read("remove the rain only").same(Wish(("rain",)))


def test_any_text_can_be_read() -> None:
    reader = Reader(NAMES).eval()
    assert words_of("") == [""] and len(words_of("a " * 99)) == MOST
    alone, among = reader(["no rain"]), reader(["", "no rain", "ünïcode, 雨; " * 30])[1:2]
    assert torch.allclose(alone, among, atol=1e-5) and isinstance(reader.read(""), Wish)
