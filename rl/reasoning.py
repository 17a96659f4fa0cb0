"""Loop A as a run: TRL's GRPOTrainer on the reasoner's answers, compared with supervised training for the same time.

A reward scores the severity that an answer names. The expected severity is the policy's, one for a whole group: it is
measured, before and after, and never trains.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from datasets import Dataset
from PIL import Image
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from rnr.degradation.arithmetic import flushed_denormals
from rnr.degradation.diagnosis import Diagnosis
from rnr.degradation.photographs import read_folder, to_uint8
from rnr.evaluation.metrics import calibration_error, presence
from rnr.reasoner import Reasoner, load_local
from rnr.reasoner.callbacks import last_checkpoint
from rnr.reasoner.card import folder_of
from rnr.reasoner.data import damaged_batch
from rnr.reasoner.export import export
from rnr.rl.config import ReasonerConfig
from rnr.rl.faithful import Faithful
from rnr.rl.judge import device
from rnr.rl.record import Log, Row, draw
from rnr.rl.rewards import REASONER, ask, named
from rnr.rl.trainer import Report
from rnr.training.journal import refuse_used
from rnr.training.trackers import check_trackers

BATCH = 8  # pictures of one size are made at a time
TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"  # what gets a LoRA adapter
NAMES = {"reward": "reward", "kl": "kl", "clipped": "clip_ratio/region_mean", "grad_norm": "grad_norm",
         "spread": "reward_std", "flat": "frac_reward_zero_std", "length": "completions/mean_length"}  # fmt: skip


def pictures(folder: Path, count: int, seed: int, names: Sequence[str]) -> list[tuple[torch.Tensor, Diagnosis]]:
    """`count` damaged regions of these photographs, (3, H, W), with their true diagnoses of these kinds."""
    photographs, made = list(read_folder(folder).values()), []
    for number in range(-(-count // BATCH)):
        images, truths, *_ = damaged_batch(photographs, seed, number, progress=1.0, batch=BATCH, names=names)
        made += list(zip(images, truths))
    return made[:count]


def dataset(folder: Path, count: int, seed: int, reasoner: Reasoner) -> Dataset:
    """TRL's rows: the views that this reasoner takes of a region, its prompt, the true Diagnosis as JSON."""
    prompt, rows = [{"role": "user", "content": reasoner.prompt_text}], []
    for image, truth in pictures(folder, count, seed, reasoner.kinds):
        views = [Image.fromarray(view) for view in reasoner.views(to_uint8(image))]
        rows.append({"images": views, "prompt": prompt, "truth": truth.to_json()})
    return Dataset.from_list(rows)


def figures(reasoner: Reasoner, held: Sequence[tuple[torch.Tensor, Diagnosis]]) -> dict[str, float]:
    """On held-out regions, from greedy diagnoses and beliefs: mean error of the expected severity over the kinds that
    are there, presence F1, calibration error of presence, share of valid answers."""
    records = reasoner.diagnose([to_uint8(image) for image, _ in held])
    errors, sure, there, said = [], [], [], []
    for record, (_, truth) in zip(records, held):
        for kind, belief in record.beliefs.items():
            present = truth.findings[kind].present
            sure.append(belief.probability)
            there.append(bool(present))
            said.append(record.diagnosis is not None and kind in record.diagnosis.present)
            errors += [abs(belief.expected_severity - (truth.findings[kind].severity or 0))] if present else []
    return {
        "severity_mae": sum(errors) / max(1, len(errors)), "f1": presence(there, said).f1,
        "calibration_error": calibration_error(sure, there),
        "valid": sum(r.error is None for r in records) / len(records),
    }  # fmt: skip


class Record(TrainerCallback):
    """TRL's logs as rows of metrics.jsonl, and their curves."""

    def __init__(self, log: Log, report: Report) -> None:
        self.log, self.report = log, report
        self.started: tuple[float, int] | None = None

    def on_step_begin(self, args, state, control, **kwargs):
        self.started = self.started or (time.monotonic(), state.global_step)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not logs or "reward" not in logs or self.started is None:
            return
        pace = (time.monotonic() - self.started[0]) / max(1, state.global_step - self.started[1])
        row: Row = {"step": state.global_step} | {name: logs.get(theirs) for name, theirs in NAMES.items()}
        row["scores"] = {n: v for n, v in logs.items() if n.startswith(("rewards/", "tools/")) or n == "ended_well"}
        row |= {"seconds": pace, "seconds_left": pace * (state.max_steps - state.global_step)}
        self.log.write(row)
        self.report(row)

    def on_train_end(self, args, state, control, **kwargs):
        draw(self.log.path.parent)


class StopAfter(TrainerCallback):
    """Ends a training after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.started = seconds, time.monotonic()

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = time.monotonic() - self.started >= self.seconds


def settings(config: Any, **more: Any) -> GRPOConfig:
    """TRL's own, for loops A and C. Raises as `check_trackers`."""
    check_trackers(config.report_to)
    return GRPOConfig(
        output_dir=str(config.out), use_cpu=not torch.cuda.is_available(), bf16=torch.cuda.is_available(),
        gradient_checkpointing=False, per_device_train_batch_size=config.prompts * config.group,
        num_generations=config.group, max_completion_length=config.max_tokens, temperature=config.temperature,
        learning_rate=config.lr, lr_scheduler_type="constant", beta=config.beta, max_steps=config.max_steps,
        logging_steps=1, report_to=config.report_to or "none", seed=config.seed, remove_unused_columns=False,
        disable_tqdm=True, dataloader_num_workers=0, multi_objective_aggregation=config.aggregation, **more,
    )  # fmt: skip


