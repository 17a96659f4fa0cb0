"""The program writes exactly the canonical JSON, whatever is chosen, and reads it back into pieces."""

from __future__ import annotations

import json

import pytest

from rnr.degradation.diagnosis import Diagnosis, Finding, reasoning_order
from rnr.degradation.scene import THINGS
from rnr.degradation.schema import diagnosis_schema
from rnr.reasoner.ebnf import ebnf
from rnr.reasoner.grammar import Choice, Skeleton, program, run, segments, vocabulary
from tests.reasoner.conftest import random_diagnosis


@pytest.mark.parametrize("seed", range(30))
def test_what_it_writes_is_canonical_and_is_read_back(seed: int) -> None:
    diagnosis = random_diagnosis(seed)
    pieces = segments(diagnosis)
    text = diagnosis.to_json()
    assert "".join(piece.text for piece in pieces) == text
    assert all(text[piece.start : piece.end] == piece.text for piece in pieces)
    assert all(piece.text in piece.options for piece in pieces if piece.path)


def test_values_come_in_the_order_of_thought() -> None:
    paths = [p.path for p in run(program(["noise"]), lambda choice: choice.options[0]) if isinstance(p, Choice)]
    assert paths == [
        "scene.medium", "scene.lighting", "scene.colours.0", "scene.colours.1", "scene.texture", "scene.layout",
        "scene.objects.0", "findings.noise.evidence", "findings.noise.present", "findings.noise.severity",
        "findings.noise.factors.type", "findings.noise.factors.sigma", "findings.noise.factors.colour",
        "findings.noise.factors.grain", "quality.technical",
    ]  # fmt: skip


def test_weights_of_an_older_physics_write_the_factors_that_they_know() -> None:
    """`grain` came with physics 2; neither the text nor what is read back of it has it in physics 1."""
    pieces = run(program(["noise"], physics=1), lambda choice: choice.options[0])
    text = "".join(piece.text if isinstance(piece, Skeleton) else piece.options[0] for piece in pieces)
    diagnosis = Diagnosis.from_json(text)
    assert list(diagnosis.findings["noise"].factors) == ["type", "sigma", "colour"]
    assert "".join(piece.text for piece in segments(diagnosis)) == text
    assert "grain" in ebnf(["noise"]) and "grain" not in ebnf(["noise"], physics=1)
    assert "grain" not in json.dumps(diagnosis_schema(["noise"], physics=1))


def test_objects_are_null_or_words_in_the_order_of_the_list() -> None:
    def written(*words: str) -> list[str]:
        diagnosis = random_diagnosis(0)
        diagnosis.scene.objects = list(words) or None
        return [piece.text for piece in segments(diagnosis) if piece.path and piece.path.startswith("scene.objects")]

    assert written() == ["null"]
    assert written("person", "sky") == ['["person"', ',"sky"', "]}"]
    assert written("person", "animal", "bird", "sky") == ['["person"', ',"animal"', ',"bird"', ',"sky"']
    assert written(THINGS[-1]) == [f'["{THINGS[-1]}"']
    assert written("sky", "person") == written("a lamp") == [], "free text is no choice"
    pieces = run(program(["noise"], physics=1), lambda choice: choice.options[0])
    assert not any(isinstance(piece, Choice) and "objects" in piece.path for piece in pieces), "not asked in physics 1"


def test_the_two_colours_differ() -> None:
    def choose(choice: Choice) -> str:
        return "blue" if "blue" in choice.options else choice.options[0]

    colours = [p.options for p in run(program([]), choose) if isinstance(p, Choice) and ".colours." in p.path]
    assert "blue" in colours[0] and "blue" not in colours[1]


def test_kinds_left_out_are_not_asked() -> None:
    pieces = run(program(["haze"]), lambda choice: choice.options[-1])
    paths = [piece.path for piece in pieces if isinstance(piece, Choice)]
    assert {path.split(".")[1] for path in paths if path.startswith("findings")} == {"haze"}


@pytest.mark.parametrize(
    "changed",
    [
        {"evidence": "it looks noisy"},  # not in the vocabulary
        {"evidence": "fine residual 1-2 levels", "present": None, "severity": None},  # could not say
        {"evidence": "fine residual 1-2 levels", "present": True, "severity": 9, "factors": {"sigma": 3}},  # incomplete
    ],
)
def test_what_it_cannot_write_is_an_error(changed: dict) -> None:
    good = random_diagnosis(0)
    finding = Finding(**({"present": False, "severity": 0} | changed))
    broken = Diagnosis.model_construct(scene=good.scene, findings={"noise": finding}, quality=good.quality, plan=[])
    with pytest.raises((ValueError, KeyError)):
        segments(broken)


def test_vocabulary_holds_every_kind_and_no_number() -> None:
    words = vocabulary()
    assert all(f'"{name}":{{"evidence":"' in words for name in reasoning_order())
    assert "42" not in words and "0.5" not in words and "-20" not in words and "," in words and "}" in words


def test_the_context_free_form_accepts_what_the_program_writes(tokenizer) -> None:
    xgrammar = pytest.importorskip("xgrammar", reason="xgrammar is not installed")
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
    compiler = xgrammar.GrammarCompiler(info, max_threads=1)

    def accepts(grammar, text: str) -> bool:
        matcher = xgrammar.GrammarMatcher(grammar)
        return matcher.accept_string(text) and matcher.accept_token(tokenizer.eos_token_id)

    everything = compiler.compile_grammar(ebnf())
    texts = [random_diagnosis(seed).to_json() for seed in range(40)]
    assert all(accepts(everything, text) for text in texts)
    assert not accepts(everything, texts[0].replace('"severity":', '"severity": ', 1))
    scene = Diagnosis.from_json(texts[0])
    for words, legal in ((None, True), (["sky"], True), (THINGS[:4], True), (THINGS[:5], False), (["lamp"], False)):
        scene.scene.objects = words and list(words)
        assert accepts(everything, scene.to_json()) == legal
    assert not accepts(everything, texts[0].replace('"plan":[', '"plan":["fog",'))
    found = next(diagnosis for diagnosis in map(random_diagnosis, range(40)) if diagnosis.plan).to_json()
    assert not accepts(everything, found[: found.index('"plan":[')] + '"plan":[]}'), (
        "the plan follows from the findings"
    )
    assert not accepts(compiler.compile_grammar(ebnf(["noise"])), texts[0])
    reported = Diagnosis.from_json(texts[1])
    reported.scene.summary, reported.scene.objects = 'A sign "open", été \\.', ["a sign", "a door"]
    assert "".join(piece.text for piece in segments(reported)) == reported.to_json()
    free = compiler.compile_grammar(ebnf(scene_text=True))
    assert accepts(free, reported.to_json()) and accepts(free, texts[1]) and not accepts(everything, reported.to_json())
    reported.scene.objects *= 7
    assert not accepts(free, reported.to_json()), "a list ends"
