"""The restoration benchmark from a folder of photographs to tables and plots, with models that need no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rnr.degradation.photographs import to_tensor
from rnr.evaluation import command, quality_tables
from rnr.evaluation.pairs import folder_pairs, levels_of, sweep_pairs, task_pairs
from rnr.evaluation.quality import Bench, scores
from rnr.evaluation.quality_run import QualityRun
from rnr.evaluation.recipes import task_named
from rnr.evaluation.tables import Row, read_csv

pytest.importorskip("matplotlib", reason="matplotlib belongs to the extra bench")


def run(
    out: Path, folder: Path, models, resume: bool = False, tasks: str = "noise 25,haze+noise,clean", limit=None
) -> QualityRun:
    quality = QualityRun(out, (1, 4), sweep=1, size=0, seed=0, limit=limit, resume=resume)
    quality.bench = Bench(*models)
    quality.take_photographs(folder, tasks)
    quality.settings |= command.identity(*models)
    quality.measure()
    return quality


def test_end_to_end(tmp_path: Path, folder: Path, believer, idle_restorer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rnr.evaluation.pairs.SWEEP", (40,))
    quality = run(tmp_path, folder, (believer, idle_restorer))
    tables = quality.tables()
    command.publish(tables, tmp_path, quality.settings, 0.0)
    rows = {str(row["task"]): row for row in read_csv(tmp_path / "quality.csv").rows}
    assert list(rows) == ["noise 25", "haze+noise"]
    noise = rows["noise 25"]
    assert noise["n"] == 2 and noise["predicted 1"] == pytest.approx(noise["input"]) == noise["true 4"]
    assert float(str(noise["best classical"])) > float(str(noise["input"])) + 2 and noise["which"] == "wavelet"
    clean = {row["diagnosis"]: row for row in tables["quality_clean"].rows if row["steps"] == 1}
    assert clean["true"]["untouched %"] == 100 and clean["predicted"]["untouched %"] == 0
    for name in ("quality.md", "quality_baselines.csv", "quality_steps.csv", "run.json"):
        assert (tmp_path / name).stat().st_size > 100
    for name in ("gain_by_severity.png", "steps.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_a_second_run_measures_nothing_twice(tmp_path: Path, folder: Path, believer, idle_restorer, monkeypatch):
    monkeypatch.setattr("rnr.evaluation.pairs.SWEEP", ())
    first = run(tmp_path, folder, (believer, idle_restorer), tasks="noise 25", limit=1).rows
    assert first
    monkeypatch.setattr(Bench, "rows", lambda *arguments: pytest.fail("measured again"))
    again = run(tmp_path, folder, (believer, idle_restorer), resume=True, tasks="noise 25", limit=1)
    assert again.rows == first


def test_scores_of_the_clean_and_of_the_damaged_picture(small: dict[str, np.ndarray]):
    clean = to_tensor(small["coffee"])
    damaged = (clean * 0.5 * 255).round() / 255
    perfect, idle = scores(clean, damaged, clean), scores(damaged, damaged, clean)
    assert perfect["damage"] == 0 and perfect["spectrum"] == 0 and perfect["ssim"] == pytest.approx(1)
    assert idle["damage"] == pytest.approx(1) and idle["structural"] == pytest.approx(1)
    assert scores(clean, clean, clean)["damage"] is None  # nothing was damaged: nothing can be left


def test_a_picture_that_could_not_be_diagnosed_stays_as_it_was(small, believer, idle_restorer):
    believer.record = lambda: type(believer)().record().model_copy(update={"diagnosis": None, "error": "out of words"})
    pair = next(task_pairs(small, [task_named("noise 25")], 0, 0))
    row = next(r for r in Bench(believer, idle_restorer).rows(pair) if r["method"] == "predicted")
    assert row["untouched"] and row["detail"] == "out of words" and row["damage"] == pytest.approx(1)


def test_the_same_seed_damages_alike(small: dict[str, np.ndarray]):
    first, second = (list(task_pairs(small, [task_named("rain")], 64, seed=5)) for _ in range(2))
    assert all(torch.equal(a.degraded, b.degraded) for a, b in zip(first, second))
    levels = levels_of(["noise", "haze"])
    assert {pair.kind for pair in sweep_pairs(small, 64, 0, levels)} == {"noise", "haze"}


def test_paired_folders_match_by_name(tmp_path: Path, small: dict[str, np.ndarray]):
    from PIL import Image

    for name, picture in small.items():
        (tmp_path / "clean").mkdir(exist_ok=True)
        (tmp_path / "bad" / "dark").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "clean" / f"{name}.png")
        Image.fromarray(picture // 2).save(tmp_path / "bad" / "dark" / f"{name}.bmp")
    pairs = list(folder_pairs(tmp_path / "clean", tmp_path / "bad", [("gamma",)]))
    assert [(pair.task, pair.picture) for pair in pairs] == [
        ("dark", "dark/astronaut.bmp"),
        ("dark", "dark/coffee.bmp"),
    ]
    assert pairs[0].truth() is None
    Image.fromarray(small["coffee"][:-1]).save(tmp_path / "bad" / "astronaut.png")
    with pytest.raises(ValueError, match="another size"):
        list(folder_pairs(tmp_path / "clean", tmp_path / "bad", []))


def test_the_share_of_the_gain_needs_a_gain():
    def row(method: str, level: float, steps: int | None = None) -> Row:
        measures = {"ssim": 0.5, "damage": 0.5, "structural": 0.5, "spectrum": 1.0, "seconds": 0.1}
        about: Row = {"task": "t", "picture": "p", "kind": None, "method": method, "detail": None, "steps": steps}
        return about | measures | {"psnr": level, "untouched": False}

    rows = [row("input", 20.0), row("predicted", 27.0, 1), row("true", 28.0, 1)]
    assert quality_tables.main_table(rows, {}).rows[0]["share"] == pytest.approx(87.5)
    rows[2] = row("true", 20.05, 1)
    assert quality_tables.main_table(rows, {}).rows[0]["share"] is None
