"""LoRA training of the edit model: it learns, resumes exactly, and the adapter loads where it fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.restorer.edit_train import EditRun, samples, train
from rnr.restorer.qwen_edit import LORA_FILE, QwenEditRestorer
from tests.restorer.tiny_qwen import tiny_pipeline

pytest.importorskip("peft", reason="the `train` extra is not installed")
SMALL = {"batch": 1, "rank": 2, "size": 64, "rate": 1e-2, "save_every": 2}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, photographs) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("clean")
    Image.fromarray(photographs["coffee"]).save(folder / "coffee.png")
    return folder


def run(images: Path, out: Path, steps: int, resume: bool = False) -> tuple[Path, list[float]]:
    rows: list[dict] = []
    restorer = QwenEditRestorer(tiny_pipeline(), area=64 * 64)
    folder = train(restorer, images, out, EditRun(max_steps=steps, **SMALL), resume, rows.append)  # type: ignore[arg-type]
    return folder, [row["loss"] for row in rows]


def test_a_broken_training_ends_like_an_unbroken_one_and_its_adapter_loads(images: Path, tmp_path: Path) -> None:
    whole, losses = run(images, tmp_path / "whole", 4)
    run(images, tmp_path / "broken", 2)
    broken, later = run(images, tmp_path / "broken", 4, resume=True)
    assert later == pytest.approx(losses[2:], rel=1e-4)
    assert (whole / LORA_FILE).stat().st_size == (broken / LORA_FILE).stat().st_size

    tiny_pipeline().save_pretrained(tmp_path / "base")
    noisy = Diagnosis(findings={"noise": Finding(present=True, severity=40)})
    picture = np.full((64, 64, 3), 0.5, np.float32)
    options = {"area": 64 * 64, "num_inference_steps": 2}
    plain = QwenEditRestorer.from_pretrained(tmp_path / "base", **options).restore(picture, noisy)  # type: ignore[arg-type]
    tuned = QwenEditRestorer.from_pretrained(tmp_path / "base", lora=whole, **options).restore(picture, noisy)  # type: ignore[arg-type]
    assert np.abs(plain.pixels_HWC3 - tuned.pixels_HWC3).max() > 1e-4
    assert tuned.settings["lora"] == str(whole)
    tiny_pipeline(heads=3).save_pretrained(tmp_path / "other")
    with pytest.raises(OSError, match="trained on this model"):
        QwenEditRestorer.from_pretrained(tmp_path / "other", lora=whole)
    with pytest.raises(OSError, match=LORA_FILE):
        QwenEditRestorer.from_pretrained(tmp_path / "base", lora=tmp_path)


def test_two_processes_see_what_one_sees(photographs) -> None:
    settings = EditRun(batch=4, size=64)
    clean = [photographs["coffee"]]
    alone = dict(samples(clean, settings, 3, 0, 1))
    shared = dict(s for rank in range(2) for s in samples(clean, settings, 3, rank, 2))
    assert sorted(alone) == sorted(shared) == [12, 13, 14, 15]
    assert all(np.array_equal(alone[n][1], shared[n][1]) and alone[n][2] == shared[n][2] for n in alone)
    with pytest.raises(ValueError, match="3 processes"):
        next(samples(clean, settings, 0, 0, 3))
