"""Train the unified pair: `rnr train unified --stage 1|2 --images DIR -o OUT`.

Stage 1: restoring alone, by hidden states of a reasoner that stays as it is. Stage 2: restorer and reasoner together,
L = L_RF + 0.25 L_AR, on restorations and assessments in turn; the loss of a restoration reaches the reasoner.

L_RF: the velocity of the leg, v = (x_0 - x_t) / t (UARE's with the other sign), weighted by t^2: the error of the
estimated end of the leg x_t + t v; of each picture the root of its mean square, as the experts were trained
(docs/lab-log.md). t is 1 in 60% of the crops, uniform in the others. L_AR: cross-entropy of the texts, tokens weighted
as in the reasoner's training. Where a `Reader` reads the instructions it is trained first, alone: it shares no weights.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnr.degradation.kind import PHYSICS
from rnr.degradation.photographs import read_folder, to_uint8
from rnr.reasoner.instructions.reader import Reader
from rnr.reasoner.instructions.train import ReaderRun, fit
from rnr.reasoner.reasoner import Settings
from rnr.reasoner.words_loss import words_loss
from rnr.training.engine import Engine
from rnr.training.journal import Journal, Report
from rnr.unified.data import Restoration, assessed, restoration, short
from rnr.unified.export import export
from rnr.unified.model import UnifiedModel
from rnr.unified.settings import UnifiedRun
from rnr.unified.text import Written, first_turn, padded

CONDITIONING = ("film", "steer", "time.", "head", "numbers")  # of an expert: what scales and shifts, and its last layer
HELD_OUT = 4  # batches of validation; a choice


@dataclass
class Batch:
    """Texts about pictures, and the restoration that they are of (None: an assessment)."""

    sequences: list[Written]
    views: list[np.ndarray]
    restoration: Restoration | None


class UnifiedObjective:
    """L_RF + `text_weight` L_AR of a unified model.

    Args:
        model: What is trained.
        run: Settings, with the stage.
        photographs: Undamaged photographs to train on, uint8 HWC.
        held_out: Others, for validation.
    """

    def __init__(
        self, model: UnifiedModel, run: UnifiedRun, photographs: Sequence[np.ndarray],
        held_out: Sequence[np.ndarray] = (),
    ) -> None:  # fmt: skip
        self.model, self.run, self.photographs, self.held_out = model, run, photographs, held_out
        model.condition = run.condition
        if run.lora and not model.lora:
            model.add_lora(run.lora, run.seed)
        trainable(model, run)
        self.parts: dict[str, list[float]] = {}

    def batch(self, progress: float, seed: int) -> tuple[Batch, int]:
        """A batch of one task, and its number of crops."""
        tasks = self.run.tasks if self.run.stage == 2 else {"restore": 1.0}
        task = random.Random(seed + 7).choices(list(tasks), list(tasks.values()))[0]
        if task == "restore":
            return self.restored(self.photographs, progress, seed), self.run.batch
        rows = assessed(self.photographs, self.run, seed, task, self.model)
        if task == "describe":
            sequences = [first_turn(self.model.collator, row, row["diagnosis"], True) for row in rows]
        else:
            sequences = [short(self.model.collator, row, task) for row in rows]
        return Batch(sequences, [row["images"] for row in rows], None), self.run.batch

    def restored(self, photographs: Sequence[np.ndarray], progress: float, seed: int) -> Batch:
        """A batch of restorations with their texts."""
        experts, names = getattr(self.model.pipe, "experts", None), self.model.kinds
        made = restoration(photographs, self.run, progress, seed, experts, names, self._diagnose)  # type: ignore
        views = [self.model.reasoner.views(to_uint8(crop)) for crop in made.degraded]
        sequences = []
        for i, diagnosis in enumerate(made.diagnoses):
            row = self.model.row(views[i], diagnosis)
            first = first_turn(self.model.collator, row, diagnosis, not made.own[i])
            sequences.append(self.model.second(first, diagnosis, made.wishes[i], made.words[i], made.expected[i]))
        return Batch(sequences, views, made)

    def _diagnose(self, crops: torch.Tensor) -> list:
        records = self.model.reasoner.diagnose([to_uint8(crop) for crop in crops], Settings(beliefs=False))
        return [record.diagnosis for record in records]

    def loss(self, batch: Batch, progress: float, seed: int) -> torch.Tensor:
        """The sum of both losses; each is kept in `parts` for the journal."""
        model, second = self.model, self.run.stage == 2
        with torch.set_grad_enabled(second and torch.is_grad_enabled()):
            states = model.states(batch.sequences, batch.views)
        total = states.new_zeros(())
        if batch.restoration is not None:
            flow = model.flow_loss(batch.restoration, states, batch.sequences, seed)
            total = total + self._kept("l_rf", flow)
        if second:
            total = total + self.run.text_weight * self._kept("l_ar", self.text_loss(batch, states))
        return total

    def _kept(self, name: str, loss: torch.Tensor) -> torch.Tensor:
        self.parts.setdefault(name, []).append(float(loss.detach()))
        return loss

    def text_loss(self, batch: Batch, states: torch.Tensor) -> torch.Tensor:
        """L_AR of a batch's texts."""
        tokenizer, image = self.model.collator.tokenizer, self.model.reasoner.processor.image_token_id
        texts = padded(batch.sequences, tokenizer.pad_token_id, image)
        texts = {name: value.to(states.device) for name, value in texts.items()}
        return words_loss(self.model.language.lm_head(states)[:, :-1], texts)

    def validate(self, model: Any) -> dict[str, float]:
        """Both losses on held-out photographs."""
        found: dict[str, float] = {}
        if self.held_out:
            before, self.parts = self.parts, {}
            for number in range(HELD_OUT):
                self.loss(self.restored(self.held_out, 1.0, 77 + number), 1.0, 77 + number)
            found = {name: float(np.mean(values)) for name, values in self.parts.items()}
            self.parts = before
        return {name: round(value, 4) for name, value in found.items()}


