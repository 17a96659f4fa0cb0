"""The diagnosis benchmark: hand-made cases, the stream of samples, confusion, and the grammar of the other decoder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord, Finding, reasoning_order
from rnr.degradation.kind import PHYSICS, kind_named, kinds
from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import prescribe
from rnr.evaluation import diagnosis_tables as tables
from rnr.evaluation.diagnosis_cases import Case, cases_of, collect, is_valid
from rnr.evaluation.predictions import diagnosed, write_predictions
from rnr.evaluation.samples import Batch, batches
from tests.evaluation.conftest import Believer


def case(said: dict[str, int], true: dict[str, float], factors: dict | None = None) -> Case:
    """What a believer says of a picture with these true severities; factors are those it writes of noise."""
    record = Believer(said).record()
    truth = Diagnosis(
        findings={kind: Finding(present=bool(true.get(kind)), severity=round(true.get(kind, 0))) for kind in said}
    )
    if factors and record.diagnosis:
        record.diagnosis.findings["noise"].factors.update(factors)
    severity = {kind: true.get(kind, 0.0) for kind in reasoning_order()}
    return Case(record, truth, severity, {"noise": {"sigma": 20.0, "type": 0.0, "colour": 0.0}})


def test_findings_by_hand():
    """Noise: found at 50 (said 40), missed at 30, missed weak at 10, invented once, rightly absent once."""
    cases = [
        case({"noise": 40}, {"noise": 50}),
        case({"noise": 0}, {"noise": 30}),
        case({"noise": 0}, {"noise": 10}),
        case({"noise": 40}, {}),
        case({"noise": 0}, {}),
    ]
    row = next(row for row in tables.findings_table(cases).rows if row["kind"] == "noise")
    assert (row["n"], row["precision"], row["recall"], row["F1"]) == (3, 0.5, 0.5, 0.5)
    assert row["weak recall"] == 0
    assert row["MAE greedy"] == pytest.approx((10 + 30 + 10) / 3)
    assert row["MAE"] == pytest.approx((10 + 25 + 5) / 3)  # it believes in 5 where it says absent
    assert row["80%"] == pytest.approx(2 / 3)  # 30 to 50 holds 50 and 30
    assert row["ECE"] == pytest.approx((2 * 0.4 + 3 * abs(0.1 - 2 / 3)) / 5)


def test_kinds_that_are_alike_count_as_one():
    """Snow taken for rain once, rain found once, both there and snow alone found once, a false alarm."""
    cases = [
        case({"snow": 0, "rain": 40}, {"snow": 50}),
        case({"snow": 0, "rain": 40}, {"rain": 50}),
        case({"snow": 40, "rain": 0}, {"snow": 50, "rain": 50}),
        case({"snow": 0, "rain": 40}, {}),
    ]
    row = next(row for row in tables.either_table(cases).rows if row["kinds"] == "snow, rain")
    assert row["n"] == 3
    assert row["F1 of the first"] == pytest.approx(2 / 3) and row["F1 of the second"] == pytest.approx(2 / 5)
    assert row["F1 either"] == pytest.approx(6 / 7) and row["for the other %"] == 50


def test_factor_errors_are_medians_where_the_kind_was_found():
    cases = [case({"noise": 40}, {"noise": 50}, {"sigma": sigma, "type": "gaussian"}) for sigma in (22, 30, 25)]
    cases.append(case({"noise": 0}, {"noise": 50}))
    rows = {row["factor"]: row for row in tables.factors_table(cases).rows}
    assert rows["sigma"]["error"] == 5 and rows["sigma"]["relative %"] == 25 and rows["sigma"]["n"] == 3
    assert rows["type"]["right %"] == 100


def test_angles_begin_again():
    errors = tables._factor_errors("blur", kind_named("blur").factor("angle"), [(178.0, 2.0), (10.0, 20.0)])
    assert errors["error"] == pytest.approx((4 + 10) / 2) and errors["relative %"] is None


def test_only_canonical_text_is_valid(believer: Believer):
    record = believer.record()
    assert is_valid(record)
    assert not is_valid(record.model_copy(update={"text": record.text.replace(",", ", ", 1)}))
    assert not is_valid(DiagnosisRecord(diagnosis=None, error="no"))


def test_a_truth_teller_is_perfect(photographs: dict[str, np.ndarray]):
    class Oracle(Believer):
        kinds = list(kinds())

        def __init__(self, batch: Batch) -> None:
            self.batch = batch

        def diagnose(self, images: Iterable[Any]) -> list[DiagnosisRecord]:
            return [DiagnosisRecord(diagnosis=d, text=d.to_json()) for d in self.batch.truths()]

    held = list(batches(list(photographs.values()), 24, seed=3))
    cases = [c for batch in held for c in collect(Oracle(batch), [batch])]
    summary = {row["figure"]: row["value"] for row in tables.summary_table(cases).rows}
    assert summary["valid outputs, %"] == 100 and summary["presence macro-F1, severities >= 20"] == 1
    assert all(row["right %"] == 100 for row in tables.words_table(cases).rows)
    for row in tables.factors_table(cases).rows:
        step = kind_named(str(row["kind"])).factor(str(row["factor"])).step
        assert row.get("right %") == 100 or float(str(row["error"])) <= step
    assert np.diag(tables.alarms_matrix(cases)).tolist() == [100] * len(kinds())


def test_samples_depend_on_the_seed_alone(photographs: dict[str, np.ndarray]):
    pictures = list(photographs.values())
    first, again, other = (next(batches(pictures, 8, seed)) for seed in (1, 1, 2))
    assert torch.equal(first.degraded_BCHW, again.degraded_BCHW)
    assert first.degraded_BCHW.shape != other.degraded_BCHW.shape or not torch.equal(
        first.degraded_BCHW, other.degraded_BCHW
    )
    assert 160 <= first.clean_BCHW.shape[-1] <= 320


def test_small_photographs_give_small_regions(small: dict[str, np.ndarray]):
    batch = next(batches(list(small.values()), 4, 0))
    assert batch.clean_BCHW.shape[-1] == 96
    assert batch.pictures()[0].dtype == np.uint8


def test_confusion_is_what_the_restorer_reads(tmp_path: Path, photographs: dict[str, np.ndarray], believer: Believer):
    from rnr.restorer.condition import Layout
    from rnr.restorer.confusion import Confusion
    from rnr.restorer.diagnosed import Diagnosed

    class Asked(Believer):
        """Remembers the pictures it was asked about."""

        def __init__(self) -> None:
            super().__init__(believer.strength)
            self.pictures: list[np.ndarray] = []

        def diagnose(self, images: Iterable[Any]) -> list[DiagnosisRecord]:
            self.pictures += images
            return super().diagnose(images)

    pictures, asked, path = list(photographs.values()), Asked(), tmp_path / "confusion.json"
    batches_ = diagnosed(asked, pictures, 22, seed=5)
    about = {"reasoner": "believer", "seed": 5, "photographs": len(pictures), "kinds": Asked.kinds, "physics": PHYSICS}
    write_predictions(batches_, path, about)
    read = Confusion.read(path)
    assert set(read.rows) == set(reasoning_order()) and read.rows["noise"].shape == (24, 4)
    assert json.loads(path.read_text())["about"]["reasoner"] == "believer"
    true = read.rows["noise"][:, 0]
    assert (true == 0).any() and (true > 20).any()
    assert read.rows["noise"][0, 1:].tolist() == pytest.approx([0.9, 40, 3])

    old = tmp_path / "old.json"
    old.write_text(path.read_text().replace(f'"physics": {PHYSICS}', '"physics": 1'))
    with pytest.raises(ValueError, match="other forward models"):
        Diagnosed.read(old)
    reported = Diagnosed.read(path)
    pairs = reported.pairs(4, pictures, Layout.of(kinds()), "cpu")
    shown = (pairs.degraded * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(shown, np.stack(asked.pictures[16:20])), "the very pictures that were diagnosed"
    assert pairs.condition.findings["noise"][:, :2].numpy() == pytest.approx(np.tile([0.9, 0.4], (4, 1)))
    with pytest.raises(ValueError, match="photographs"):
        reported.pairs(0, pictures[1:], Layout.of(kinds()), "cpu")


def test_a_confusion_without_diagnoses_is_refused(tmp_path: Path):
    from rnr.restorer.diagnosed import Diagnosed

    (tmp_path / "old.json").write_text('{"about": {}, "rows": {}}')
    with pytest.raises(ValueError, match="old.json: no diagnoses"):
        Diagnosed.read(tmp_path / "old.json")


def test_confusion_of_nobody_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="no beliefs"):
        write_predictions([], tmp_path / "confusion.json", {})


def test_cases_hold_the_exact_truth(small: dict[str, np.ndarray], believer: Believer):
    clean = to_tensor(small["coffee"])
    mixture = prescribe({"noise": 40}, 0)
    only = cases_of(Batch(clean, clean, mixture), believer.diagnose([small["coffee"]]))[0]
    assert only.severity["noise"] == pytest.approx(40, abs=0.01) and only.count == 1
    assert only.said_present("noise") and only.said_severity("haze") == 0