def adapter(rank: int):
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS, task_type="CAUSAL_LM")


def build(config: ReasonerConfig) -> GRPOTrainer:
    """GRPOTrainer as configured. ValueError for what cannot work, before any time is spent."""
    rewards = named(config.rewards, REASONER)
    strange = set(config.weights) - set(rewards)
    if strange:
        raise ValueError(f"weights for rewards that are not used: {', '.join(sorted(strange))}")
    if config.train == "full" and config.beta:
        raise ValueError("beta needs a reference: train = 'lora' has one (the adapter off); or set beta = 0")
    policy = load_local(config.reasoner, dtype=getattr(torch, config.dtype))
    rows = dataset(config.images, config.rows, config.seed, policy)
    for name, reward in rewards.items():
        ask(name, reward, prompts=[""] * 2, completions=[rows[0]["truth"], "no"], truth=[rows[0]["truth"]] * 2)
    weights = {name: config.weights.get(name, 1.0) for name in rewards}
    vllm = {"use_vllm": True, "vllm_mode": config.vllm_mode} if config.use_vllm else {}
    trainer = GRPOTrainer(
        model=policy.model.train(), processing_class=policy.processor, reward_funcs=list(rewards.values()),
        args=settings(
            config, epsilon=config.clip, reward_weights=list(weights.values()), save_steps=config.save_every,
            save_total_limit=2, **vllm,
        ),
        train_dataset=rows, peft_config=adapter(config.rank) if config.train == "lora" else None,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    return trainer


def resumed(folder: Path) -> Path:
    """The checkpoint to go on from (one that a kill left half-written is none). ValueError without one."""
    checkpoint = last_checkpoint(folder, "trainer_state.json")
    if checkpoint is None:
        raise ValueError(f"{folder}: no checkpoint here to resume from; start without --resume")
    return checkpoint


def follow(trainer: GRPOTrainer, config: Any, checkpoint: Path | None, report: Report) -> Log | None:
    """Begin the record, or go on with it from a checkpoint; None on all processes but one."""
    if not trainer.accelerator.is_main_process:
        return None
    config.write(config.out)
    log = Log(config.out, int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0)
    trainer.add_callback(Record(log, report))
    return log


@flushed_denormals()
def run(config: ReasonerConfig, resume: bool = False, report: Report = lambda row: None) -> Path:
    """Train, measure before and after (and the supervised control), export; returns the folder of the merged weights
    (`weights`; the adapter is beside it)."""
    if config.threads:
        torch.set_num_threads(config.threads)
    refuse_used(config.out, resume)
    checkpoint = resumed(config.out) if resume else None
    trainer = build(config)
    if config.control and trainer.accelerator.num_processes > 1:
        raise ValueError("control = true compares trainings of one process; set it to false here")
    log = follow(trainer, config, checkpoint, report)
    held, before = [], None
    if log:
        before = load_local(config.reasoner, device())
        held = pictures(config.val, config.val_rows, config.seed + 1, before.kinds)
        if not checkpoint:
            _tell(log, report, 0, figures(before, held))
        if config.faithfulness:
            measure = Faithful(
                config, lambda: policy_of(trainer, before), lambda step, found: _tell(log, report, step, found)
            )
            trainer.add_callback(measure)
            if not checkpoint:
                measure(0)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if log is None or before is None:
        return config.out / "weights"
    model: Any = trainer.model
    if config.train == "lora":
        model.save_pretrained(str(config.out / "adapter"))
        model = model.merge_and_unload()
    after = Reasoner(model, before.processor, before.card, "after GRPO")
    _tell(log, report, trainer.state.global_step, figures(after, held))
    if config.control:
        steps = [row for row in log.rows() if "seconds" in row]
        seconds = sum(row["seconds"] for row in steps) / len(steps) * trainer.state.global_step
        taught = Reasoner(supervised(config, seconds), before.processor, before.card, "after SFT")
        _tell(log, report, trainer.state.global_step, figures(taught, held), "supervised, same time")
    record = {"seed": config.seed, "photographs": config.images.name, "grpo_steps": config.max_steps}
    record["license"] = config.license
    return export(model, before.processor, config.out / "weights", before.prompt, record)


def policy_of(trainer: GRPOTrainer, start: Reasoner) -> Reasoner:
    """The policy as it is, as a reasoner with the card and processor of the one it began with."""
    now = Reasoner(start.model, start.processor, start.card, "policy")
    now.model = trainer.accelerator.unwrap_model(trainer.model)
    return now


def _tell(log: Log, report: Report, step: int, values: dict[str, float], who: str = "policy") -> None:
    row = {"step": step, "evaluation": {"who": who, "metrics": values}}
    log.write(row)
    report(row)


def supervised(config: ReasonerConfig, seconds: float):
    """The control: `rnr.reasoner.train` from the same weights for the same time; returns the averaged model."""
    from rnr.reasoner.settings import ReasonerRun
    from rnr.reasoner.train import trainer_of

    out = config.out / "control"
    out.mkdir(parents=True, exist_ok=True)
    init = folder_of(config.reasoner) or config.reasoner
    wanted = ReasonerRun(
        data=config.images, output=out, init=Path(init), lr=config.control_lr, samples=10_000_000, warmup=10,
        seed=config.seed, save_seconds=1e9, resume=True,
    )  # fmt: skip
    trainer, average = trainer_of(wanted, None, report=lambda row: None)
    trainer.add_callback(StopAfter(seconds))
    trainer.train()
    average.swap()
    return trainer.model
