"""The judge climbed: the reward rises, measured quality does not, and the alarm says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rnr.rl.hack import climb
from rnr.rl.judge import Judge
from rnr.rl.record import Log
from rnr.rl.tasks import Tasks


@pytest.fixture(scope="module")
def half_restored(crops):
    """Damaged crops of a view's size without a diagnosis, and pictures between them and the clean ones."""
    made = Tasks(crops, 2, 128, seed=3, conditioned_on="true")
    tasks = [made[i] for i in range(2)]
    return tasks, [0.25 * task.degraded + 0.75 * task.clean for task in tasks]


@pytest.mark.slow  # ten steps of gradients through the reasoner
def test_the_alarm_sees_the_judge_climbed(reasoner, half_restored, tmp_path):
    tasks, pictures = half_restored
    found = climb(Judge(reasoner, 1), tasks, pictures, tmp_path, steps=10, rate=3.0)
    assert found is not None and "psnr" in found["fallen"] and found["changes"]["reward"] > 0
    first, _, last = (row["evaluation"] for row in Log(tmp_path, 99).rows())
    assert last["predicted"] < first["predicted"] and last["metrics"]["psnr"] < first["metrics"]["psnr"]
    assert set(first["scores"]) == {"severity", "gated"}
    assert all((tmp_path / name).stat().st_size > 500 for name in ("goodhart.png", "samples/step-00010.png"))


def test_only_pictures_of_a_views_size_are_climbed(reasoner, half_restored, tmp_path):
    tasks, _ = half_restored
    with pytest.raises(ValueError, match="128 px"):
        climb(Judge(reasoner, 1), tasks, [torch.zeros(3, 96, 96)] * 2, tmp_path, steps=1, rate=1.0)


def test_the_alarm_reads_the_paths_of_the_three_spaces():
    from rnr.rl.hack import alarms

    def path(space: str, fall: float) -> list[dict[str, Any]]:
        places: list[dict[str, Any]] = [{"space": space, "case": c, "step": s} for c in (0, 1) for s in range(4)]
        return [place | {"score": 50 + 2 * place["step"], "PSNR": 30 - fall * place["step"]} for place in places]

    found = alarms(path("pixels", 1.0) + path("codes", 0.0))
    assert found["codes"] is None and found["pixels"] is not None and found["pixels"]["fallen"] == ["damage", "psnr"]
