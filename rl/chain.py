"""The chain of experts as a policy of `rnr rl restorer`: what is drawn of its legs (`rl.legs`) is learned by rewards.

Drawn rollouts go through `RestorePipeline.restore` itself, so that without noise the policy is the restorer. Pictures
are restored one by one; a batch is one task several times (an update's group), whose legs are the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rnr.degradation.diagnosis import Belief
from rnr.restorer.doses import Doses
from rnr.restorer.export import export_pipeline
from rnr.restorer.pipeline import RestorePipeline
from rnr.rl.config import RestorerConfig
from rnr.rl.legs import ConditionExploration, DoseExploration, LegExploration, Means, PixelExploration
from rnr.rl.policy import Draw, Exploration, Trajectory
from rnr.rl.tasks import Task

PLAIN = Belief(probability=0.95, severity_if_present=40, spread=6)  # for which the card names doses; a choice


class ChainPolicy:
    """A restorer of experts to be trained by rewards (`policy.DiffusionPolicy`).

    Args:
        restorer: It is changed in place.
        exploration: What is drawn, made for this restorer.

    Example:
        >>> restorer = rnr.restorer.load("built-in")  # doctest: +SKIP
        >>> policy = ChainPolicy(restorer, DoseExploration(restorer, std=0.3, steps=1))  # doctest: +SKIP
        >>> trajectory = policy.rollout([task] * 4, seeds=[0, 1, 2, 3])  # doctest: +SKIP
    """

    def __init__(self, restorer: RestorePipeline, exploration: LegExploration) -> None:
        self.restorer, self.exploration, self.module = restorer, exploration, exploration.module
        self.trained = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        self.began = {name: p.detach().clone() for name, p in self.trained.items()}

    @torch.no_grad()
    def rollout(self, tasks: Sequence[Task], seeds: Sequence[int], noise: float = 1.0) -> Trajectory:
        """Restore one task several times, a seed each. `noise` 0 is the restorer. ValueError for several tasks."""
        task = tasks[0]
        if any(other.number != task.number for other in tasks) or task.source is None:
            raise ValueError("this policy restores one picture at a time, as often as is wanted, and by a diagnosis")
        pixels = task.degraded.permute(1, 2, 0).contiguous().numpy()
        made = [
            self.exploration.rollout(pixels, task.source, torch.Generator().manual_seed(seed), noise) for seed in seeds
        ]
        final = torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture, _ in made])
        degraded = torch.stack([task.degraded for task in tasks])
        draws = [joined(same) for same in zip(*(drawn for _, drawn in made))]
        trajectory = Trajectory(degraded, task.source, draws, final)
        for draw in draws:
            draw.log_prob = self.log_prob(trajectory, draw)[0]
        return trajectory

    def log_prob(self, trajectory: Trajectory, draw: Draw) -> tuple[torch.Tensor, Means]:
        """Log-probability (B,) of a draw under the policy as it is now, and the means of what was drawn."""
        return self.exploration.log_prob(trajectory.condition, draw)

    def kl(self, draw: Draw, means: Means, others: Means) -> torch.Tensor:
        """KL (B,) of a draw between two policies, from their means."""
        return self.exploration.kl(draw, means, others)

    def decode(self, trajectory: Trajectory) -> torch.Tensor:
        """The restored pictures (B, 3, H, W) in [0, 1], on the CPU."""
        assert trajectory.final is not None
        return trajectory.final.clamp(0, 1).float().cpu()

    @contextlib.contextmanager
    def reference(self) -> Iterator[None]:
        """What training began with, in place of the weights; their memory is left alone, for a backward pass."""
        live = {name: p.data for name, p in self.trained.items()}
        try:
            for name, p in self.trained.items():
                p.data = self.began[name].to(p)
            yield
        finally:
            for name, p in self.trained.items():
                p.data = live[name]

    def moved(self) -> dict[str, float]:
        """By kind, how far its trained weights are from where they began (L2 norm): which legs learn."""
        away: dict[str, float] = {}
        for name, p in self.trained.items():
            (kind,) = [part for part in name.split(".") if part in self.restorer.kinds]
            away[kind] = away.get(kind, 0.0) + float((p.detach() - self.began[name].to(p)).square().sum())
        return {kind: square**0.5 for kind, square in away.items()}

    def export(self, out: Path, card: Mapping[str, object]) -> Path:
        """The whole restorer in `out`/weights, for `rnr restore --restorer`; an adapter, if any, in `out`/adapter."""
        module: Any = self.module
        if hasattr(module, "merge_and_unload"):
            module.save_pretrained(str(out / "adapter"), safe_serialization=True)
            module.merge_and_unload()
        learned = {} if self.restorer.doses is None else {"doses": dose_text(self.restorer.doses)}
        return export_pipeline(self.restorer, out / "weights", {**card, **learned})


def chain_policy(restorer: RestorePipeline, config: RestorerConfig) -> ChainPolicy:
    """The policy that a recipe describes. ValueError for settings that do not go together."""
    check(config)
    steps = config.num_inference_steps
    if config.explore == "dose":
        return ChainPolicy(restorer, DoseExploration(restorer, config.dose_std, steps))
    if config.explore == "condition":
        return ChainPolicy(restorer, ConditionExploration(restorer, config.condition_std, steps))
    drawn = config.pixel_std, config.colour, steps, config.window, config.train, config.rank, config.seed
    return ChainPolicy(restorer, PixelExploration(restorer, *drawn))


def check(config: RestorerConfig) -> None:
    """ValueError for what this policy cannot do."""
    if config.explore == "both":
        raise ValueError('of legs one thing is explored: explore = "dose", "condition" or "pixels"')
    if config.conditioned_on == "blind":
        raise ValueError('without a diagnosis there are no legs: conditioned_on = "predicted" or "true"')
    if config.explore == "dose" and config.conditioned_on == "true":
        raise ValueError('a dose is learned for what a reasoner estimates: conditioned_on = "predicted"')
    if config.explore == "pixels":
        Exploration(config.num_inference_steps, tuple(config.window)).check()


def joined(draws: Sequence[Draw]) -> Draw:
    """The draws of one leg and step in several rollouts as a batch."""
    first = draws[0]

    def cat(part: Callable[[Draw], torch.Tensor | None]) -> Any:
        return None if part(first) is None else torch.cat([part(draw) for draw in draws])  # type: ignore[misc]

    return Draw(
        first.index, cat(lambda d: d.sample),
        {name: cat(lambda d, name=name: d.values[name]) for name in first.values},  # type: ignore[misc]
        {name: cat(lambda d, name=name: d.stds[name]) for name in first.stds},  # type: ignore[misc]
        cat(lambda d: d.log_prob), kind=first.kind, start=cat(lambda d: d.start), times=cat(lambda d: d.times),
    )  # fmt: skip


def dose_text(doses: Doses) -> str:
    """Doses of a plain finding in words, for a card."""
    said = ", ".join(f"{kind} {doses.dose(kind, PLAIN):.2f}" for kind in doses.maps)
    return f"learned; at severity {PLAIN.severity_if_present:.0f}, P(present) {PLAIN.probability:.2f}: {said}"
