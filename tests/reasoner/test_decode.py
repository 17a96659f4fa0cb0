"""Skeleton decoding: always valid, counted passes, the same tokens as constrained generation, steerable."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnr import prompts
from rnr.degradation.diagnosis import Diagnosis
from rnr.reasoner.collate import Collator
from rnr.reasoner.data import make_rows
from rnr.reasoner.decode import Lexicon
from rnr.reasoner.ebnf import ebnf
from rnr.reasoner.grammar import segments
from rnr.reasoner.model import new_model, tiny_config
from rnr.reasoner.processor import build_processor
from rnr.reasoner.reasoner import Reasoner, Settings
from rnr.reasoner.tokenizer import build_tokenizer
from rnr.reasoner.views import VIEWS
from tests.reasoner.conftest import SMALL_TEXT, SMALL_VISION, picture, random_diagnosis

PLAIN = Settings(beliefs=False)


def checked(record) -> Diagnosis:
    assert record.error is None
    assert Diagnosis.from_json(record.text).to_json() == record.text
    values = {piece.path: (piece.start, piece.end) for piece in segments(record.diagnosis) if piece.path}
    assert values == {entry.field: (entry.start, entry.end) for entry in record.trace}
    return record.diagnosis


def test_random_weights_write_valid_diagnoses(reasoner) -> None:
    for seed in range(12):
        checked(reasoner.diagnose([picture(seed=seed)], Settings(temperature=3.0, seed=seed, beliefs=False))[0])


@pytest.mark.slow
def test_a_thousand_random_diagnoses_are_valid(reasoner) -> None:
    for seed in range(1000):
        checked(reasoner.diagnose([picture(128, 128)], Settings(temperature=5.0, seed=seed, beliefs=False))[0])


def test_fewer_passes_than_chosen_tokens(reasoner) -> None:
    record = reasoner.diagnose([picture()], PLAIN)[0]
    asked = sum(logprob != 0.0 for entry in record.trace for logprob in entry.logprobs)
    assert record.forward_passes <= 0.6 * asked
    with_beliefs = reasoner.diagnose([picture()])[0]
    assert with_beliefs.forward_passes <= record.forward_passes + 1, "what is believed is asked in the same passes"
    assert with_beliefs.text == record.text


def test_alternatives_are_the_likeliest_legal_tokens_that_were_not_chosen(reasoner) -> None:
    record = reasoner.diagnose([picture()], Settings(temperature=3.0, seed=1, beliefs=False))[0]
    tokenizer = reasoner.processor.tokenizer
    for entry in record.trace:
        assert len(entry.alternatives) == len(entry.token_ids)
        for token, logprob, others in zip(entry.token_ids, entry.logprobs, entry.alternatives):
            shares = [np.exp(value) for _, value in others]
            assert shares == sorted(shares, reverse=True) and len(others) <= 3
            assert np.exp(logprob) + sum(shares) <= 1 + 1e-5 and tokenizer.decode([token]) not in dict(others)
            if entry.field.endswith(".present") and logprob:  # two are legal
                assert sum(shares) == pytest.approx(1 - np.exp(logprob), abs=0.011)
    assert sum(bool(others) for entry in record.trace for others in entry.alternatives) > 10


def test_looking_ahead_changes_nothing(reasoner, monkeypatch) -> None:
    record = reasoner.diagnose([picture()])[0]
    monkeypatch.setattr("rnr.reasoner.decode.MOST_AHEAD", 0)
    reasoner.lexicon = Lexicon(reasoner.processor.tokenizer, reasoner.kinds)
    plain = reasoner.diagnose([picture()])[0]
    assert plain.forward_passes > record.forward_passes
    assert plain.text == record.text
    for ours, theirs in zip(record.trace, plain.trace):
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)


def test_the_cache_changes_nothing(reasoner) -> None:
    """Each log-probability against one uncached pass over the whole text."""
    record = reasoner.diagnose([picture()])[0]
    inputs, lexicon = reasoner.inputs(picture()), reasoner.lexicon
    answer = [token for piece in segments(record.diagnosis) for token in lexicon.ids(piece.text)]
    ids = torch.cat([inputs["input_ids"], torch.tensor([answer])], 1)
    types = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(answer)))
    with torch.no_grad():
        logits = reasoner.model(**{**inputs, "input_ids": ids, "mm_token_type_ids": types}, use_cache=False).logits[0]
    place, prompt = 0, inputs["input_ids"].shape[1]
    for piece in segments(record.diagnosis):
        if piece.path == "findings.blur.present":
            row = logits[prompt + place - 1]
            both = torch.log_softmax(row[[lexicon.ids(word)[0] for word in ("true", "false")]], 0)
            entry = next(entry for entry in record.trace if entry.field == piece.path)
            assert entry.logprobs[0] == pytest.approx(float(both[int(piece.text == "false")]), abs=1e-5)
        place += len(lexicon.ids(piece.text))


def test_the_same_picture_gives_the_same_bits_in_any_company(reasoner) -> None:
    alone = reasoner.diagnose([picture(seed=1)])[0]
    among = reasoner.diagnose([picture(300, 200), picture(seed=1), picture(64, 64)])[1]
    assert (alone.text, alone.trace, alone.beliefs) == (among.text, among.trace, among.beliefs)


def test_sampling_is_seeded(reasoner) -> None:
    hot = [reasoner.diagnose([picture()], Settings(2.0, seed, False))[0].text for seed in (1, 1, 2)]
    assert hot[0] == hot[1] != hot[2]
    with pytest.raises(ValueError, match="negative"):
        reasoner._write(picture(), Settings(-1.0), None)


def test_forced_values_stand_and_are_scored(reasoner) -> None:
    wrong = {"findings.noise.evidence": "fine residual 34-48 levels", "findings.noise.present": "true"}
    wrong["findings.noise.severity"] = "100"
    record = reasoner.diagnose([picture()], PLAIN, wrong)[0]
    finding = checked(record).findings["noise"]
    assert (finding.evidence, finding.severity) == (wrong["findings.noise.evidence"], 100)
    entry = next(entry for entry in record.trace if entry.field == "findings.noise.severity")
    assert entry.confidence < 0.2 and record.settings["forced"] == wrong


def test_forcing_nonsense_is_an_error_in_the_record(reasoner) -> None:
    assert "not legal" in reasoner.diagnose([picture()], PLAIN, {"findings.noise.severity": "101"} | YES)[0].error
    error = reasoner.diagnose([picture()], PLAIN, {"findings.fog.present": "true"})[0].error
    assert "no field 'findings.fog.present'; there are scene.medium" in error


YES = {"findings.noise.present": "true"}


def test_a_bad_picture_does_not_cost_the_others(reasoner) -> None:
    good, bad = reasoner.diagnose([picture(), np.zeros((0, 3, 3), np.uint8)], PLAIN)
    assert good.error is None and bad.diagnosis is None and "at least one pixel" in bad.error
    assert bad.expected_severity("noise") is None


@pytest.fixture(scope="module")
def taught(tokenizer, processor):
    """A small model that knows two pictures by heart."""
    torch.manual_seed(0)
    model = new_model(tiny_config(tokenizer, SMALL_TEXT, SMALL_VISION), seed=1).train()
    pictures = np.stack([picture(seed=0), 255 - picture(seed=1)])
    rows = make_rows(
        torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255,
        [random_diagnosis(3), random_diagnosis(4)],
        prompts.load("diagnose_tuned").text,
        looked=[True, True],
    )
    batch = Collator(processor)(rows)
    batch.pop("loss_weights")
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(80):
        loss = model(**batch, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    return Reasoner(model, processor, {"prompt": "diagnose_tuned", "views": VIEWS}, "taught"), pictures


def test_the_tokens_are_those_of_constrained_generation(taught) -> None:
    xgrammar = pytest.importorskip("xgrammar", reason="xgrammar is not installed")
    reasoner, pictures = taught
    tokenizer = reasoner.processor.tokenizer
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
    grammar = xgrammar.GrammarCompiler(info, max_threads=1).compile_grammar(ebnf())
    for one, seed in zip(pictures, (3, 4)):
        record = reasoner.diagnose([one], PLAIN)[0]
        assert record.text == random_diagnosis(seed).to_json()
        inputs = reasoner.inputs(one)
        processors = [xgrammar.contrib.hf.LogitsProcessor(grammar)]
        output = reasoner.model.generate(**inputs, max_new_tokens=400, do_sample=False, logits_processor=processors)
        generated = output[0, inputs["input_ids"].shape[1] :].tolist()
        written = [token for piece in segments(record.diagnosis) for token in reasoner.lexicon.ids(piece.text)]
        assert generated == [*written, tokenizer.eos_token_id]
        assert record.forward_passes < len(generated) / 2


def test_a_tokenizer_that_knows_no_kind_works_as_well() -> None:
    """As with a real checkpoint: values are several tokens, and choices branch inside words."""
    tokenizer = build_tokenizer(names=[], extra=["diagnose"])
    model = new_model(tiny_config(tokenizer, SMALL_TEXT, SMALL_VISION), seed=2)
    reasoner = Reasoner(
        model, build_processor(tokenizer), {"prompt": "diagnose_tuned", "views": {"side": 128}}, "bytes"
    )
    record = reasoner.diagnose([picture()], Settings(temperature=3.0, seed=3))[0]
    checked(record)
    assert max(len(entry.token_ids) for entry in record.trace) > 10
    assert set(record.beliefs) == set(reasoner.kinds)
    assert all(
        0 < belief.probability < 1 and 1 < belief.severity_if_present < 100 for belief in record.beliefs.values()
    )
