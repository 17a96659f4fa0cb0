"""Flow-GRPO (Liu et al. 2025) for any restorer that offers `policy.DiffusionPolicy`, on accelerate.

An update: restore each of a few pictures `group` times with exploration, score the results, compare within the group,
and raise the probability of the draws that did better. Groups are whole on a process, every draw has a seed of its own
and gradients are summed over all processes, so that several processes do what one does.
Log-probabilities are means over dimensions; zero-spread groups are dropped and counted; the reference is the adapter
off; the weights' average is what is evaluated. Nothing random is kept between steps, so a resumed run is an unbroken
one.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from trl.trainer.utils import RepeatSampler

from rnr.quality.loading import load as load_scorer
from rnr.rl.advantage import Advantages, decoupled_advantages, group_advantages
from rnr.rl.config import RestorerConfig
from rnr.rl.judge import Judge
from rnr.rl.loss import step_loss
from rnr.rl.policy import DiffusionPolicy, Trajectory
from rnr.rl.record import Log, Row, assessed, draw, judged, mean, sheet, warn_text
from rnr.rl.rewards import Reward, ask, combine
from rnr.rl.tasks import Task, check_truth
from rnr.training import checkpoint
from rnr.training.trackers import check_trackers

Report = Callable[[Row], None]


class DiffusionGRPOTrainer:
    """See the module. `rewards` by name; `judge` is asked for predicted severities (a metric), and is not the policy.

    Raises ValueError before any time is spent: a reward that answers wrongly, tasks without truth, a judge that is the
    policy, groups that cannot be shared among the processes.
    """

    def __init__(
        self, policy: DiffusionPolicy, rewards: Mapping[str, Reward], tasks: Sequence[Task], held_out: Sequence[Task],
        judge: Judge, config: RestorerConfig, report: Report = lambda row: None,
    ) -> None:  # fmt: skip
        self.policy, self.rewards, self.tasks, self.held_out = policy, dict(rewards), tasks, held_out
        self.judge, self.config, self.report, self.out = judge, config, report, Path(config.out)
        self.scorer = load_scorer(config.scorer) if config.scorer else None
        check_trackers(config.report_to)
        cpu = not torch.cuda.is_available()  # said outright, or processes on a CPU would not find each other
        self.accelerator = Accelerator(cpu=cpu, log_with=config.report_to or None, project_dir=str(config.out))
        self.weights = {name: config.weights.get(name, 1.0) for name in rewards}
        self._check()
        policy.module.to(self.accelerator.device)
        self.live = {name: p for name, p in policy.module.named_parameters() if p.requires_grad}
        self.average = checkpoint.Average(self.live, config.ema)
        self.optimizer = torch.optim.AdamW(self.live.values(), lr=config.lr, weight_decay=0.0, betas=(0.9, 0.99))
        self.step, self.saved = 0, self.out / checkpoint.CHECKPOINT

    def _check(self) -> None:
        config, processes = self.config, self.accelerator.num_processes
        strange = set(config.weights) - set(self.rewards)
        if strange:
            raise ValueError(f"weights for rewards that are not used: {', '.join(sorted(strange))}")
        if config.group < 2:
            raise ValueError(f"a group of {config.group} has nobody to compare with: take 2 or more")
        if config.prompts % processes:
            raise ValueError(f"{config.prompts} pictures in an update cannot be shared by {processes} processes")
        for tasks in (self.tasks, self.held_out):
            check_truth(tasks)
        if len(self.tasks) < config.prompts:
            raise ValueError(f"{len(self.tasks)} tasks do not fill an update of {config.prompts} pictures")
        self.judge.refuse_policy(self.policy.module.parameters())
        probe = self.tasks[0]
        self.score([probe, probe], [probe.degraded, probe.degraded])

    def score(self, tasks: Sequence[Task], pictures: Sequence[torch.Tensor]) -> dict[str, list[float | None]]:
        """Every reward's scores of restored pictures."""
        columns = {
            "prompts": [task.number for task in tasks], "completions": list(pictures),
            "degraded": [task.degraded for task in tasks], "clean": [task.clean for task in tasks],
            "present": [task.present for task in tasks],
        }  # fmt: skip
        return {name: ask(name, reward, **columns) for name, reward in self.rewards.items()}

    def train(self, resume: bool = False) -> None:
        """To the last step, or until the alarm where the configuration says so."""
        if resume:
            self.step = checkpoint.load(self.saved, self.live, self.optimizer, self.average)["step"]
        main = self.accelerator.is_main_process
        if main:
            self.out.mkdir(parents=True, exist_ok=True)
            self.log = Log(self.out, self.step)
        if self.config.report_to:
            settings = {k: v if isinstance(v, int | float | str) else str(v) for k, v in dict(self.config).items()}
            self.accelerator.init_trackers("rl", config=settings)
        stopped = not self.step and self._evaluate()
        started, begun = time.monotonic(), self.step
        for batch in self._batches(self.step):
            if stopped:
                break
            row = self.update(batch)
            pace = (time.monotonic() - started) / (self.step - begun)
            self._write(row | {"seconds": pace, "seconds_left": pace * (self.config.max_steps - self.step)})
            last = self.step == self.config.max_steps
            if last or self.step % self.config.eval_every == 0:
                stopped = self._evaluate()
            if main and (last or stopped or self.step % self.config.save_every == 0):
                checkpoint.save(self.saved, self.live, self.optimizer, {"step": self.step}, self.average)
        self.accelerator.wait_for_everyone()
        if self.config.report_to:
            self.accelerator.end_training()

    def _batches(self, done: int) -> Iterator[list[int]]:
        """The numbers of the tasks of each update that is left, the same on every process."""
        config = self.config
        sampler = RepeatSampler(self.tasks, batch_size=config.prompts, mini_repeat_count=1, seed=config.seed)
        endless = itertools.chain.from_iterable(iter(sampler) for _ in itertools.count())
        for step in range(config.max_steps):
            batch = list(itertools.islice(endless, config.prompts))
            if step >= done:
                yield batch

    def update(self, batch: Sequence[int]) -> Row:
        """Roll out, score, compare, take `updates` optimiser steps; returns the row of the record."""
        config, process = self.config, self.accelerator.process_index
        share = config.prompts // self.accelerator.num_processes
        groups, local = [], []
        for place in range(process * share, (process + 1) * share):
            trajectory, scores, totals = self._rollouts(batch[place], place)
            advantages = self._advantages(scores, totals)
            values = torch.tensor(advantages.values, device=self.accelerator.device)
            legs = sorted({draw.kind for draw in trajectory.draws if draw.kind})
            local.append({"scores": scores, "totals": totals, "flat": advantages.flat_groups,
                          "spread": advantages.spread, "legs": legs})  # fmt: skip
            groups += [] if advantages.flat_groups else [(trajectory, values)]
        everyone: list[Row] = gather_object(local)
        row = self._row(everyone)
        if row["flat"] < len(everyone):
            for _ in range(config.updates):
                row |= self._descend(groups, len(everyone))
            self.average.update(self.step + 1)
        self.step += 1
        moved = getattr(self.policy, "moved", None)  # of policies that have legs
        return {"step": self.step} | row | ({"moved": moved()} if moved else {})

    def _advantages(self, scores: Mapping[str, list[float | None]], totals: list[float | None]) -> Advantages:
        """Of one group, by `aggregation`."""
        config = self.config
        rest = config.group, config.advantage_clip, config.by_std
        if config.aggregation == "normalize_then_sum":
            return decoupled_advantages(scores, self.weights, *rest)
        return group_advantages(totals, *rest)

    def _rollouts(self, number: int, place: int) -> tuple[Trajectory, dict, list[float | None]]:
        tasks = [self.tasks[number]] * self.config.group
        seeds = [draw_seed(self.config.seed, self.step, place, member) for member in range(self.config.group)]
        trajectory = self.policy.rollout(tasks, seeds)
        scores = self.score(tasks, list(self.policy.decode(trajectory)))
        return trajectory, scores, combine(scores, self.weights)

    def _descend(self, groups: Sequence[tuple[Trajectory, torch.Tensor]], count: int) -> Row:
        """One optimiser step; `count` groups there are on all processes."""
        self.optimizer.zero_grad(set_to_none=False)
        draws = []
        for trajectory, advantages in groups:
            for one in trajectory.draws:
                part = step_loss(self.policy, trajectory, one, advantages, self.config.clip, self.config.beta)
                (part.loss / (count * len(trajectory.draws))).backward()
                off = float((part.ratio - 1).abs().max())
                draws.append(
                    {"kl": float(part.kl.mean()), "ratio_off": off, "clipped": float(part.clipped.float().mean())}
                )
        self._sum_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.live.values(), self.config.max_grad_norm)
        self.optimizer.step()
        everyone = gather_object(draws)
        return {name: mean([t[name] for t in everyone]) for name in everyone[0]} | {"grad_norm": float(norm)}

    def _sum_gradients(self) -> None:
        """Over all processes, as one vector."""
        for p in self.live.values():
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        if self.accelerator.num_processes == 1:
            return
        flat = torch.cat([p.grad.flatten() for p in self.live.values()])  # type: ignore[union-attr]
        parts = self.accelerator.reduce(flat, "sum").split([p.numel() for p in self.live.values()])
        for p, part in zip(self.live.values(), parts):
            p.grad = part.view_as(p)

    def _row(self, everyone: Sequence[Row]) -> Row:
        """Scores by reward (weights stand in the configuration), their sum, and what could not be used."""
        totals = [total for group in everyone for total in group["totals"]]
        scores = {name: mean([s for group in everyone for s in group["scores"][name]]) for name in self.rewards}
        return {
            "reward": mean(totals), "scores": scores, "spread": mean([group["spread"] for group in everyone]),
            "flat": sum(group["flat"] for group in everyone), "unscored": sum(total is None for total in totals),
            "spreads": [group["spread"] for group in everyone], "leg_spreads": leg_spreads(everyone),
        }  # fmt: skip

    def _evaluate(self) -> bool:
        """Held-out pictures, restored deterministically by the averaged weights; True if the run should stop."""
        stop = False
        if self.accelerator.is_main_process:
            pictures, shown = self.evaluate()
            row = assessed(self.log.rows(), self.step, pictures)
            found = row["alarm"]
            sheet(shown[:6], self.out / "samples" / f"step-{self.step:05d}.png")
            self._write(row)
            draw(self.out)
            stop = found is not None and self.config.on_alarm == "stop"
            if found is not None:
                self.report({"step": self.step, "warning": warn_text(found)})
        return bool(gather_object([stop])[0])

    def evaluate(self) -> tuple[list[Row], list[list[torch.Tensor]]]:
        """A row per held-out picture (scores and metrics apart), and (damaged, restored, clean) of each."""
        self.average.swap()
        try:
            restored = [self.policy.decode(self.policy.rollout([t], [0], noise=0))[0] for t in self.held_out]
        finally:
            self.average.swap()
        tasks = list(self.held_out)
        scores = self.score(tasks, restored)
        rows = judged(self.judge, tasks, restored, scores, combine(scores, self.weights), self.scorer)
        return rows, [[t.degraded, picture, t.clean] for t, picture in zip(tasks, restored)]

    def _write(self, row: Row) -> None:
        if not self.accelerator.is_main_process:
            return
        self.log.write(row)
        self.report(row)
        if self.config.report_to:
            self.accelerator.log(numbers(row), step=self.step)


def leg_spreads(groups: Sequence[Row]) -> dict[str, float]:
    """By kind, the mean spread of the groups in which its leg was drawn."""
    kinds = dict.fromkeys(kind for group in groups for kind in group["legs"])
    return {kind: mean([g["spread"] for g in groups if kind in g["legs"]]) or 0.0 for kind in kinds}


def numbers(row: Row, before: str = "") -> dict[str, float]:
    """The numbers of a row for a tracker, parts of it by path (evaluation/metrics/psnr)."""
    found: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= numbers(value, f"{before}{name}/")
        elif isinstance(value, int | float):
            found[before + name] = value
    return found


def draw_seed(*numbers: int) -> int:
    """One seed of several numbers."""
    value = 0
    for number in numbers:
        value = (value * 1_000_003 + number + 1) % 2**61
    return value
