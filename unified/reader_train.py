"""Train the reader of instructions, alone: the first minutes of stage 2 (350 instructions a second on one core)."""

from __future__ import annotations

import random
from typing import Any

import torch

from rnr.training.config import Run
from rnr.training.engine import Engine
from rnr.training.journal import Report
from rnr.unified.instructions import Wish, phrasing
from rnr.unified.reader import Reader
from rnr.unified.settings import UnifiedRun

BATCH, RATE = 64, 2e-3  # a choice
ASKED = 200  # held-out instructions of validation; a choice
Asked = tuple[list[str], list[Wish]]


class ReaderObjective:
    """What is meant by instructions in the training's phrasings."""

    def __init__(self, reader: Reader) -> None:
        self.model = reader.requires_grad_(True)

    def batch(self, progress: float, seed: int) -> tuple[Asked, int]:
        """Instructions and their meanings."""
        rng = random.Random(seed)
        words, wishes = zip(*(phrasing(rng, self.model.kinds) for _ in range(BATCH)))
        return (list(words), list(wishes)), BATCH

    def loss(self, batch: Asked, progress: float, seed: int) -> torch.Tensor:
        """Cross-entropy."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # of what is dropped
            return self.model.loss(*batch)

    def validate(self, model: Any) -> dict[str, float]:
        """Share of held-out instructions that are read right: each kind, and what is unknown."""
        asked = [phrasing(random.Random(10**6 + i), model.kinds, held_out=True) for i in range(ASKED)]
        return {"read right %": 100 * sum(model.read(words).same(wish) for words, wish in asked) / ASKED}


def train_reader(reader: Reader, run: UnifiedRun, report: Report) -> dict[str, float]:
    """Train it in half of the time at most, with a checkpoint of its own in `run.out`/reader; returns its figures."""
    out = run.out / "reader"
    own = Run(
        out=out, samples=run.instructions, rate=RATE, seed=run.seed, threads=run.threads, precision="fp32",
        device=run.device, resume=run.resume and out.is_dir(), minutes=run.minutes and run.minutes / 2,
    )  # fmt: skip
    objective = ReaderObjective(reader.train())
    engine = Engine(objective, own, report)
    engine.train()
    engine.averaged()
    return objective.validate(reader)
