"""The engine: it learns, resumes bit for bit, keeps its record, and says what is wrong with its input."""

import json

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from rnr.training import Engine, Run
from rnr.training.journal import Journal


class Line:
    """y = 3 x - 1, learned by one neuron."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(1, 1)

    def batch(self, progress: float, seed: int) -> tuple[torch.Tensor, int]:
        return torch.randn(8, 1, generator=torch.Generator().manual_seed(seed)), 8

    def loss(self, batch: torch.Tensor, progress: float, seed: int) -> torch.Tensor:
        return (self.model(batch) - (3 * batch - 1)).abs().mean()

    def validate(self, model: nn.Module) -> dict[str, float]:
        return {"slope": float(next(model.parameters()))}


def run_of(folder, **settings) -> Run:
    return Run(**{"out": folder, "samples": 4000, "rate": 0.1, "warm_up": 80, "precision": "fp32", **settings})


def test_it_learns_and_says_so(tmp_path):
    rows: list[dict] = []
    engine = Engine(Line(), run_of(tmp_path, ema=0.9), rows.append)
    assert engine.train()
    assert rows[-1]["validation"]["slope"] == pytest.approx(3, abs=0.05)
    assert float(next(engine.averaged().parameters())) == pytest.approx(rows[-1]["validation"]["slope"])
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == rows


def test_resumed_equals_unbroken_bit_for_bit(tmp_path):
    whole = Engine(Line(), run_of(tmp_path / "whole"))
    whole.train()
    part = run_of(tmp_path / "part", minutes=1e-6)
    ends = [Engine(Line(), part.model_copy(update={"resume": False})).train()]
    while not ends[-1] and len(ends) < 600:
        longer = Engine(Line(), part.model_copy(update={"resume": True, "minutes": 1e-4}))
        ends.append(longer.train())
    assert len(ends) > 2, "the time was up more than once"
    assert all(map(torch.equal, longer.averaged().parameters(), whole.averaged().parameters()))


def test_the_record_of_another_run_is_not_overwritten(tmp_path):
    Engine(Line(), run_of(tmp_path, samples=80)).train()
    with pytest.raises(ValueError, match="--resume"):
        Engine(Line(), run_of(tmp_path, samples=80)).train()


def test_rows_after_the_checkpoint_are_dropped(tmp_path):
    journal = Journal(tmp_path)
    for samples in (10, 20, 30):
        journal.write({"samples": samples, "loss": float("nan")})
    assert [row["samples"] for row in Journal(tmp_path, 20, resumed=True).rows()] == [10, 20]
    assert journal.rows()[0]["loss"] is None


def test_nothing_to_resume_and_unknown_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="without --resume"):
        Engine(Line(), run_of(tmp_path, resume=True))
    with pytest.raises(ValidationError, match="speed"):
        run_of(tmp_path, speed=3)
    (tmp_path / "run.toml").write_text("samples = 'many'")
    with pytest.raises(ValueError, match=r"run.toml: samples: "):
        Run.read(tmp_path / "run.toml", out=tmp_path)
