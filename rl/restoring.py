"""Loop B as a run: damaged photographs, a restorer as policy, a frozen reasoner as judge."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rnr.degradation.loading import BUILT_IN, object_at
from rnr.degradation.photographs import read_folder
from rnr.reasoner import load_local
from rnr.restorer import BridgeScheduler, QwenEditRestorer, RestorePipeline, load
from rnr.restorer.export import samples_of
from rnr.rl.chain import chain_policy, check
from rnr.rl.config import RestorerConfig
from rnr.rl.edit_policy import EditPolicy
from rnr.rl.judge import device, judge_of
from rnr.rl.policy import BridgePolicy, DiffusionPolicy, Exploration, trainable
from rnr.rl.rewards import SeverityReward, combine, named, resolve
from rnr.rl.tasks import Task, Tasks
from rnr.rl.trainer import DiffusionGRPOTrainer, Report
from rnr.training.journal import refuse_used


def build(config: RestorerConfig, report: Report = lambda row: None) -> DiffusionGRPOTrainer:
    """A trainer as configured. Raises ValueError or OSError for what is wrong before any time is spent."""
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.policy is None and config.restorer == BUILT_IN:  # of others it is known when they are loaded
        check(config)
    known = {"severity": partial(SeverityReward, gate=config.gate)}
    resolve(config.rewards, known)
    photographs, others = (list(read_folder(folder).values()) for folder in (config.images, config.val))
    judge = judge_of(config.judge, load_local(config.reasoner, device()), config.views)
    rewards = named(config.rewards, known, judge)
    policy = policy_of(config)

    def tasks(pictures: list, count: int, seed: int) -> Tasks:
        reasoner = judge.reasoner
        return Tasks(pictures, count, config.size, seed, reasoner, config.conditioned_on, config.stage, reasoner.kinds)

    chosen: Sequence[Task] = tasks(photographs, config.tasks, config.seed)  # type: ignore[assignment]
    held: Sequence[Task] = tasks(others, config.val_tasks, config.seed + 1)  # type: ignore[assignment]
    trainer = DiffusionGRPOTrainer(policy, rewards, chosen, held, judge, config, report)
    if config.hardest < 1:
        trainer.tasks = hardest(trainer, config.hardest)
    return trainer


def policy_of(config: RestorerConfig) -> DiffusionPolicy:
    """What of the restorer is trained. ValueError for what this restorer cannot do."""
    restorer = load(config.restorer, device(), **config.options)
    if config.policy:
        return object_at(config.policy)(restorer, config)
    if isinstance(restorer, QwenEditRestorer):
        if config.train == "full":
            raise ValueError(f'{config.restorer} is trained by an adapter: train = "lora"')
        Exploration(config.num_inference_steps, tuple(config.window)).check()
        return EditPolicy(restorer, config.num_inference_steps, config.window, config.eta, config.rank, config.seed)
    if not isinstance(restorer, RestorePipeline):
        remedy = 'name one of your own: policy = "my_module:MyPolicy"'
        raise ValueError(f"{config.restorer}: no policy is known for this kind of restorer; {remedy}")
    if restorer.experts:
        return chain_policy(restorer, config)
    network, frozen = trainable(restorer.network, config.train, config.rank, config.seed)
    return BridgePolicy(network, BridgeScheduler(), exploration_of(config), frozen)


def exploration_of(config: RestorerConfig) -> Exploration:
    """How the bridge without experts draws. ValueError for a window without variance."""
    if config.explore == "dose":
        raise ValueError(f'explore = "dose" is of the legs of experts, and {config.restorer} has none')
    drawn = config.explore, config.condition_std, config.pixel_std, config.colour
    return Exploration(config.num_inference_steps, tuple(config.window), *drawn).check()


def run(config: RestorerConfig, resume: bool = False, report: Report = lambda row: None) -> Path:
    """Train, draw, export; returns the folder of the merged weights (`weights`; the adapter is beside it)."""
    refuse_used(config.out, resume)
    trainer = build(config, report)
    if trainer.accelerator.is_main_process:
        config.write(config.out)
    trainer.train(resume)
    if trainer.accelerator.is_main_process:
        finish(trainer)
    trainer.accelerator.wait_for_everyone()
    return config.out / "weights"


def finish(trainer: DiffusionGRPOTrainer) -> Path:
    """The averaged weights with a card."""
    config = trainer.config
    trainer.average.swap()
    checks = [row for row in trainer.log.rows() if "evaluation" in row]
    before, after = (_figures(check["evaluation"]) for check in (checks[0], checks[-1]))
    alarms = sum(check["alarm"] is not None for check in checks)
    card: dict[str, object] = {
        "data": f"photographs of `{Path(config.images).name}`; the licence of those photographs applies",
        "license": config.license,
        "training": f"{trainer.step} updates of Flow-GRPO on predicted severity, from `{config.restorer}`",
        "samples_before": samples_of(config.restorer),
        "rollouts": trainer.step * config.prompts * config.group,
        "command": "rnr rl restorer --config config.toml (config.json beside these weights)",
        "figures": f"held out before: {before}; after: {after}; alarms: {alarms}",
    }
    return trainer.policy.export(config.out, card)


def _figures(check: dict[str, Any]) -> str:
    values = {"reward": check["reward"], "predicted severity": check["predicted"], **check["metrics"]}
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items() if value is not None)


def hardest(trainer: DiffusionGRPOTrainer, share: float) -> list[Task]:
    """The worst restored share of the tasks, by reward; at least as many as an update needs."""
    tasks, policy = list(trainer.tasks), trainer.policy
    restored = [policy.decode(policy.rollout([task], [0], noise=0))[0] for task in tasks]
    totals = combine(trainer.score(tasks, restored), trainer.weights)
    known = [(total, place) for place, total in enumerate(totals) if total is not None]
    count = max(trainer.config.prompts, round(share * len(known)))
    return [tasks[place] for _, place in sorted(known)[:count]]
