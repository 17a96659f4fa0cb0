"""Loop C: the agent as policy. The reasoner calls `restore(plan)` as a tool, sees the new picture, stops or goes on.

Everything that touches TRL's `environment_factory` stands in this module, because TRL marks it experimental. The judge
is a frozen copy of the reasoner and diagnoses for the tool; the policy chooses what to remove and when to stop. A
reasoner that was never shown the tool's syntax (the built-in one) learns it first by supervised steps (`sft_steps`).
Learning figure: share of held-out tasks ended well (reward over 0.3) and calls per task, before and after.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from datasets import Dataset
from PIL import Image
from transformers import PrinterCallback
from trl import GRPOTrainer, SFTConfig, SFTTrainer

from rnr import prompts
from rnr.degradation.arithmetic import flushed_denormals
from rnr.degradation.intent import Intent
from rnr.degradation.photographs import read_folder, to_uint8
from rnr.degradation.protocols import Restorer
from rnr.reasoner import Reasoner, load_local, views_of
from rnr.reasoner.card import folder_of, read_card
from rnr.reasoner.export import export
from rnr.restorer import load
from rnr.rl.config import AgentConfig
from rnr.rl.judge import device, judge_of
from rnr.rl.reasoning import adapter, follow, resumed, settings
from rnr.rl.record import Log
from rnr.rl.rewards import SeverityReward, ask, named
from rnr.rl.tasks import Tasks, check_truth
from rnr.rl.trainer import Report
from rnr.training.journal import refuse_used

WELL = 0.3  # reward from which a task counts as ended well
PROMPT = "restore"  # the tool's name is all that is asked; a byte a token in the built-in tokenizer
TEMPLATE = (  # the built-in chat template, with calls of a tool and its answers
    "{%- for message in messages %}<|im_start|>{{ message.role }}"
    "{%- if message.content is string %}{{ message.content }}{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{%- else %}{{ part.text }}{%- endif %}"
    "{%- endfor %}{%- endif %}"
    "{%- for call in message.tool_calls or [] %}<call>{{ call.function | tojson }}</call>{%- endfor %}"
    "<|im_end|>{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant{%- endif %}"
)
RESPONSE = {  # how transformers reads an answer: <call>"noise","haze"</call> is restore(plan='"noise","haze"')
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant",
    "fields": {
        "tool_calls": {
            "open": "<call>", "close_pattern": r"</call>\s*", "repeats": True, "content": "text",
            "transform": {"type": "function", "function": {"name": "restore", "arguments": {"plan": "{content}"}}},
        },
        "content": {"close_pattern": r"<\|im_end\|>\s*", "content": "text"},
    },
}  # fmt: skip


def picture_blocks(picture_CHW: torch.Tensor) -> list[dict[str, Any]]:
    """The overview as a message's content."""
    return [{"type": "image", "image": Image.fromarray(views_of(to_uint8(picture_CHW))[0])}]


class Attempt:
    """TRL's environment: one attempt at one picture. Public methods are the policy's tools."""

    def __init__(self, tasks: Tasks, reasoner: Reasoner, restorer: Restorer, max_calls: int) -> None:
        self._tasks, self._reasoner, self._restorer, self._max = tasks, reasoner, restorer, max_calls

    def reset(self, number: int, **columns: Any) -> None:
        """Take up task `number`; its picture is in the prompt."""
        self.task = self._tasks[number]
        self.degraded, self.clean, self.present = self.task.degraded, self.task.clean, self.task.present
        self.picture, self.calls = self.degraded, 0

    def restore(self, plan: str) -> list:
        """Remove kinds of damage from the picture and look at it again.

        Args:
            plan: the kinds to remove, separated by commas, such as noise,haze

        Returns:
            The new picture.
        """
        kinds = [kind for kind in plan.replace('"', "").split(",") if kind]
        unknown = [kind for kind in kinds if kind not in self._reasoner.kinds]
        if unknown or not kinds:
            raise ValueError(f"unknown kind {', '.join(unknown) or '(none)'}; known: {', '.join(self._reasoner.kinds)}")
        if self.calls >= self._max:
            raise ValueError(f"no more than {self._max} calls")
        self.calls += 1
        record = self._reasoner.diagnose([to_uint8(self.picture)])[0]
        pixels = self.picture.permute(1, 2, 0).contiguous().numpy()
        result = self._restorer.restore(pixels, record, Intent(kinds=kinds))
        self.picture = torch.from_numpy(result.pixels_HWC3).permute(2, 0, 1)
        return picture_blocks(self.picture)


