"""What happens during a training beside the steps: averaging, checkpoints by the clock, metrics, validation."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from rnr.training.checkpoint import Average
from rnr.training.journal import Journal, rows_of

COMPLETE = "complete"  # an empty file, written last: a checkpoint without it was cut off
EMA_FILE = "ema.safetensors"  # the averaged weights in a checkpoint
DECAY = 0.999  # of the average, at most; a choice


class Averaging(TrainerCallback):
    """Moving average of the weights, saved in every checkpoint."""

    def __init__(self, model: torch.nn.Module):
        self.average = Average(dict(model.named_parameters()), DECAY)
        self.swap = self.average.swap

    def on_step_end(self, args, state, control, **kwargs):
        self.average.update(state.global_step)

    def on_save(self, args, state, control, **kwargs):
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        save_file(self.average.held, str(folder / EMA_FILE))
        (folder / COMPLETE).touch()

    def load(self, checkpoint: Path) -> None:
        for name, value in load_file(str(checkpoint / EMA_FILE)).items():
            self.average.held[name].copy_(value)


class SaveByClock(TrainerCallback):
    """A checkpoint every so many seconds and at the end."""

    def __init__(self, seconds: float = 120):
        self.seconds, self.last = seconds, time.monotonic()

    def on_step_end(self, args, state, control, **kwargs):
        if time.monotonic() - self.last >= self.seconds or state.global_step >= state.max_steps:
            control.should_save, self.last = True, time.monotonic()


class Metrics(TrainerCallback):
    """metrics.jsonl: loss, learning rate, samples a second, time left; `evaluate` every so many samples."""

    def __init__(
        self, journal: Journal, batch: int, evaluate: Callable[[], dict[str, Any]] | None = None, every: int = 1
    ):
        self.journal, self.batch, self.evaluate, self.every = journal, batch, evaluate, every
        self.started: tuple[float, int] | None = None

    def on_step_begin(self, args, state, control, **kwargs):
        self.started = self.started or (time.monotonic(), state.global_step)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not logs or "loss" not in logs or self.started is None:
            return
        seconds, steps = time.monotonic() - self.started[0], state.global_step - self.started[1]
        speed = steps * self.batch / max(seconds, 1e-9)
        left = (state.max_steps - state.global_step) * self.batch / max(speed, 1e-9)
        self.write(state, {"loss": logs["loss"], "lr": logs.get("learning_rate"), "grad_norm": logs.get("grad_norm"),
                           "samples_per_s": round(speed, 2), "minutes_left": round(left / 60, 1)})  # fmt: skip

    def on_step_end(self, args, state, control, **kwargs):
        due = state.global_step * self.batch // self.every > (state.global_step - 1) * self.batch // self.every
        if self.evaluate and (due or state.global_step >= state.max_steps):
            self.write(state, {"validation": self.evaluate()})

    def write(self, state, values: dict[str, Any]) -> None:
        self.journal.write({"samples": state.global_step * self.batch, "time": round(time.time(), 1), **values})


class Stopwatch(TrainerCallback):
    """Stops a training after so many seconds of processor time, and says how many steps one second held."""

    def __init__(self, seconds: float, warmup: int = 2):
        self.seconds, self.warmup = seconds, warmup
        self.began, self.now, self.steps = 0.0, 0.0, 0

    def on_step_end(self, args, state, control, **kwargs):
        self.now = time.process_time()
        if state.global_step == self.warmup:
            self.began = self.now
        self.steps = state.global_step - self.warmup
        control.should_training_stop |= self.steps > 0 and self.now - self.began >= self.seconds

    @property
    def steps_per_second(self) -> float:
        """Of processor time, after the warm-up; NaN where there was no step."""
        return self.steps / (self.now - self.began) if self.steps > 0 else float("nan")


def last_checkpoint(folder: Path, complete: str = COMPLETE) -> Path | None:
    """The newest checkpoint that holds the file which is written last."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{complete}")]
    return max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


def hours_of(folder: Path) -> float:
    """Hours that the training in this folder has taken, all its parts together, without validation."""
    rows = [row for row in rows_of(folder) if row.get("samples_per_s")]
    seconds = sum(
        (row["samples"] - before) / row["samples_per_s"]
        for before, row in zip([0, *(row["samples"] for row in rows)], rows)
    )
    return round(seconds / 3600, 2)
