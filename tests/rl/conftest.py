"""The real built-in models on small pictures; a judge that costs nothing; a recipe of two steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rnr.degradation.photographs import to_tensor
from rnr.reasoner import Reasoner
from rnr.restorer import RestorerNetwork
from rnr.rl.config import RestorerConfig
from rnr.rl.judge import Judge
from rnr.rl.tasks import Task, Tasks
from tests.networks import heedful


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def reasoner() -> Reasoner:
    return Reasoner.from_pretrained("built-in")


@pytest.fixture
def network() -> RestorerNetwork:
    return heedful()


@pytest.fixture(scope="session")
def crops(photographs) -> list[np.ndarray]:
    return [np.ascontiguousarray(p[:256, :256]) for p in photographs.values()]


@pytest.fixture(scope="session")
def tasks(crops) -> list[Task]:
    """Three small tasks, conditioned on the true diagnosis."""
    made = Tasks(crops, 3, 64, seed=3, conditioned_on="true")
    return [made[i] for i in range(3)]


@pytest.fixture(scope="session")
def folder(crops, tmp_path_factory) -> Path:
    """The photographs as files."""
    path = tmp_path_factory.mktemp("photographs")
    for i, crop in enumerate(crops):
        Image.fromarray(crop).save(path / f"{i}.png")
    return path


class CheapJudge(Judge):
    """Calls every kind as severe as the picture's luma varies from pixel to pixel: quick, and it sees differences."""

    def _look(self, picture_CHW):
        rough = float(picture_CHW.diff(dim=-1).abs().mean() * 300) + 5
        light = float(picture_CHW.mean() * 100)
        kinds = ("compression", "noise", "low_light", "haze", "rain", "blur")
        return [{kind: rough + light * (place + 1) / 10 for place, kind in enumerate(kinds)}] * self.view_count


@pytest.fixture
def judge(reasoner) -> CheapJudge:
    return CheapJudge(reasoner, 1)


@pytest.fixture
def config(folder, tmp_path) -> RestorerConfig:
    return RestorerConfig(
        images=folder, val=folder, out=tmp_path / "run", max_steps=2, group=3, prompts=2, size=64, tasks=3, val_tasks=2,
        conditioned_on="true", rank=2, eval_every=2, save_every=1, views=1,
    )  # fmt: skip


def picture(photograph: np.ndarray, side: int) -> torch.Tensor:
    """(3, side, side) from the middle of a photograph."""
    top, left = ((n - side) // 2 for n in photograph.shape[:2])
    return to_tensor(photograph[top : top + side, left : left + side])[0]
