"""The loop of a training on a small machine: what is learned from what comes as an `Objective`.

The schedule runs by samples, not by time: warm-up, then a cosine to zero. Everything random follows from the seed and
the number of the update, so that a resumed training gives what an unbroken one gives, bit for bit; one with echoes
(`rnr.training.echo`) makes the batches of its block again. The checkpoint is one safetensors file (weights, their
average, moments, place in the schedule), written under a temporary name and renamed. With `minutes` a training ends in
time, to be resumed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from rnr.degradation.arithmetic import flushed_denormals
from rnr.training import checkpoint
from rnr.training.checkpoint import CHECKPOINT
from rnr.training.config import Run
from rnr.training.curves import curves
from rnr.training.echo import BLOCK, Made, shuffled
from rnr.training.journal import Journal, Report
from rnr.training.precision import autocast, faster

REPORT_STEPS = 50  # updates between two rows of the journal; a choice
Stages = Sequence[tuple[float, int, int]]  # until this share of the samples: crop side in px, batch


class Objective(Protocol):
    """What a training learns. Everything random in a batch and its loss comes from `seed`.

    Attributes:
        model: What is trained; parameters without `requires_grad` are left alone.

    Example:
        >>> class Half:  # learns to halve numbers
        ...     model = nn.Conv2d(1, 1, 1)
        ...     def batch(self, progress, seed):
        ...         return torch.rand(8, 1, 1, 1, generator=torch.Generator().manual_seed(seed)), 8
        ...     def loss(self, batch, progress, seed):
        ...         return ((self.model(batch) - batch / 2) ** 2).mean()
        ...     def validate(self, model):
        ...         return {}
        >>> Engine(Half(), Run(out="runs/half", samples=64, warm_up=8)).train()  # to the end
        True
    """

    @property
    def model(self) -> nn.Module: ...

    def batch(self, progress: float, seed: int) -> tuple[Any, int]:
        """A batch at this share of the schedule (0..1), and the samples that it counts for.

        With `echo`, batches exchange examples, as `rnr.training.echo.shuffled` says.
        """
        ...

    def loss(self, batch: Any, progress: float, seed: int) -> torch.Tensor:
        """A scalar."""
        ...

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Figures of a model (the average of the weights); {} where there is nothing to validate on."""
        ...


def stage_at(stages: Stages, progress: float) -> tuple[int, int]:
    """Crop side in px and batch at this share of the samples."""
    return next((side, batch) for until, side, batch in stages if progress < until)


