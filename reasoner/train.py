"""Train the built-in reasoner on pictures that are damaged as it goes: TRL's SFTTrainer, one thread, seeded, resumable.

    python -m rnr.reasoner.train --data PHOTOGRAPHS --val OTHER_PHOTOGRAPHS -o runs/reasoner --samples 130000

What differs from plain SFT: rows come from an endless stream; tokens that carry a value weigh more than the skeleton;
the schedule is by samples; matrices are moved by Muon; the exported weights are an average over the last steps.
`--resume` goes on after a kill (with the same result as an unbroken run), also with another `--samples`; `--init DIR`
starts from weights alone, also from those that know fewer kinds.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from datasets import IterableDataset
from safetensors.torch import load_file
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from rnr import prompts
from rnr.degradation.arithmetic import flushed_denormals
from rnr.degradation.photographs import read_folder, read_objects, weighted
from rnr.reasoner.callbacks import Averaging, Metrics, SaveByClock, hours_of, last_checkpoint
from rnr.reasoner.collate import HIDDEN, IGNORED, MISREAD, SPREAD, Collator
from rnr.reasoner.data import Damage, Row, held_out, rows
from rnr.reasoner.drawn import DRAW
from rnr.reasoner.export import finish
from rnr.reasoner.model import deepened, grown, new_model, tiny_config, use_quick_tower
from rnr.reasoner.probe import NAME, attach
from rnr.reasoner.processor import build_processor, load_processor
from rnr.reasoner.settings import ReasonerRun
from rnr.reasoner.tokenizer import build_tokenizer
from rnr.reasoner.validate import teacher_forced
from rnr.reasoner.views import VIEWS
from rnr.reasoner.words_loss import words_loss
from rnr.training.curves import curves
from rnr.training.journal import Journal, Report
from rnr.training.muon import Muon

PROMPT = "diagnose_tuned"
SETTINGS = "settings.json"
TITLES = {"f1": "present: F1", "r": "severity: correlation", "mae": "severity: mean error"}
LEARNED = ("labels", "loss_weights", "soft_places", "soft_shares")  # of a batch, for `words_loss`
PROBE = 1.0  # weight of the probe's loss


class DiagnosisTrainer(SFTTrainer):
    """SFT with a weight for each token (`loss_weights`), and the loss of the vision tower's probe (`severities`,
    `traces`).

    Prompts have one length: only the answer's logits are made.
    """

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        inputs = dict(inputs)
        severities, traces = inputs.pop("severities", None), inputs.pop("traces", None)
        loss = self._words_loss(model, inputs)
        return loss if severities is None else loss + PROBE * getattr(model, NAME).loss(severities, traces)

    @staticmethod
    def _words_loss(model, inputs):
        learned = {name: inputs.pop(name) for name in LEARNED if name in inputs}
        inputs.pop("attention_mask", None)  # padding is on the right of a causal model: nothing sees it
        labels = learned["labels"]
        prompt = int((labels != IGNORED).any(0).long().argmax())
        logits = model(**inputs, use_cache=False, logits_to_keep=labels.shape[1] - prompt + 1).logits[:, :-1]
        return words_loss(logits, learned, prompt)

    def create_model_card(self, *args, **kwargs):
        """None here: `export` writes the card of the weights."""


def show(row: dict) -> None:
    print(json.dumps(row), flush=True)


def cosine(optimizer: torch.optim.Optimizer, steps: int, warmup: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then half a cosine to zero, by steps (that is, by samples)."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def optimizer_of(model: torch.nn.Module, lr: float) -> Muon:
    """Matrices by Muon; embeddings, norms, biases and the probe as by AdamW; frozen weights left out."""
    return Muon.of(model.named_parameters(), lr, others=("embed", NAME))


def sft_config(run: ReasonerRun) -> SFTConfig:
    return SFTConfig(
        output_dir=str(run.output), use_cpu=not torch.cuda.is_available(), bf16=False, gradient_checkpointing=False,
        max_length=None, max_steps=run.samples // run.batch, per_device_train_batch_size=run.batch,
        max_grad_norm=1.0, logging_steps=run.log_every, save_strategy="no", save_total_limit=2, report_to="none",
        ignore_data_skip=True, remove_unused_columns=False, dataset_kwargs={"skip_prepare_dataset": True},
        accelerator_config={"dispatch_batches": False}, disable_tqdm=True, seed=run.seed,
        dataloader_num_workers=run.workers,
    )  # fmt: skip


def trainer_of(
    run: ReasonerRun, checkpoint: Path | None, report: Report = show, damage: Damage | None = None
) -> tuple[DiagnosisTrainer, Averaging]:
    """Trainer and averaged weights, ready at the checkpoint's place in the stream.

    `damage` makes other pictures and their true diagnoses than `rnr.reasoner.data.damaged_batch`.
    """
    prompt = prompts.load(PROMPT).text
    objects = read_objects(run.objects) if run.objects else None
    photographs = weighted(read_folder(run.data, run.limit), run.data, objects)
    model, processor = build(run, photographs, prompt)
    optimizer, average = optimizer_of(model, run.lr), Averaging(model)
    start = _step(checkpoint) * run.batch if checkpoint else 0
    if checkpoint:
        average.load(checkpoint)

    def stream() -> Iterator[Row]:
        total = 1 if run.init else run.samples  # weights that know single kinds go on with the late mixture
        yield from rows(photographs, prompt, run.seed, total, start, run.batch, damage=damage)

    collator = Collator(processor, doubt=MISREAD, spread=SPREAD, severities=True, hidden=HIDDEN)
    schedule = cosine(optimizer, run.samples // run.batch, run.warmup)
    trainer = DiagnosisTrainer(
        model=model, args=sft_config(run), train_dataset=IterableDataset.from_generator(stream), data_collator=collator,
        processing_class=processor, optimizers=(optimizer, schedule),
    )  # fmt: skip
    evaluate = _validation(run, model, Collator(processor), prompt, average)
    journal = Journal(run.output, start, report, run.resume)
    metrics = Metrics(journal, run.batch, evaluate, run.eval_every)
    trainer.remove_callback(PrinterCallback)
    for callback in (average, SaveByClock(run.save_seconds), metrics):
        trainer.add_callback(callback)
    return trainer, average


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])


def build(run: ReasonerRun, photographs: list, prompt: str):
    """Model and processor: fresh, or from `--init`, whose weights grow by the kinds that they do not know.

    The whitened DCT of the patch embedding stays as it is.
    """
    tokenizer = build_tokenizer(extra=[prompt])
    if run.init:
        from transformers import Qwen3VLForConditionalGeneration

        model = Qwen3VLForConditionalGeneration.from_pretrained(run.init, dtype=torch.float32)
        model = deepened(model, run.depth) if run.depth else model
        processor = load_processor(str(run.init))
        if set(tokenizer.get_vocab()) - set(processor.tokenizer.get_vocab()):  # they know fewer kinds
            model = grown(model, processor.tokenizer, tokenizer)
            processor = build_processor(tokenizer)
    else:
        model, processor = new_model(tiny_config(tokenizer), run.seed, photographs), build_processor(tokenizer)
    model.model.visual.patch_embed.requires_grad_(False)
    attach(model, 1 + VIEWS["crops"] + len(DRAW))
    if run.init and (run.init / "model.safetensors").is_file():  # an export has no probe
        kept = load_file(run.init / "model.safetensors")
        model.load_state_dict({name: kept[name] for name in kept if name.startswith(f"{NAME}.")}, strict=False)
    use_quick_tower(model)
    return model, processor


def _validation(run, model, collator, prompt: str, average: Averaging):
    if not run.val:
        return None
    held = held_out(list(read_folder(run.val).values()), prompt, run.val_rows)

    def evaluate() -> dict:
        average.swap()
        try:
            return teacher_forced(model, collator, held)
        finally:
            average.swap()

    return evaluate


@flushed_denormals()
def train(run: ReasonerRun, damage: Damage | None = None, report: Report = show) -> Path:
    """Train and export; returns the folder of the weights. `report` gets each row of metrics.jsonl."""
    torch.set_num_threads(run.threads)
    run.output.mkdir(parents=True, exist_ok=True)
    checkpoint = last_checkpoint(run.output) if run.resume else None
    settings = run.model_dump(mode="json")
    (run.output / SETTINGS).write_text(json.dumps(settings, indent=1), encoding="utf-8")
    trainer, average = trainer_of(run, checkpoint, report, damage)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    average.swap()
    curves(run.output, TITLES)
    record = settings | {"hours": hours_of(run.output)}
    return finish(trainer.model, trainer.processing_class, run.output / "weights", record, run.samples)


if __name__ == "__main__":
    train(ReasonerRun.parse(None, "rnr.reasoner.train", (__doc__ or "").split("\n")[0], output="-o"))
