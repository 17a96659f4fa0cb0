"""The stream, the loss weights, and a training that goes on after a break as if there had been none."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from rnr.degradation.diagnosis import Diagnosis, reasoning_order
from rnr.degradation.kind import kinds
from rnr.degradation.photographs import read_objects, weighted
from rnr.degradation.synthesize import degrade, prescribe, traces
from rnr.reasoner.callbacks import hours_of
from rnr.reasoner.collate import IGNORED, SKELETON, Collator
from rnr.reasoner.data import (
    COUNTERFACTUAL,
    EASY,
    UNTAUGHT,
    apart_batch,
    counterfactual_batch,
    damaged_batch,
    held_out,
    make_rows,
    rows,
    stage_at,
    traces_of_tokens,
)
from rnr.reasoner.model import new_model, tiny_config
from rnr.reasoner.probe import NAME
from rnr.reasoner.processor import build_processor
from rnr.reasoner.settings import ReasonerRun
from rnr.reasoner.tokenizer import build_tokenizer
from rnr.reasoner.validate import agreement, f1, summary
from rnr.reasoner.views import views_and_maps
from tests.reasoner.conftest import SMALL_TEXT, SMALL_VISION, picture, random_diagnosis

trl = pytest.importorskip("trl", reason="the `train` extra is not installed")
PHOTOGRAPHS = [picture(330, 330, seed) for seed in range(3)]


def test_the_stream_goes_on_anywhere() -> None:
    def stream(start: int):
        return rows(PHOTOGRAPHS, "diagnose", 0, 1000, start, batch=2, block=2)

    whole = list(itertools.islice(stream(0), 16))
    for start in (2, 4, 6, 10):
        later = list(itertools.islice(stream(start), 16 - start))
        assert all(a["completion"] == b["completion"] for a, b in zip(later, whole[start:]))
        assert all(np.array_equal(a["images"], b["images"]) for a, b in zip(later, whole[start:]))
    assert sorted(r["completion"] for r in whole[:4]) == sorted(r["completion"] for r in whole[4:8])


def test_traces_say_where_each_kind_is() -> None:
    clean = torch.full((2, 3, 160, 160), 0.4)
    clean[:, :, :, :80] = 0.5
    mixture = prescribe({"rain": 60, "noise": 40}, seed=3, batch=2)
    for step in mixture.steps:
        step.mask_B = torch.tensor([True, False])
    degraded, traced = traces(clean, mixture, reasoning_order())
    assert torch.equal(degraded, degrade(clean, mixture))
    by_kind = dict(zip(reasoning_order(), traced[0]))
    assert {kind for kind, trace in by_kind.items() if trace.any()} == {"rain", "noise"} and not traced[1].any()
    tokens = traces_of_tokens(traced, views_and_maps(degraded, traced)[1])
    assert tokens.shape == (2, 4, 16, len(reasoning_order()))
    whole = tokens[0, 0].square().mean(0)[reasoning_order().index("rain")]
    assert float(whole) == pytest.approx(float(by_kind["rain"].mean()), rel=1e-4)


def test_rows_are_valid_and_some_are_clean() -> None:
    made = held_out(PHOTOGRAPHS, "diagnose", 64)
    diagnoses = [Diagnosis.from_json(row["completion"]) for row in made]
    assert all(row["images"].shape == (7, 128, 128, 3) for row in made)
    assert any(not d.present for d in diagnoses) and any(len(d.present) >= 2 for d in diagnoses)


def test_the_curriculum_begins_with_single_kinds_and_is_mostly_mixtures() -> None:
    generator = torch.Generator().manual_seed(0)
    assert stage_at(EASY / 2, generator) == "single"
    late = [stage_at(0.5, generator) for _ in range(200)]
    assert late.count("single") < 70 and "high_order" in late
    _, diagnoses, *_ = damaged_batch(PHOTOGRAPHS, 0, 0, 0.0, 8)
    assert all(len(d.present) <= 1 for d in diagnoses)


def test_only_the_answer_is_learned_and_values_weigh_more(processor) -> None:
    text = random_diagnosis(1).to_json()
    row = {"images": np.zeros((3, 128, 128, 3), np.uint8), "prompt": "diagnose", "completion": text, "looked": True}
    batch = Collator(processor)([row])
    labels, weights = batch["labels"][0], batch["loss_weights"][0]
    answer = labels != IGNORED
    assert processor.tokenizer.decode(labels[answer]) == text + "<|im_end|>"
    assert (weights[answer] >= SKELETON).all() and (weights[~answer] == 0).all()
    assert set(weights.tolist()) >= {0.0, 1.0, 2.0}


def test_evidence_is_shown_misread_and_learned_true(processor) -> None:
    text = random_diagnosis(1).to_json()
    row = {"images": np.zeros((3, 128, 128, 3), np.uint8), "prompt": "diagnose", "completion": text}
    plain, doubting = Collator(processor)([row]), Collator(processor, doubt=1.0)([row])
    assert torch.equal(plain["labels"], doubting["labels"])
    wrong = (plain["input_ids"] != doubting["input_ids"]).nonzero()[:, 1]
    evidence = {processor.tokenizer.encode(text)[0] for kind in kinds().values() for text in kind.measurement.texts}
    assert 3 <= len(wrong) <= len(kinds())
    assert all(int(plain["input_ids"][0, place]) in evidence for place in wrong)


def test_views_are_hidden_but_the_last(processor) -> None:
    views = np.full((3, 128, 128, 3), 200, np.uint8)
    rows = [{"images": views, "prompt": "diagnose", "completion": random_diagnosis(n).to_json()} for n in range(64)]
    shown = Collator(processor, hidden=0.3)(rows)["pixel_values"].view(64, 3, -1)
    grey, seen = (round(value / 127.5 - 1, 5) for value in (128, 200))
    first = shown[:, :2].mean((1, 2))
    assert 8 <= int((first - grey).abs().lt(1e-4).sum()) <= 32
    assert all(min(abs(value - grey), abs(value - seen)) < 1e-4 for value in first.tolist())
    assert torch.allclose(shown[:, 2], torch.full_like(shown[:, 2], seen), atol=1e-4) and views.min() == 200


def test_numbers_are_learned_with_their_neighbours(processor) -> None:
    text = random_diagnosis(1).to_json()
    row = {"images": np.zeros((3, 128, 128, 3), np.uint8), "prompt": "diagnose", "completion": text}
    batch = Collator(processor, spread=0.025)([row])
    assert len(batch["soft_places"]) > 0
    shares: dict[int, dict[str, float]] = {}
    for (_, at, token), share in zip(batch["soft_places"].tolist(), batch["soft_shares"].tolist()):
        shares.setdefault(at, {})[processor.tokenizer.decode([token])] = share
    for at, shown in shares.items():
        true = processor.tokenizer.decode([int(batch["labels"][0, at])])
        assert sum(shown.values()) == pytest.approx(1, abs=1e-5)
        assert true in sorted(shown, key=shown.__getitem__)[-2:], "only one ten may be nearer than this one's middle"
    severity = [d["severity"] for d in json.loads(text)["findings"].values() if d["present"]]
    assert len(shares) >= 2 * len([s for s in severity if s > 9])


def test_the_spread_of_a_severity_by_hand(processor) -> None:
    collator = Collator(processor, spread=0.025)
    options = tuple(str(n) for n in range(1, 101))
    first, second = collator._soft(options, "58")
    weight = {n: np.exp(-(((n - 58) / 2.5) ** 2) / 2) for n in range(48, 69)}
    digit = {n: processor.tokenizer.encode(str(n), add_special_tokens=False)[0] for n in range(10)}
    assert first[digit[5]] == pytest.approx(sum(w for n, w in weight.items() if 50 <= n < 60) / sum(weight.values()))
    assert second[digit[8]] == pytest.approx(1 / sum(w for n, w in weight.items() if 50 <= n < 60))


def run_of(folder, data, *more: str) -> ReasonerRun:
    common = ["--samples", "10", "--batch", "2", "--log-every", "1", "--warmup", "2", "--save-seconds", "0"]
    return ReasonerRun.parse(["--data", str(data), "-o", str(folder), *common, *more], output="-o")


def test_a_broken_training_ends_like_an_unbroken_one(tmp_path) -> None:
    from transformers import TrainerCallback

    from rnr.reasoner import train

    class Break(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 3

    data = tmp_path / "photographs"
    data.mkdir()
    for i, photograph in enumerate(PHOTOGRAPHS):
        Image.fromarray(photograph).save(data / f"{i}.png")
    whole = train.train(run_of(tmp_path / "whole", data))
    (tmp_path / "broken").mkdir()
    trainer, _ = train.trainer_of(run_of(tmp_path / "broken", data), None)
    trainer.add_callback(Break())
    trainer.train()
    (tmp_path / "broken" / "checkpoint-9").mkdir()  # cut off while it was written: no `complete` in it
    broken = train.train(run_of(tmp_path / "broken", data, "--resume"))
    assert (broken / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not [name for name in load_file(str(whole / "model.safetensors")) if NAME in name], "the probe stays behind"
    records = [json.loads(line) for line in (tmp_path / "broken" / "metrics.jsonl").read_text().splitlines()]
    assert [record["samples"] for record in records if "loss" in record] == [2, 4, 6, 8, 10]


def test_weights_of_fewer_kinds_grow_when_a_training_starts_from_them(tmp_path) -> None:
    from rnr.reasoner import train
    from rnr.reasoner.reasoner import Reasoner

    (tmp_path / "photographs").mkdir()
    Image.fromarray(PHOTOGRAPHS[0]).save(tmp_path / "photographs" / "0.png")
    words = build_tokenizer(reasoning_order()[:-1])
    model, older = new_model(tiny_config(words, SMALL_TEXT, SMALL_VISION), seed=1), tmp_path / "older"
    model.save_pretrained(older)
    build_processor(words).save_pretrained(older)
    asked = run_of(tmp_path / "run", tmp_path / "photographs", "--init", str(older))
    reasoner = Reasoner.from_pretrained(str(train.train(asked)))
    assert reasoner.kinds == reasoning_order()
    record = reasoner.diagnose([PHOTOGRAPHS[0]])[0]
    assert record.diagnosis is not None and list(record.diagnosis.findings) == reasoning_order()


def test_scores() -> None:
    assert f1([("true", "true"), ("true", "false"), ("false", "false"), ("false", "true")]) == 0.5
    assert agreement([(1, 2), (2, 3), (3, 4)]) == pytest.approx({"r": 1.0, "mae": 1.0})
    pairs = {"findings.noise.present": [("true", "true")], "findings.noise.evidence": [("a", "a"), ("a", "b")]}
    assert summary(pairs) == {"noise": {"f1": 1.0, "evidence": 0.5}}


def test_the_hours_of_a_training(tmp_path) -> None:
    rows = [{"samples": 36_000, "samples_per_s": 10.0}, {"samples": 36_000, "validation": {}}]
    rows += [{"samples": 108_000, "samples_per_s": 20.0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert hours_of(tmp_path) == 2
    assert hours_of(tmp_path / "none") == 0


def test_the_stream_holds_undamaged_graphics_and_photographs():
    photographs = [np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)]
    diagnoses = [d for n in range(6) for d in damaged_batch(photographs, 3, n, 0.9, 16)[1]]
    graphics = [d for d in diagnoses if d.scene.medium == "graphic"]
    assert 4 <= len(graphics) <= 28 and all(d.scene.medium for d in diagnoses)
    assert sum(not d.plan for d in graphics) >= 0.6 * len(graphics)
    assert 3 <= sum(not d.plan for d in diagnoses if d not in graphics) <= 40


def test_objects_are_learned_from_nearly_whole_photographs_alone(tokenizer, processor, tmp_path):
    (tmp_path / "seen.csv").write_text("file,objects\na.jpg,person sky\nb.jpg,\n")
    pixels = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    named = {name: pixels for name in ("a.jpg", "b.jpg", "c.jpg")}
    photographs = weighted(named, tmp_path, read_objects(tmp_path / "seen.csv"))
    assert photographs.objects == [["person", "sky"], [], None]
    tokens = [tokenizer.encode(text, add_special_tokens=False) for text in ("null", '["person"')]
    found = set()
    for number in range(6):
        pictures, diagnoses, own, looked, _ = damaged_batch(photographs, 3, number, 0.9, 16)
        for row, diagnosis in zip(make_rows(pictures, diagnoses, "diagnose", own, looked), diagnoses):
            ids, _, weights, _ = Collator(processor).encode(row, diagnosis)
            (token,) = tokens[diagnosis.scene.objects is not None]
            found.add((row["looked"], diagnosis.scene.objects is not None, weights[ids.index(token)] > 0))
            assert min(pictures.shape[2:]) >= 256 or not row["looked"]
    # known to show something, known to show nothing of the list, not known
    assert found == {(True, True, True), (True, False, True), (False, False, False)}


def test_the_text_of_a_counterfactual_is_that_of_other_severities_and_fits_the_pixels():
    compared = 0
    for number in range(4):
        pictures, diagnoses, own, *_ = counterfactual_batch(PHOTOGRAPHS, 5, number, 0.9, 8)
        assert own is not None
        again, truths, *_ = damaged_batch(PHOTOGRAPHS, 5, number, 0.9, 8)
        assert torch.equal(pictures, again), "the pixels are those of the stream"
        for other, truth, row in zip(diagnoses, truths, own.tolist()):
            assert other.present == truth.present
            for name, severity in zip(reasoning_order(), row):
                said, true = (d.findings[name].severity or 0 for d in (other, truth))
                assert true == pytest.approx(100 * severity, abs=0.51)
                assert abs(said - true) <= (1 if name in UNTAUGHT else 60)
                compared += name not in UNTAUGHT and abs(said - true) >= 7
    assert compared >= 10


@pytest.mark.parametrize(("number", "pair"), [(0, {"snow", "rain"}), (1, {"low_resolution", "blur"})])
def test_kinds_that_are_taken_for_each_other_are_shown_alone(number, pair):
    pictures, diagnoses, own, *_ = apart_batch(PHOTOGRAPHS, 5, number, 0.9, 32)
    assert own is None and len(pictures) == len(diagnoses) == 32
    shown = [diagnosis.present for diagnosis in diagnoses]
    assert all(len(present) <= 1 for present in shown)
    assert {name for present in shown for name in present} == pair
    assert all(set(diagnosis.findings) == set(kinds()) for diagnosis in diagnoses), "every kind is asked"


def test_a_row_of_another_pictures_text_shows_its_evidence_and_does_not_learn_it(processor):
    text = random_diagnosis(1).to_json()
    row = {"images": np.zeros((3, 128, 128, 3), np.uint8), "prompt": "diagnose", "completion": text}
    own = [0.25] * len(reasoning_order())
    plain = Collator(processor, severities=True)([row])
    other = Collator(processor, doubt=1.0, severities=True)([row | {"own": own}])
    assert torch.equal(other["input_ids"], plain["input_ids"]), "shown as it is, not misread"
    assert other["severities"].tolist() == [own] and plain["severities"].tolist() != [own]
    left_out = (plain["loss_weights"] > 0) & (other["loss_weights"] == 0)
    assert int(left_out.sum()) >= len(reasoning_order()) and not (left_out & (other["labels"] != IGNORED)).any()


def test_false_evidence_is_shown_of_absent_kinds_only(processor, monkeypatch):
    monkeypatch.setattr("rnr.reasoner.collate.FALSE", 1.0)
    text = random_diagnosis(2).to_json()
    present = Diagnosis.from_json(text).present
    texts = [
        {processor.tokenizer.encode(word)[0] for word in kind.measurement.texts}
        for name, kind in kinds().items() if name in present
    ]  # fmt: skip
    row = {"images": np.zeros((3, 128, 128, 3), np.uint8), "prompt": "diagnose", "completion": text}
    plain, false = Collator(processor)([row]), Collator(processor, doubt=1e-9)([row])
    wrong = (plain["input_ids"] != false["input_ids"]).nonzero()[:, 1].tolist()
    assert wrong and torch.equal(plain["labels"], false["labels"])
    assert not any(int(plain["input_ids"][0, place]) in words for place in wrong for words in texts)


def test_the_stream_holds_counterfactuals():
    rows_ = list(itertools.islice(rows(PHOTOGRAPHS, "diagnose", 0, 1000, batch=2, block=16, echo=1), 64))
    shares = sum(row["own"] is not None for row in rows_) / len(rows_)
    assert 0 < shares < 3 * COUNTERFACTUAL