class Engine:
    """State of one training: model, average of its weights, optimiser, samples seen.

    Args:
        objective: What is learned.
        run: The settings.
        report: Gets every row of the journal.

    Raises:
        ValueError: For a folder that holds the record of another training.

    `Objective` has an example.
    """

    def __init__(self, objective: Objective, run: Run, report: Report = lambda row: None) -> None:
        torch.set_num_threads(run.threads)
        self.objective, self.run, self.report = objective, run, report
        self.model = objective.model.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.optimizer = self.make_optimizer()
        self.average = checkpoint.Average(self.weights, run.ema)
        self.samples = self.step = 0
        self.block = (0, 0)  # samples and updates where the present block of batches began
        self.batches = self.stream()
        self.seconds = 0.0
        self.precision = "fp32"
        run.out.mkdir(parents=True, exist_ok=True)
        if run.resume:
            self.load()

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW; a training that wants another overrides this."""
        shape = {"lr": self.run.rate, "betas": (0.9, 0.99), "weight_decay": 1e-4, "fused": True}
        return torch.optim.AdamW(self.weights.values(), **shape)  # type: ignore[arg-type]

    @property
    def progress(self) -> float:
        return min(1.0, self.samples / self.run.samples)

    def rate(self) -> float:
        """Learning rate of the next update: warm-up, then cosine."""
        ramp = min(1.0, (self.samples + 16) / self.run.warm_up)
        return self.run.rate * ramp * (0.5 + 0.5 * math.cos(math.pi * self.progress))

    @flushed_denormals()
    def train(self) -> bool:
        """Train to the end or until the time is up; True at the end."""
        journal = Journal(self.run.out, self.samples, self.report, self.run.resume)
        self.precision = self.chosen_precision(journal)
        began, before, earlier = time.monotonic(), self.samples, self.seconds
        saved = validated = began
        losses: list[float] = []
        while self.samples < self.run.samples:
            losses += self.update()
            now = time.monotonic()
            self.seconds = earlier + now - began
            if self.step % REPORT_STEPS == 0:
                journal.write(self.row(sum(losses) / len(losses), (self.samples - before) / (now - began)))
                losses.clear()
            if self.run.minutes is not None and now - began > 60 * self.run.minutes:
                break
            if now - saved > self.run.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
            if now - validated > self.run.validate_seconds:
                journal.write({"samples": self.samples, "validation": self.validate()})
                validated = time.monotonic()
        self.save()
        journal.write({"samples": self.samples, "validation": self.validate()})
        if done := self.samples >= self.run.samples:
            curves(self.run.out)
        return done

    def row(self, loss: float, speed: float) -> dict[str, Any]:
        """One row of the journal."""
        left = (self.run.samples - self.samples) / max(speed, 1e-9)
        row = {"samples": self.samples, "step": self.step, "loss": loss, "rate": self.rate()}
        return row | {"per_second": speed, "seconds_left": left}

    def chosen_precision(self, journal: Journal) -> str:
        """As the settings say; `auto` takes the faster by a timing, and the journal says by how much."""
        if self.run.precision != "auto":
            return self.run.precision
        batch, _ = self.objective.batch(self.progress, self.run.seed)

        def step() -> None:
            self.objective.loss(batch, self.progress, self.run.seed).backward()
            self.optimizer.zero_grad()

        precision, ratio = faster(step, self.run.device)
        journal.write({"samples": self.samples, "precision": precision, "bf16_speedup": ratio})
        return precision

    @property
    def seed(self) -> int:
        """Of the next update."""
        return (self.run.seed * 1_000_003 + self.step) % 2**31

    def stream(self) -> Iterator[Made]:
        """Batches to learn from, for ever: blocks of new ones, each followed by its echoes."""
        while True:
            self.block = (self.samples, self.step)
            made: list[Made] = []
            while not made or (len(made) < BLOCK and self.lasting):
                made.append(self.objective.batch(self.progress, self.seed))
                yield made[-1]
            for _ in range(1, self.run.echo):
                yield from shuffled(made, self.seed)

    @property
    def lasting(self) -> bool:
        """Whether the schedule has room for another batch in this block, and its echoes."""
        begun = self.block[0]
        return self.run.echo > 1 and begun + self.run.echo * (self.samples - begun) < self.run.samples

    def update(self) -> list[float]:
        """Learn from the next batch; returns its loss, alone in a list."""
        batch, count = next(self.batches)
        with autocast(self.run.device, self.precision):
            loss = self.objective.loss(batch, self.progress, self.seed + self.step)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights.values(), self.run.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()
        self.advance(count)
        self.average.update(self.step)
        return [float(loss.detach())]

    def advance(self, count: int) -> None:
        """One update and its samples further in the schedule."""
        self.samples += count
        self.step += 1

    def validate(self) -> dict[str, float]:
        """The objective's figures of the averaged weights."""
        self.average.swap()
        try:
            with torch.no_grad():
                return self.objective.validate(self.model.eval())
        finally:
            self.average.swap()
            self.model.train()

    def averaged(self) -> nn.Module:
        """The model with the averaged weights in place of the live ones: for export, after training."""
        self.average.ema.copy_to(self.average.weights)
        return self.model.eval()

    def save(self) -> None:
        """Everything into one file."""
        about: dict[str, Any] = {"samples": self.samples, "step": self.step, "seconds": self.seconds}
        about |= {"block": self.block} if self.run.echo > 1 else {}
        about |= {"run": self.run.model_dump(mode="json")}
        checkpoint.save(self.run.out / CHECKPOINT, self.weights, self.optimizer, about, self.average)

    def load(self) -> None:
        """Back to where `save` was. ValueError where there is nothing to resume, or another model's checkpoint."""
        about = checkpoint.load(self.run.out / CHECKPOINT, self.weights, self.optimizer, self.average)
        here = about["samples"], about["step"]
        self.seconds, (self.samples, self.step) = about["seconds"], about.get("block", here)
        while self.step < here[1]:
            self.advance(next(self.batches)[1])
