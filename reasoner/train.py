"""Train the built-in reasoner on pictures that are damaged as it goes: TRL's SFTTrainer, one thread, seeded, resumable.

    python -m rnr.reasoner.train --data PHOTOGRAPHS --val OTHER_PHOTOGRAPHS -o runs/reasoner --samples 130000

What differs from plain SFT: rows come from an endless stream; tokens that carry a value weigh more than the skeleton;
the schedule is by samples; matrices are moved by Muon; the exported weights are an average over the last steps.
`--resume` goes on after a kill (with the same result as an unbroken run), also with another `--samples`; `--init DIR`
starts from weights alone, also from those that know fewer kinds.
"""

from __future__ import annotations

import argparse
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
from rnr.reasoner.callbacks import METRICS, Averaging, Metrics, Report, SaveByClock, hours_of, last_checkpoint, trim
from rnr.reasoner.collate import MISREAD, SPREAD, Collator
from rnr.reasoner.curves import curves
from rnr.reasoner.data import Damage, Row, held_out, rows
from rnr.reasoner.export import finish
from rnr.reasoner.model import deepened, grown, new_model, tiny_config, use_linear_patches
from rnr.reasoner.probe import NAME, attach
from rnr.reasoner.processor import build_processor, load_processor
from rnr.reasoner.tokenizer import build_tokenizer
from rnr.reasoner.validate import teacher_forced
from rnr.reasoner.views import VIEWS
from rnr.training.muon import Muon

PROMPT = "diagnose_tuned"
PROBE = 1.0  # weight of the probe's loss


class DiagnosisTrainer(SFTTrainer):
    """SFT with a weight for each token (`loss_weights`), and the loss of the vision tower's probe (`severities`).

    Prompts have one length: only the answer's logits are made.
    """

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        inputs = dict(inputs)
        severities = inputs.pop("severities", None)
        loss = self._words_loss(model, inputs)
        return loss if severities is None else loss + PROBE * getattr(model, NAME).loss(severities)

    @staticmethod
    def _words_loss(model, inputs):
        labels, weights = inputs.pop("labels"), inputs.pop("loss_weights")
        inputs.pop("attention_mask", None)  # padding is on the right of a causal model: nothing sees it
        prompt = int((labels != -100).any(0).long().argmax())
        places, shares = inputs.pop("soft_places", None), inputs.pop("soft_shares", None)
        logits = model(**inputs, use_cache=False, logits_to_keep=labels.shape[1] - prompt + 1).logits[:, :-1]
        labels, weights = labels[:, prompt:], weights[:, prompt:]
        if places is None:
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
            return (loss * weights.flatten()).sum() / weights.sum()
        targets = torch.nn.functional.one_hot(labels.clamp(min=0), logits.shape[-1]).to(logits.dtype)
        row, at, token = places[:, 0], places[:, 1] - prompt, places[:, 2]
        targets[row, at] = 0
        targets[row, at, token] = shares.to(logits.dtype)
        loss = -(targets * logits.log_softmax(-1)).sum(-1)
        return (loss * weights).sum() / weights.sum()

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
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    matrices = [weight for name, weight in trained if weight.ndim == 2 and "embed" not in name and NAME not in name]
    chosen = set(map(id, matrices))
    return Muon(matrices, [weight for _, weight in trained if id(weight) not in chosen], lr)


def settings(args: argparse.Namespace) -> SFTConfig:
    return SFTConfig(
        output_dir=str(args.output), use_cpu=not torch.cuda.is_available(), bf16=False, gradient_checkpointing=False,
        max_length=None, max_steps=args.samples // args.batch, per_device_train_batch_size=args.batch,
        max_grad_norm=1.0, logging_steps=args.log_every, save_strategy="no", save_total_limit=2, report_to="none",
        dataloader_num_workers=args.workers,
        ignore_data_skip=True, remove_unused_columns=False, dataset_kwargs={"skip_prepare_dataset": True},
        accelerator_config={"dispatch_batches": False}, disable_tqdm=True, seed=args.seed,
    )  # fmt: skip