class CallCost:
    """What the calls of an attempt cost; reports the share of tasks ended well and the calls as metrics."""

    __name__ = "calls"

    def __init__(self, cost: float, severity: SeverityReward) -> None:
        self.cost, self.severity = cost, severity

    def __call__(self, prompts, completions, environments, log_metric: Callable | None = None, **columns):
        if log_metric is not None:
            scores = self.severity(prompts, completions, environments=environments)
            log_metric("ended_well", sum((s or 0) > WELL for s in scores) / len(scores))
            log_metric("calls", sum(e.calls for e in environments) / len(environments))
        return [-self.cost * e.calls for e in environments]


def rows(tasks: Tasks) -> Dataset:
    """TRL's rows: the picture, the prompt, the number of the task."""
    blocks = [picture_blocks(tasks[n].degraded)[0]["image"] for n in range(len(tasks))]
    prompt = [{"role": "user", "content": PROMPT}]
    return Dataset.from_list([{"images": [image], "prompt": prompt, "number": n} for n, image in enumerate(blocks)])


def lessons(tasks: Tasks) -> Dataset:
    """What the syntax looks like: a damaged picture: a call that names its kinds; a clean one: `done`."""
    made = []
    for n in range(len(tasks)):
        task = tasks[n]
        call = ",".join(f'"{kind}"' for kind in task.truth.plan)  # a quoted kind is one token
        answers = [(task.degraded, {"role": "assistant", "content": f"<call>{call}</call>"})]
        answers.append((task.clean, {"role": "assistant", "content": "done"}))
        for picture, answer in answers:
            images = [picture_blocks(picture)[0]["image"]]
            made.append({"images": images, "prompt": [{"role": "user", "content": PROMPT}], "completion": [answer]})
    return Dataset.from_list(made)


