"""The data set as shards, and LoRA on a tiny random Qwen3-VL: deterministic, resumable, loadable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import prompts
from degradation.diagnosis import Diagnosis
from reasoner.export import export
from reasoner.reasoner import Reasoner, Settings
from reasoner.serving import export_for_vllm
from tests.reasoner.conftest import picture

pytest.importorskip("trl", reason="the `train` extra is not installed")

from reasoner.dataset import Build, build, write_shard  # noqa: E402
from reasoner.finetune import finetune  # noqa: E402

RECIPE = {
    "views": {"side": 128},
    "lora": {"r": 2},
    "training": {"max_steps": 2, "per_device_train_batch_size": 2, "logging_steps": 1, "save_steps": 1,
                 "learning_rate": 1e-2, "gradient_checkpointing": False},
}  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    for seed in range(2):
        Image.fromarray(picture(200, 240, seed)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def data(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Build(str(images), samples=10, size=128, shard=4), tmp_path_factory.mktemp("data"), workers=2)


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}


def test_any_number_of_workers_writes_the_same_bytes_and_a_cut_build_goes_on(data, images, tmp_path) -> None:
    wanted = Build(str(images), samples=10, size=128, shard=4)
    (tmp_path / "data").mkdir()
    write_shard(wanted, tmp_path, 1)
    stamp = (tmp_path / "data" / wanted.name(1)).stat().st_mtime_ns
    told: list[dict] = []
    build(wanted, tmp_path, 1, told.append)
    assert shards(tmp_path) == shards(data) and len(shards(data)) == 3
    assert (tmp_path / "data" / wanted.name(1)).stat().st_mtime_ns == stamp and len(told) == 2
    with pytest.raises(ValueError, match="other settings"):
        build(Build(str(images), samples=10, size=128, shard=4, seed=1), tmp_path)
    with pytest.raises(ValueError, match="no photographs"):
        build(Build(str(tmp_path / "data")), tmp_path / "x")


def test_datasets_reads_it(data) -> None:
    from datasets import load_dataset

    rows = load_dataset("parquet", data_files=str(data / "data" / "*.parquet"), split="train")
    assert len(rows) == 10 and rows[0]["image"].size == (128, 128)
    assert all(Diagnosis.from_json(text).to_json() == text for text in rows["diagnosis"])
    assert "data/train-*.parquet" in (data / "README.md").read_text()


def test_two_steps_of_lora_then_use_merge_and_resume(data, reasoner, tmp_path) -> None:
    base = export(reasoner.model, reasoner.processor, tmp_path / "base", prompts.load("diagnose_tuned"))
    told: list[dict] = []
    adapter = finetune(str(base), data, tmp_path / "run", RECIPE, False, told.append)
    assert [row["samples"] for row in told] == [2, 4] and all(np.isfinite(row["loss"]) for row in told)
    assert json.loads((adapter / "reasoner.json").read_text())["views"]["side"] == 128
    names = json.loads((adapter / "adapter_config.json").read_text())["target_modules"]
    assert "language_model" in names, "the vision tower stays as it is"
    settings = Settings(beliefs=True)
    tuned = Reasoner.from_pretrained(base, adapter=adapter).diagnose([picture()], settings)[0]
    plain = Reasoner.from_pretrained(base).diagnose([picture()], settings)[0]
    assert tuned.error is None and tuned.beliefs != plain.beliefs

    served = export_for_vllm(base, tmp_path / "served", adapter)
    assert json.loads((served / "processor_config.json").read_text())["processor_class"] == "Qwen3VLProcessor"
    weights = Reasoner.from_pretrained(served).diagnose([picture()], settings)[0].beliefs
    for kind, belief in tuned.beliefs.items():
        assert weights[kind].expected_severity == pytest.approx(
            belief.expected_severity, abs=0.5
        )  # stored in half precision

    longer = RECIPE | {"training": RECIPE["training"] | {"max_steps": 3}}  # type: ignore[operator]
    finetune(str(base), data, tmp_path / "run", longer, True, told.append)
    assert [row["samples"] for row in told] == [2, 4, 6]
    with pytest.raises(ValueError, match="without --resume"):
        finetune(str(base), data, tmp_path / "new", RECIPE, True, told.append)
    with pytest.raises(ValueError, match="rnr data build"):
        finetune(str(base), tmp_path, tmp_path / "new", RECIPE, False, told.append)
