"""Canaries with the real judge: what is truly worse than the input is not paid, and the clean picture is paid best."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rnr.degradation.photographs import centre_crop, to_tensor
from rnr.degradation.synthesize import degrade, truths
from rnr.evaluation.recipes import Recipe, build, noise
from rnr.rl.canaries import CANARIES, failures, over_corrected, pictures, score, scores, summary, table
from rnr.rl.judge import Judge
from rnr.rl.rewards import SeverityReward
from rnr.rl.tasks import Task

DAMAGES: dict[str, Recipe] = {  # white noise: coarse grain is newer than the built-in judge
    "astronaut": {"haze": 60},
    "coffee": {"noise": noise(40)},
    "chelsea": {"low_light": 60, "noise": noise(16)},
}


PAID = "task 0: gridded is worse"  # known, and measured below


def damaged_by(clean: torch.Tensor, requests: Recipe, number: int = 0) -> Task:
    mixture = build(requests, seed=5)
    degraded = degrade(clean, mixture)
    truth = truths(clean, degraded, mixture)[0]
    return Task(number, degraded[0], clean[0], truth, truth)


@pytest.fixture(scope="module")
def damaged(photographs) -> list[Task]:
    cleans = {name: to_tensor(centre_crop(photographs[name], 192)) for name in DAMAGES}
    return [damaged_by(cleans[name], requests, number) for number, (name, requests) in enumerate(DAMAGES.items())]


def test_no_canary_that_is_worse_is_paid_and_the_clean_picture_is_paid_best(reasoner, damaged, capsys):
    rows = score(SeverityReward(Judge(reasoner, 1)), damaged)
    table(rows)
    print(capsys.readouterr().out)
    assert [failure for failure in failures(rows) if not failure.startswith(PAID)] == []
    assert {row["canary"] for row in rows} == {*CANARIES, "over-corrected", "input", "another picture", "clean"}
    assert sum(row["worse"] for row in rows) > 10
    assert all(row["score"] == 0 for row in rows if row["canary"] == "input")


@pytest.mark.xfail(strict=True, reason="a grid over a hazy photograph hides the haze from the reasoner (docs/judge.md)")
def test_a_grid_over_haze_is_not_paid(reasoner, damaged):
    assert failures(score(SeverityReward(Judge(reasoner, 1)), damaged[:1])) == []


def test_failures_are_named():
    rows = [
        {"task": 0, "canary": "clean", "score": 0.5, "psnr": 99, "worse": False},
        {"task": 0, "canary": "blank", "score": 0.1, "psnr": 5, "worse": True},
        {"task": 0, "canary": "blurred", "score": 0.6, "psnr": 25, "worse": False},
    ]
    assert failures(rows) == [
        "task 0: blank is worse than the input and scores 0.10",
        "task 0: blurred scores no less than the clean picture",
    ]


def test_canaries_are_pictures(damaged):
    for picture in pictures(damaged[0], damaged[1]).values():
        assert picture.shape == damaged[0].clean.shape and picture.min() >= 0 and picture.max() <= 1
        assert torch.isfinite(picture).all()


def canary(task: int, name: str, score: float | None, worse: bool = True, damage: str = "haze") -> dict[str, Any]:
    return {"task": task, "damage": damage.split(), "canary": name, "score": score, "psnr": 9.0, "worse": worse}


def test_the_summary_counts_what_is_paid_and_what_has_no_score():
    rows = [
        canary(0, "clean", 0.5, worse=False), canary(0, "blank", 0.1), canary(0, "gridded", 0.0),
        canary(1, "clean", 0.2, worse=False, damage="haze rain"), canary(1, "blank", None, damage="haze rain"),
        canary(1, "gridded", 0.4, worse=False, damage="haze rain"),
    ]  # fmt: skip
    found = summary(rows)
    by_name = {row["canary"]: row for row in found["canaries"].rows}
    counts = ("images", "unscored", "worse", "worse and scored", "paid", "paid, %", "not below clean")
    assert [by_name["blank"][name] for name in counts] == [2, 1, 2, 1, 1, 100.0, 0]
    assert [by_name["gridded"][name] for name in counts] == [2, 0, 1, 1, 0, 0.0, 1], "0 is no pay"
    assert [by_name["all"][name] for name in counts] == [4, 1, 3, 2, 1, 50.0, 1], "without the clean image"
    by_damage = {row["damage"]: row for row in found["canaries_damage"].rows}
    assert by_damage["haze"]["images"] == 4 and by_damage["rain"]["images"] == 2 and by_damage["rain"]["paid"] == 0
    assert scores(rows).rows[3]["damage"] == "haze rain"


def test_over_corrected_haze_is_darker_than_the_scene(photographs):
    clean = to_tensor(centre_crop(photographs["astronaut"], 192))
    task = damaged_by(clean, {"haze": 40})
    overdone = over_corrected(task)
    assert overdone is not None and overdone.mean() < task.clean.mean() < task.degraded.mean()
    assert over_corrected(damaged_by(clean, {"snow": 40})) is None, "snow has no inverse of its own"
    assert "over-corrected" not in pictures(damaged_by(clean, {"snow": 40}), task)


def test_texture_that_is_made_up_is_grey_and_fine():
    added = CANARIES["textured"](torch.full((3, 64, 64), 0.5)) - 0.5
    assert torch.equal(added[0], added[1]) and added.std() == pytest.approx(0.08, rel=0.05)
    assert abs(added.mean()) < 0.01
