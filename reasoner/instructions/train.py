"""Train a reader of instructions: `rnr train instructions -o OUT` (350 a second on one core).

It learns from phrasings alone, which are put together as training goes: no data set, no pictures.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from rnr import prompts
from rnr.degradation.kind import kinds
from rnr.reasoner.instructions.loading import save
from rnr.reasoner.instructions.phrasings import Wish, phrasing
from rnr.reasoner.instructions.reader import BATCH, Reader
from rnr.training.card import head
from rnr.training.config import Precision, Run
from rnr.training.engine import Engine
from rnr.training.journal import Report

TEMPLATES = ("instruct_phrases", "instruct_words", "instruct_beyond")  # of prompts/: what the training reads
ASKED = 200  # held-out instructions of validation; a choice
Asked = tuple[list[str], list[Wish]]


class ReaderRun(Run):
    """Settings of the training; a sample is an instruction.

    Example:
        >>> ReaderRun(out="runs/instructions").samples
        1000000
    """

    samples: int = Field(default=1_000_000, ge=1, description="instructions")
    rate: float = Field(default=2e-3, gt=0, description="learning rate at its highest")
    precision: Precision = Field(default="fp32", description="fp32 or bf16; the network is too small to gain by bf16")


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


def fit(reader: Reader, run: Run, report: Report) -> dict[str, float]:
    """Train a reader in place, with its checkpoint in `run.out`; returns its figures."""
    objective = ReaderObjective(reader.train())
    engine = Engine(objective, run, report)
    engine.train()
    engine.averaged()
    return objective.validate(reader)


def train(run: ReaderRun, report: Report = lambda row: None) -> Path:
    """Train a new reader of all kinds and write it with its card to `run.out`/weights.

    Args:
        run: Settings of the training.
        report: Gets every row of the journal.

    Returns:
        The folder, as `rnr.reasoner.instructions.load` takes it.

    Raises:
        ValueError: For nothing to resume from, or a folder that holds another training.
    """
    torch.manual_seed(run.seed)
    reader = Reader(list(kinds()))
    figures = fit(reader, run, report)
    about = {"samples": run.samples, "seed": run.seed, "license": run.license, "figures": figures,
             "prompts": {name: prompts.load(name).version for name in TEMPLATES}}  # fmt: skip
    folder = save(reader, run.out / "weights", about).parent
    (folder / "README.md").write_text(model_card(reader, about), encoding="utf-8")
    return folder


def model_card(reader: Reader, about: dict[str, Any]) -> str:
    """The README of a folder of weights."""
    size = sum(weight.numel() for weight in reader.parameters()) / 1e6
    versions = ", ".join(f"`{name}` {version}" for name, version in about["prompts"].items())
    figures = ", ".join(f"{name} {value:g}" for name, value in about["figures"].items())
    return f"""{head(about["license"], "pytorch", "text-classification")}# Reader of instructions

Words of a person -> the kinds of degradation that are to be removed ({", ".join(reader.kinds)}), whether anything else
is wished, and how certain that is: a Transformer of {size:.1f} M parameters on hashed groups of letters
(`rnr.reasoner.instructions`).

- **Data**: templates alone, put together as training goes (`prompts/templates/`, versions {versions}). No photographs.
- **Training**: `rnr train instructions --samples {about["samples"]} --seed {about["seed"]}`.
- **Held-out instructions** ({ASKED}): {figures}; by form and certainty: `rnr bench instructions`.
- **Licence**: {about["license"]}
- **Limits**: English, kinds of damage, words like those of the templates.
"""
