"""Phrasings mean what they say, held-out ones are held out, a reader learns from the others, the built-in reads."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from rnr import prompts
from rnr.degradation.errors import SetupError
from rnr.degradation.intent import Intent
from rnr.degradation.kind import kinds
from rnr.reasoner.instructions.loading import FOLDER, WEIGHTS, load
from rnr.reasoner.instructions.phrasings import Wish, _beyond, _phrases, _taken, phrasing, vocabulary
from rnr.reasoner.instructions.reader import MOST, SURE, Reader, words_of
from rnr.reasoner.instructions.train import TEMPLATES, ReaderRun, train

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


@pytest.fixture(scope="module")
def built_in() -> Reader:
    return load()


@pytest.mark.parametrize(
    ("words", "remove"),
    [
        ("only remove the rain, keep the mist", {"rain"}),
        ("Please remove the noise.", {"noise"}),
        ("get rid of the haze", {"haze"}),
        ("just the blur, please", {"blur"}),
        ("it is too dark, fix that", {"low_light"}),
        ("clean up the JPEG artifacts", {"compression"}),
        ("remove the fog, leave the snow", {"haze"}),
        ("undo the low resolution", {"low_resolution"}),
        ("remove everything except the grain", set(kinds()) - {"noise"}),
        ("restore this photo", set(kinds())),
    ],
)
def test_plain_wishes_are_read_and_certain(built_in: Reader, words: str, remove: set[str]) -> None:
    wish = built_in.read(words)
    assert set(wish.remove) == remove and not wish.unknown and wish.certainty and wish.certainty >= SURE


def test_what_no_restorer_can_do_is_known_as_such(built_in: Reader) -> None:
    assert built_in.read("turn it into a cartoon").unknown
    mixed = built_in.read("remove the rain and add a dog")
    assert mixed.unknown and mixed.remove == ("rain",)


@pytest.mark.parametrize(
    "words",
    ["remove the rainbow", "remove the dust", "entferne den Regen", "asdf qwer zxcv", "hello", "", "sharpen"],
)
def test_words_that_no_training_has_are_not_certain(built_in: Reader, words: str) -> None:
    certainty = built_in.read(words).certainty
    assert certainty is not None and certainty < SURE


def test_an_instruction_that_is_too_long_to_be_read_is_not_certain(built_in: Reader) -> None:
    begin = "remove the noise" + " please" * (MOST - 3)
    assert built_in.read(f"{begin}, and the rain").certainty == 0


def test_the_built_in_reader_is_small_and_learned_from_the_templates_that_are_here() -> None:
    with safe_open(str(FOLDER / WEIGHTS), "pt") as file:
        about = json.loads(file.metadata()["reader"])
    assert about["prompts"] == {name: prompts.load(name).version for name in TEMPLATES}
    assert about["kinds"] == list(kinds()) and (FOLDER / WEIGHTS).stat().st_size < 1_500_000


def test_the_vocabulary_is_that_of_the_training() -> None:
    known = vocabulary(tuple(NAMES))
    assert {"remove", "rain", "mist", "keep", "cartoon"} <= known and not {"rainbow", "nuke", "keep}", "snow"} & known


def test_a_training_writes_a_reader_that_loads(tmp_path: Path) -> None:
    folder = train(ReaderRun(out=tmp_path, samples=128, warm_up=64))
    reader = load(folder)
    assert reader.kinds == list(kinds()) and isinstance(reader.read("remove the rain"), Wish)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "templates alone" in card and "--samples 128" in card and "license: other" in card


def test_a_folder_without_a_reader_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"reader.safetensors: no reader.*rnr train instructions"):
        load(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(SetupError, match="no reader of instructions"):
        load(tmp_path)


def test_an_intent_is_narrowed_to_a_wish() -> None:
    four = ["rain", "haze", "noise", "blur"]
    everything, all_but_one, named = Wish(tuple(five := [*four, "snow"])), Wish(tuple(four)), Wish(("rain", "haze"))
    assert everything.narrowed(Intent(), five, {"rain"}).kinds is None
    assert all_but_one.narrowed(Intent(), five, {"rain"}).kinds == ["haze", "noise", "blur"]
    assert named.narrowed(Intent(), five, {"rain"}).kinds == ["rain", "haze"]
    assert named.narrowed(Intent(kinds=["haze", "snow"], strength=50), five, ()) == Intent(kinds=["haze"], strength=50)
