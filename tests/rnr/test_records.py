"""Records of a run as flat tables: fixed types, null for what was not asked, whole records that read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.errors import SetupError
from rnr.view.records import columns, export
from rnr.view.sources import sources_of
from tests.rnr.conftest import Run


def test_a_run_as_json_lines_and_parquet(batch: Run, tmp_path: Path) -> None:
    import pyarrow.parquet

    lines, count = export(batch.out, "jsonl", tmp_path / "r.jsonl")
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(rows) == count >= 5 and all(list(row) == list(columns()) for row in rows)
    path, _ = export(batch.out, "parquet", tmp_path / "r.parquet")
    table = pyarrow.parquet.read_table(path)
    assert table.to_pylist() == rows
    assert {name: str(kind) for name, kind in zip(table.schema.names, table.schema.types)}["noise_severity"] == "int64"
    noisy = next(row for row in rows if row["noise_present"])
    record = json.loads(noisy["record"])["before"]
    assert noisy["noise_expected"] == pytest.approx(DiagnosisRecord(**record).expected_severity("noise"))
    assert noisy["snow_present"] is False and noisy["snow_severity"] == 0
    assert noisy["noise_left"] is not None and noisy["plan"]
    for one in (lines, path):  # what was exported opens in the viewer
        (source,) = sources_of(one)
        assert len(list(source.items())) == count


def test_records_are_self_contained(batch: Run) -> None:
    data = json.loads(next(iter(sorted(batch.out.glob("*.diagnosis.json")))).read_text())
    record = DiagnosisRecord(**data["before"])
    belief = record.beliefs["noise"]
    assert belief.distribution is not None and sum(belief.distribution) == pytest.approx(1, abs=0.01)
    mean = sum(value * share for value, share in enumerate(belief.distribution, 1))
    assert mean == pytest.approx(belief.severity_if_present, abs=0.5)
    entry = next(entry for entry in record.trace if entry.field == "findings.noise.evidence")
    assert len(entry.alternatives) == len(entry.token_ids)
    assert record.prompt_text and len(record.picture_sha256) == 64 and "torch" in record.versions
    width, height = record.picture_size or (0, 0)
    assert record.views[0] == (0, 0, height, width) and len(record.views) == 3


def test_a_data_set_with_pictures(batch: Run, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the `train` extra is not installed")
    path, count = export(batch.out, "hf", tmp_path / "hf", batch.folder)
    held = datasets.load_from_disk(str(path))
    assert len(held) == count and held.features["noise_severity"].dtype == "int64"
    row = next(row for row in held if row["image"] is not None)
    assert row["image"].size == (row["width"], row["height"])


def test_a_log_that_inspect_ai_reads(batch: Run, tmp_path: Path) -> None:
    """With its own reader, where it is installed: it asks for older packages than those that are tested here."""
    log = pytest.importorskip("inspect_ai.log", reason="inspect_ai is not installed")
    path, count = export(batch.out, "inspect", tmp_path / "records.json", batch.folder)
    read = log.read_eval_log(str(path))
    assert read.status == "success" and read.eval.model == "rnr/built-in" and "torch" in read.eval.packages
    assert read.results.total_samples == len(read.samples) == count
    answered = next(each for each in read.samples if each.error is None)
    assert answered.output.completion == answered.metadata["text"] and answered.scores is None
    image, prompt = answered.input[0].content
    assert image.image.startswith("data:image/png;base64,")
    assert prompt.text == answered.metadata["record"]["before"]["prompt_text"]
    failed = [each for each in read.samples if each.error is not None]
    assert all(each.output.completion == "" and each.error.message == each.metadata["error"] for each in failed)


def test_what_an_inspect_log_holds(batch: Run, tmp_path: Path) -> None:
    path, count = export(batch.out, "inspect", tmp_path / "records.json")
    log = json.loads(path.read_text())
    ids = log["eval"]["dataset"]["sample_ids"]
    assert log["version"] == 2 and ids == [each["id"] for each in log["samples"]] and len(set(ids)) == count
    assert {"scores"} & {name for each in log["samples"] for name in each} == set()


def test_what_cannot_be_exported_is_said(batch: Run, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="--to is one of jsonl, parquet, hf, inspect, not csv"):
        export(batch.out, "csv", tmp_path / "r")
    (tmp_path / "there.jsonl").touch()
    with pytest.raises(SetupError, match="already exists"):
        export(batch.out, "jsonl", tmp_path / "there.jsonl")