def trainer_of(
    args: argparse.Namespace, checkpoint: Path | None, report: Report = show, damage: Damage | None = None
) -> tuple[DiagnosisTrainer, Averaging]:
    """Trainer and averaged weights, ready at the checkpoint's place in the stream.

    `damage` makes other pictures and their true diagnoses than `rnr.reasoner.data.damaged_batch`.
    """
    prompt = prompts.load(PROMPT).text
    objects = read_objects(args.objects) if args.objects else None
    photographs = weighted(read_folder(args.data, args.limit), args.data, objects)
    model, processor = build(args, photographs, prompt)
    optimizer, average = optimizer_of(model, args.lr), Averaging(model)
    start = _step(checkpoint) * args.batch if checkpoint else 0
    if checkpoint:
        average.load(checkpoint)

    def stream() -> Iterator[Row]:
        total = 1 if args.init else args.samples  # weights that know single kinds go on with the late mixture
        yield from rows(photographs, prompt, args.seed, total, start, args.batch, damage=damage)

    collator = Collator(processor, doubt=MISREAD, spread=SPREAD, severities=True)
    schedule = cosine(optimizer, args.samples // args.batch, args.warmup)
    trainer = DiagnosisTrainer(
        model=model, args=settings(args), train_dataset=IterableDataset.from_generator(stream), data_collator=collator,
        processing_class=processor, optimizers=(optimizer, schedule),
    )  # fmt: skip
    evaluate = _validation(args, model, Collator(processor), prompt, average)
    metrics = Metrics(args.output, args.batch, report, evaluate, args.eval_every)
    trainer.remove_callback(PrinterCallback)
    for callback in (average, SaveByClock(args.save_seconds), metrics):
        trainer.add_callback(callback)
    return trainer, average


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])


def build(args: argparse.Namespace, photographs: list, prompt: str):
    """Model and processor: fresh, or from `--init`, whose weights grow by the kinds that they do not know.

    The whitened DCT of the patch embedding stays as it is.
    """
    tokenizer = build_tokenizer(extra=[prompt])
    if args.init:
        from transformers import Qwen3VLForConditionalGeneration

        model = Qwen3VLForConditionalGeneration.from_pretrained(args.init, dtype=torch.float32)
        model = deepened(model, args.depth) if args.depth else model
        processor = load_processor(str(args.init))
        if set(tokenizer.get_vocab()) - set(processor.tokenizer.get_vocab()):  # they know fewer kinds
            model = grown(model, processor.tokenizer, tokenizer)
            processor = build_processor(tokenizer)
    else:
        model, processor = new_model(tiny_config(tokenizer), args.seed, photographs), build_processor(tokenizer)
    model.model.visual.patch_embed.requires_grad_(False)
    attach(model, VIEWS["crops"] + 2)
    if args.init and (Path(args.init) / "model.safetensors").is_file():  # an export has no probe
        kept = load_file(Path(args.init) / "model.safetensors")
        model.load_state_dict({name: kept[name] for name in kept if name.startswith(f"{NAME}.")}, strict=False)
    use_linear_patches(model)
    return model, processor


def _validation(args, model, collator, prompt: str, average: Averaging):
    if not args.val:
        return None
    held = held_out(list(read_folder(args.val).values()), prompt, args.val_rows)

    def evaluate() -> dict:
        average.swap()
        try:
            return teacher_forced(model, collator, held)
        finally:
            average.swap()

    return evaluate


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rnr.reasoner.train", description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of clean photographs")
    parser.add_argument("--val", type=Path, help="folder of other photographs, for validation")
    parser.add_argument("--objects", type=Path, help="CSV of what the photographs show (python -m rnr.reasoner.label)")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/reasoner"))
    parser.add_argument("--samples", type=int, default=130_000, help="length of the schedule")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=int, default=200, help="steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the output folder")
    parser.add_argument("--init", type=Path, help="start from these weights: new schedule, no easy beginning")
    parser.add_argument("--depth", type=int, help="with --init: more vision layers, that start as the identity")
    parser.add_argument("--limit", type=int, help="read at most so many photographs")
    parser.add_argument("--save-seconds", type=float, default=120)
    parser.add_argument("--log-every", type=int, default=20, help="steps")
    parser.add_argument("--eval-every", type=int, default=10_000, help="samples")
    parser.add_argument("--val-rows", type=int, default=192)
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that make the rows; 1 takes a third off a step"
    )
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(argv)


@flushed_denormals()
def main(argv: list[str] | None = None, damage: Damage | None = None, report: Report = show) -> Path:
    """Train and export; returns the folder of the weights. `report` gets each row of metrics.jsonl."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    checkpoint = last_checkpoint(args.output) if args.resume else None
    trim(args.output / METRICS, _step(checkpoint) * args.batch if checkpoint else 0)
    (args.output / "settings.json").write_text(json.dumps(vars(args), default=str, indent=1))
    trainer, average = trainer_of(args, checkpoint, report, damage)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    average.swap()
    curves(args.output / METRICS, args.output / "curves.png")
    told = vars(args) | {"hours": hours_of(args.output / METRICS)}
    return finish(trainer.model, trainer.processing_class, args.output / "weights", told, args.samples)


if __name__ == "__main__":
    main()