class UnifiedEngine(Engine):
    """With both losses apart in the journal."""

    def row(self, loss: float, speed: float) -> dict[str, Any]:
        parts = self.objective.parts  # type: ignore[attr-defined]
        means = {name: float(np.mean(values)) for name, values in parts.items() if values}
        parts.clear()
        return super().row(loss, speed) | means

    def chosen_precision(self, journal: Journal) -> str:
        """float32 where nobody says otherwise: half of a step is the reasoner's writing, which autocast does not do."""
        return "fp32" if self.run.precision == "auto" else super().chosen_precision(journal)


def trainable(model: UnifiedModel, run: UnifiedRun) -> None:
    """What is trained in a stage: what joins the two, and what scales and shifts experts; then the reasoner, too."""
    model.requires_grad_(False)
    for name, weight in model.named_parameters():
        part = name.partition(".")[0]
        wanted = part in ("bridge", "to_prompt") or (run.stage == 2 and part == "language")
        if part == "experts":
            wanted = any(mark in name for mark in CONDITIONING)
        if run.lora and part in ("language", "transformer"):
            wanted = "lora_" in name and (part == "transformer" or run.stage == 2)
        weight.requires_grad_(wanted and not name.startswith(tuple(run.freeze)))


def train_reader(reader: Reader, run: UnifiedRun, report: Report) -> dict[str, float]:
    """Train it in half of the time at most, with a checkpoint of its own in `run.out`/reader; returns its figures."""
    out = run.out / "reader"
    own = ReaderRun(
        out=out, samples=run.instructions, seed=run.seed, threads=run.threads,
        device=run.device, resume=run.resume and out.is_dir(), minutes=run.minutes and run.minutes / 2,
    )  # fmt: skip
    return fit(reader, own, report)


def train(
    model: UnifiedModel, images: str | Path, run: UnifiedRun, val: str | Path | None = None,
    report: Report = lambda row: None,
) -> Path:  # fmt: skip
    """Train one stage and write `run.out`/weights.

    Args:
        model: From `rnr.unified.load`: the built-in pair, or what an earlier stage wrote.
        images: Folder of undamaged photographs.
        run: Settings.
        val: Folder of others, for validation.
        report: Gets every row of the journal.

    Returns:
        The folder; it is written also where the time was up before the schedule's end.

    Raises:
        ValueError: For a folder without photographs, nothing to resume from.
    """
    torch.manual_seed(run.seed)
    model.train()
    photographs = list(read_folder(images).values())
    held_out = list(read_folder(val, 12).values()) if val else []
    began, read = time.monotonic(), {}
    if model.reader is not None and run.stage == 2 and run.instructions:
        read = train_reader(model.reader, run, report)
    if run.minutes is not None:  # the reader has had half of them at most
        run = run.model_copy(update={"minutes": max(1e-9, run.minutes - (time.monotonic() - began) / 60)})
    objective = UnifiedObjective(model, run, photographs, held_out)
    engine = UnifiedEngine(objective, run, report)
    engine.train()
    engine.averaged()
    with torch.no_grad():
        figures = objective.validate(model) | read
    record = {
        "stage": run.stage, "samples": engine.samples, "hours": round(engine.seconds / 3600, 2), "figures": figures,
        "data": f"{len(photographs)} photographs of {Path(images).name}", "license": run.license, "physics": PHYSICS,
        "condition": run.condition, "easy_to_hard": run.easy_to_hard, "tasks": dict(run.tasks),
        "command": f"rnr train unified --stage {run.stage} --images DIR --samples {run.samples} --seed {run.seed}",
    }  # fmt: skip
    return export(model, run.out / "weights", [*model.card.get("training", []), record])