def teach(policy: Reasoner, tasks: Tasks, config: AgentConfig) -> None:
    """Supervised steps on the tool's syntax, in place."""
    args = SFTConfig(
        output_dir=str(config.out / "syntax"), use_cpu=not torch.cuda.is_available(), bf16=False, max_length=None,
        gradient_checkpointing=False, max_steps=config.sft_steps, per_device_train_batch_size=4, learning_rate=1e-3,
        save_strategy="no", report_to="none", seed=config.seed, disable_tqdm=True, logging_steps=10_000,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=policy.model.train(), args=args, train_dataset=lessons(tasks), processing_class=policy.processor
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def build(config: AgentConfig) -> GRPOTrainer:
    """GRPOTrainer over attempts. ValueError for what cannot work, before any time is spent."""
    restorer = load(config.restorer)
    policy = load_local(config.reasoner, device())
    frozen = Reasoner(copy.deepcopy(policy.model), policy.processor, policy.card, policy.name, policy.model_hash)
    judge = judge_of(config.judge, frozen, config.views)
    judge.refuse_policy(policy.model.parameters())
    photographs, others = (list(read_folder(folder).values()) for folder in (config.images, config.val))
    drawn: dict[str, Any] = {"conditioned_on": "true", "stage": config.stage, "names": policy.kinds}
    tasks = Tasks(photographs, config.rows, config.size, config.seed, **drawn)
    held = Tasks(others, config.val_rows, config.size, config.seed + 1, **drawn)
    for some in (tasks, held):
        check_truth(some)  # type: ignore[arg-type]
    severity = SeverityReward(judge, config.gate)
    known = {"severity": severity, "calls": CallCost(config.call_cost, severity)}
    rewards = named(config.rewards, known, judge)
    probe = attempts(tasks, frozen, restorer, config)()
    probe.reset(0)
    for name, reward in rewards.items():
        ask(name, reward, prompts=[""], completions=[""], environments=[probe])
    if policy.card:  # weights of our own: their tokenizer knows of no tools
        policy.processor = copy.deepcopy(policy.processor)
        policy.processor.chat_template = policy.processor.tokenizer.chat_template = TEMPLATE
        policy.processor.tokenizer.response_template = RESPONSE
    if config.sft_steps:
        teach(policy, tasks, config)
    both = Both(tasks, held)
    trainer = GRPOTrainer(
        model=policy.model.train(), processing_class=policy.processor,
        reward_funcs=list(rewards.values()),  # type: ignore[arg-type]
        args=settings(
            config, max_tool_calling_iterations=config.max_calls, save_steps=config.save_every,
            save_total_limit=2, per_device_eval_batch_size=config.group, num_generations_eval=config.group,
        ),
        train_dataset=rows(tasks), eval_dataset=both.shifted(rows(held)), peft_config=adapter(config.rank),
        environment_factory=attempts(both, frozen, restorer, config),  # type: ignore[arg-type]
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    return trainer


class Both:
    """Tasks to train on, then the held-out ones, under one numbering."""

    def __init__(self, tasks: Tasks, held: Tasks) -> None:
        self.tasks, self.held = tasks, held

    def __getitem__(self, number: int):
        own = len(self.tasks)
        return self.tasks[number] if number < own else self.held[number - own]

    def shifted(self, held_rows: Dataset) -> Dataset:
        return held_rows.map(lambda row: {"number": row["number"] + len(self.tasks)})


def attempts(tasks: Any, reasoner: Reasoner, restorer: Restorer, config: AgentConfig) -> Callable[[], Attempt]:
    """The factory that TRL calls."""
    return lambda: Attempt(tasks, reasoner, restorer, config.max_calls)


@flushed_denormals()
def run(config: AgentConfig, resume: bool = False, report: Report = lambda row: None) -> Path:
    """Train; returns the folder of the merged weights (`weights`; the adapter is beside it). metrics.jsonl holds the
    learning figure before and after. A resumed run repeats the supervised steps, which end the same."""
    if config.threads:
        torch.set_num_threads(config.threads)
    refuse_used(config.out, resume)
    checkpoint = resumed(config.out) if resume else None
    trainer = build(config)
    log = follow(trainer, config, checkpoint, report)
    if not checkpoint:
        _figure(trainer, log, report)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    _figure(trainer, log, report)
    if log:
        policy: Any = trainer.model
        policy.save_pretrained(str(config.out / "adapter"))
        record = {"seed": config.seed, "photographs": config.images.name, "agent_steps": config.max_steps}
        record["license"] = config.license
        card = read_card(folder_of(config.reasoner) or Path(config.reasoner))
        prompt = prompts.load(card.get("prompt", "diagnose_instruct"))
        export(policy.merge_and_unload(), trainer.processing_class, config.out / "weights", prompt, record)
    return config.out / "weights"


def _figure(trainer: GRPOTrainer, log: Log | None, report: Report) -> None:
    """Share of held-out tasks ended well and calls per task, by TRL's own evaluation."""
    values = trainer.evaluate()
    shown = {name: values.get(f"eval_{name}") for name in ("reward", "ended_well", "calls", "tools/failure_frequency")}
    row = {"step": trainer.state.global_step, "evaluation": {"metrics": shown}}
    if log:
        log.write(row)
        report(row)
