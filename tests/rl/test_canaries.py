"""Canaries with the real judge: what is truly worse than the input is not paid, and the clean picture is paid best."""

from __future__ import annotations

import pytest
import torch

from rnr.degradation.photographs import centre_crop, to_tensor
from rnr.degradation.synthesize import degrade, truths
from rnr.evaluation.recipes import Recipe, build, noise
from rnr.rl.canaries import CANARIES, failures, pictures, score, table
from rnr.rl.judge import Judge
from rnr.rl.rewards import SeverityReward
from rnr.rl.tasks import Task

DAMAGES: dict[str, Recipe] = {  # white noise: coarse grain is newer than the built-in judge
    "astronaut": {"haze": 60},
    "coffee": {"noise": noise(40)},
    "chelsea": {"low_light": 60, "noise": noise(16)},
}


PAID = "task 0: gridded is worse"  # known, and measured below


@pytest.fixture(scope="module")
def damaged(photographs) -> list[Task]:
    made = []
    for number, (name, requests) in enumerate(DAMAGES.items()):
        clean = to_tensor(centre_crop(photographs[name], 192))
        mixture = build(requests, seed=5)
        degraded = degrade(clean, mixture)
        truth = truths(clean, degraded, mixture)[0]
        made.append(Task(number, degraded[0], clean[0], truth, truth))
    return made


def test_no_canary_that_is_worse_is_paid_and_the_clean_picture_is_paid_best(reasoner, damaged, capsys):
    rows = score(SeverityReward(Judge(reasoner, 1)), damaged)
    table(rows)
    print(capsys.readouterr().out)
    assert [failure for failure in failures(rows) if not failure.startswith(PAID)] == []
    assert {row["canary"] for row in rows} == {*CANARIES, "input", "another picture", "clean"}
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
