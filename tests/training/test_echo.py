"""Echoes: each example as often as asked for, far apart, in other company, and the same ones after a break."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from rnr.training import Engine, Run
from rnr.training.echo import BLOCK, shuffled

SIZE = 4


class Numbered:
    """Every example that is made has a number of its own; `seen` are those of each update."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(1, 1)
        self.seen: list[list[int]] = []
        self.made = 0

    def batch(self, progress: float, seed: int) -> tuple[dict, int]:
        self.made += 1
        numbers = [SIZE * seed + i for i in range(SIZE)]
        return {"x": torch.tensor(numbers)[:, None] / 1000, "numbers": numbers}, SIZE

    def loss(self, batch: dict, progress: float, seed: int) -> torch.Tensor:
        assert torch.equal(batch["x"], torch.tensor(batch["numbers"])[:, None] / 1000), "an example stays together"
        self.seen.append(batch["numbers"])
        return (self.model(batch["x"]) - batch["x"] * 3).abs().mean()

    def validate(self, model: nn.Module) -> dict[str, float]:
        return {}


def run_of(folder: Path, **settings) -> Run:
    given = {"samples": 2 * 3 * BLOCK * SIZE, "rate": 0.01, "warm_up": 8, "precision": "fp32", "echo": 3}
    return Run(out=folder, **given | settings)


def test_each_example_is_learned_from_as_often_as_asked_for_and_not_twice_in_a_row(tmp_path: Path) -> None:
    objective = Numbered()
    Engine(objective, run_of(tmp_path)).train()
    uses = Counter(number for batch in objective.seen for number in batch)
    assert len(objective.seen) == 2 * 3 * BLOCK and objective.made == 2 * BLOCK
    assert len(uses) == 2 * BLOCK * SIZE and set(uses.values()) == {3}
    again = sum(len({*first} & {*second}) for first, second in pairwise(objective.seen))
    assert again < 0.1 * len(uses), "of 384 echoes about 16 follow at once by chance"
    company = {frozenset(batch) for batch in objective.seen}
    assert len(company) == len(objective.seen), "no batch comes back whole"


def test_one_echo_is_no_buffer_and_the_last_block_is_shorter(tmp_path: Path) -> None:
    plain, short = Numbered(), Numbered()
    Engine(plain, run_of(tmp_path / "plain", echo=1, samples=40)).train()
    assert plain.seen == [[SIZE * step + i for i in range(SIZE)] for step in range(10)]
    Engine(short, run_of(tmp_path / "short", samples=15 * SIZE)).train()
    assert short.made == 5 and len(short.seen) == 15


@pytest.mark.parametrize("breaks", [(5,), (BLOCK, BLOCK + 7, 2 * BLOCK), (3 * BLOCK, 4 * BLOCK + 1)])
def test_a_training_that_was_broken_off_inside_a_block_is_the_unbroken_one(tmp_path: Path, breaks: tuple) -> None:
    whole = Numbered()
    broken: list[list[int]] = []
    unbroken = Engine(whole, run_of(tmp_path / "whole"))
    unbroken.train()
    for end in (*breaks, len(whole.seen)):
        part = Numbered()
        engine = Engine(part, run_of(tmp_path / "part", resume=bool(broken)))
        while engine.step < end:
            engine.update()
        engine.save()
        broken += part.seen
    assert broken == whole.seen
    assert all(map(torch.equal, engine.averaged().parameters(), unbroken.averaged().parameters()))


@dataclass
class Parts:
    pixels: torch.Tensor
    about: tuple[list[str], dict[str, torch.Tensor], None]
    task: str = "see"


def parts_of(numbers: list[int], side: int = 2, task: str = "see") -> Parts:
    values = torch.tensor(numbers)
    return Parts(values[:, None].expand(-1, side).clone(), ([str(n) for n in numbers], {"n": values}, None), task)


def test_examples_of_dataclasses_stay_whole_and_only_batches_of_one_form_exchange_them() -> None:
    block = [
        (parts_of([4 * i + j for j in range(4)], 2 + i // 6, "see" if i % 2 else "read"), i // 6) for i in range(12)
    ]
    again = list(shuffled(block, seed=1))
    for batch, count in again:
        numbers = batch.about[1]["n"].tolist()
        assert batch.pixels.tolist() == [[n] * (2 + count) for n in numbers]
        assert batch.about[0] == [str(n) for n in numbers] and batch.about[2] is None
        assert all(n // 24 == count and (n // 4) % 2 == (batch.task == "see") for n in numbers)
    assert sorted(n for batch, _ in again for n in batch.about[1]["n"].tolist()) == list(range(48))


def test_a_batch_whose_parts_are_not_by_example_comes_back_as_it_is() -> None:
    block = [((torch.arange(3) + i, torch.tensor(i)), 3) for i in range(4)] + [((torch.arange(3), [1, 2]), 3)]
    again = list(shuffled(block, seed=0))
    assert sorted(map(id, (batch for batch, _ in again))) == sorted(id(batch) for batch, _ in block)
