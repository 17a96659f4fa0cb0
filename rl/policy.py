"""What a restorer offers to be trained by rewards, and what one network without experts offers.

A rollout restores a batch of damaged pictures; at the steps of the window the policy draws, elsewhere it is
deterministic. Drawn is the next state of the bridge (`explore = "pixels"`, noise with a spectrum), the condition vector
that steers the network ("condition"), or both. The condition is explored where it matters: along itself and along
what more of each finding would do to it, 7 directions for 6 kinds instead of 128 (isotropic noise learned nothing in
20 updates). A drawn condition is kept: its distance from the mean is added at all later steps, or one step's
exploration would be undone by the next. The last step has no variance and is never drawn.

Shapes: image_BCHW in [0, 1]; steer_BD is the condition vector.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from rnr.degradation._lazy import install
from rnr.restorer.bridge import BridgeScheduler, times
from rnr.restorer.condition import Condition, encode, stack
from rnr.restorer.export import export
from rnr.restorer.network import thumbnail
from rnr.rl.noise import Colour, dct, gaussian_kl, gaussian_log_prob, inverse_dct, spectrum
from rnr.rl.tasks import Task

Explore = Literal["condition", "pixels", "both"]
NEW = 1e-3  # of the condition vector's length: less of a new direction is rounding
MORE = 0.2  # of a finding, to see where the condition goes


@dataclass
class Draw:
    """One stochastic step as it was drawn: what is needed to score it again."""

    index: int  # of the step
    sample: torch.Tensor  # x_t
    values: dict[str, torch.Tensor]  # "pixels": DCT of x_s; "condition": coordinates (B, K) along `basis`
    stds: dict[str, torch.Tensor]
    log_prob: torch.Tensor  # (B,), under the policy that drew it
    origin: torch.Tensor | None = None  # (B, D): the condition vector about which it was explored
    basis: torch.Tensor | None = None  # (B, K, D), orthonormal
    kind: str = ""  # of the leg, of policies that have legs
    start: torch.Tensor | None = None  # (B, 3, H, W), of the leg
    times: torch.Tensor | None = None  # (B, 2): t and s of the step

    def steer(self) -> torch.Tensor | None:
        """The condition vector that was drawn, None where it was not explored."""
        if self.origin is None or self.basis is None:
            return None
        return self.origin + torch.einsum("bk,bkd->bd", self.values["condition"], self.basis)


@dataclass
class Trajectory:
    """A batch of restorations."""

    degraded: torch.Tensor
    condition: Any
    draws: list[Draw] = field(default_factory=list)
    final: torch.Tensor | None = None


class DiffusionPolicy(Protocol):
    """See the module. `reference()` is a context in which the policy is the one that training began with."""

    module: torch.nn.Module

    def rollout(self, tasks: Sequence[Task], seeds: Sequence[int], noise: float = 1.0) -> Trajectory: ...

    def log_prob(self, trajectory: Trajectory, draw: Draw) -> tuple[torch.Tensor, dict[str, torch.Tensor]]: ...

    def kl(self, draw: Draw, means: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> torch.Tensor: ...

    def decode(self, trajectory: Trajectory) -> torch.Tensor: ...

    def reference(self) -> contextlib.AbstractContextManager[Any]: ...

    def export(self, out: Path, card: Mapping[str, object]) -> Path: ...


@dataclass
class Exploration:
    """How a policy draws. `window`: the indices of the stochastic steps."""

    steps: int = 2
    window: tuple[int, ...] = (0,)
    explore: Explore = "condition"
    condition_std: float = 0.1  # along each direction, by the length of the condition vector
    pixel_std: float = 0.05  # of the bridge at its middle, in units of the picture's range
    colour: Colour = "pink"

    def check(self) -> Exploration:
        """ValueError for a window without variance."""
        if self.steps < 2:
            raise ValueError("one-step sampling has no policy: its only step has no variance; take 2 steps or more")
        outside = [k for k in self.window if not 0 <= k < self.steps - 1]
        if outside or not self.window:
            raise ValueError(f"the window {list(self.window)} must name steps of 0..{self.steps - 2}, never the last")
        return self


class BridgePolicy:
    """A restorer of one network, `module`, with an adapter (peft), or trained whole beside a frozen copy."""

    def __init__(
        self, network: Any, scheduler: BridgeScheduler, exploration: Exploration,
        frozen: Any = None,
    ) -> None:  # fmt: skip
        self.module: Any
        self.module, self.scheduler, self.frozen = network.eval(), scheduler, frozen
        self.exploration = exploration.check()
        self.active: Any = network
        self.times = times(exploration.steps)

    @torch.no_grad()
    def rollout(self, tasks: Sequence[Task], seeds: Sequence[int], noise: float = 1.0) -> Trajectory:
        """Restore a batch; `seeds` are one per picture, so that a picture's noise depends on nothing else.

        `noise` 0 is the deterministic sampler.
        """
        device = next(self.module.parameters()).device
        conditions = [encode(self.module.layout, task.source) for task in tasks]
        degraded = torch.stack([task.degraded for task in tasks]).to(device)
        trajectory = Trajectory(degraded, stack(conditions).to(device))
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        sample, kept = degraded, None
        for index in range(self.exploration.steps):
            steer = self._steer(trajectory, index)
            if noise and index in self.exploration.window:
                draw = self._draw(trajectory, index, sample, steer, generators, noise)
                trajectory.draws.append(draw)
                drawn = draw.steer()
                kept = kept if drawn is None else drawn - steer
                if "pixels" in draw.values:
                    sample = inverse_dct(draw.values["pixels"])
                else:
                    sample = self._mean(trajectory, index, sample, steer if drawn is None else drawn)
            else:
                sample = self._mean(trajectory, index, sample, steer if kept is None else steer + kept)
        trajectory.final = sample
        return trajectory

    def log_prob(self, trajectory: Trajectory, draw: Draw) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Log-probability (B,) of a draw under the policy as it is now, and the means of what was drawn."""
        means = {}
        steer = self._steer(trajectory, draw.index)
        held = draw.steer()
        if held is not None and draw.origin is not None:
            means["condition"] = torch.einsum("bd,bkd->bk", steer - draw.origin, draw.basis)
        if "pixels" in draw.values:
            means["pixels"] = dct(self._mean(trajectory, draw.index, draw.sample, steer if held is None else held))
        return sum(gaussian_log_prob(draw.values[n], means[n], draw.stds[n]) for n in means), means  # type: ignore

    def kl(self, draw: Draw, means: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> torch.Tensor:
        """KL (B,) of a step between two policies, from their means."""
        return sum(gaussian_kl(means[n], others[n], draw.stds[n]) for n in means)  # type: ignore[return-value]

    def decode(self, trajectory: Trajectory) -> torch.Tensor:
        """The restored pictures (B, 3, H, W) in [0, 1], on the CPU."""
        assert trajectory.final is not None
        return trajectory.final.clamp(0, 1).float().cpu()

    @contextlib.contextmanager
    def reference(self) -> Iterator[None]:
        """Adapter off, or the frozen copy."""
        if self.frozen is not None:
            self.active = self.frozen
            try:
                yield
            finally:
                self.active = self.module
        else:
            with self.module.disable_adapter():
                yield

    def export(self, out: Path, card: Mapping[str, object]) -> Path:
        """The whole restorer in `out`/weights; the adapter, where there is one, in `out`/adapter."""
        network = self.module
        if self.frozen is None:
            network.save_pretrained(str(out / "adapter"), safe_serialization=True)
            network = network.merge_and_unload()
        return export(network, out / "weights", card)

    def _draw(
        self, trajectory: Trajectory, index: int, sample: torch.Tensor, steer: torch.Tensor,
        generators: Sequence[torch.Generator], noise: float,
    ) -> Draw:  # fmt: skip
        e = self.exploration
        draw = Draw(index, sample, {}, {}, torch.zeros(()))
        if e.explore != "pixels":
            draw.origin, draw.basis = steer, self._directions(trajectory, index, steer)
            length = noise * e.condition_std * torch.linalg.vector_norm(steer, dim=1, keepdim=True)
            std = length.expand(draw.basis.shape[:2])
            draw.stds["condition"], draw.values["condition"] = std, std * _normal(std, generators)
        if e.explore != "condition":
            t, s = self.times[index], self.times[index + 1]
            shape = spectrum(*sample.shape[-2:], e.colour).to(sample.device)
            std = noise * 2 * e.pixel_std * (s * (t - s) / t) ** 0.5 * shape
            drawn = draw.steer()
            mean = dct(self._mean(trajectory, index, sample, steer if drawn is None else drawn))
            draw.stds["pixels"], draw.values["pixels"] = std, mean + std * _normal(mean, generators)
        draw.log_prob = self.log_prob(trajectory, draw)[0]
        return draw

    def _directions(self, trajectory: Trajectory, index: int, steer: torch.Tensor) -> torch.Tensor:
        """(B, K, D), orthonormal: the condition vector itself, then what more of each finding adds to it; zeros where
        it adds nothing new, since a direction made of rounding would differ with the batch."""
        rows = [steer]
        for name in trajectory.condition.findings:
            more = {n: f.clone() for n, f in trajectory.condition.findings.items()}
            more[name][:, :3] += MORE  # probability, severity, expected severity
            rows.append(self._steer(trajectory, index, replace(trajectory.condition, findings=more)) - steer)
        least = NEW * torch.linalg.vector_norm(steer, dim=1, keepdim=True)
        basis: list[torch.Tensor] = []
        for row in rows:  # Gram and Schmidt's way, which leaves out what is not new
            for known in basis:
                row = row - (row * known).sum(1, keepdim=True) * known
            length = torch.linalg.vector_norm(row, dim=1, keepdim=True)
            basis.append(torch.where(length > least, row / length.clamp(min=1e-12), 0))
        return torch.stack(basis, 1)

    def _steer(self, trajectory: Trajectory, index: int, condition: Condition | None = None) -> torch.Tensor:
        degraded = trajectory.degraded
        t = torch.full((len(degraded),), self.times[index], device=degraded.device)
        with _slow_path():
            return self.active.steer(condition or trajectory.condition, t, thumbnail(degraded))

    def _mean(self, trajectory: Trajectory, index: int, sample: torch.Tensor, steer: torch.Tensor) -> torch.Tensor:
        """x_s without noise."""
        network = self.active
        inverted = network.inverted(trajectory.degraded, trajectory.condition, steer)
        estimate = network(sample, trajectory.degraded, inverted, steer)
        return self.scheduler.step(estimate, self.times[index], self.times[index + 1], sample).mean


@contextlib.contextmanager
def _slow_path() -> Iterator[None]:
    """Without torch's fused attention, which would pass adapters by and rounds otherwise than training does."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _normal(like: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Standard normal noise of this shape, each row from its own generator."""
    return torch.stack([torch.randn(like.shape[1:], generator=g) for g in generators]).to(like.device)


def trainable(network: torch.nn.Module, how: Literal["lora", "full"], rank: int, seed: int) -> tuple[Any, Any]:
    """(network to train, frozen reference or None): an adapter on matrices outside attention, or all weights."""
    if how == "full":
        import copy

        frozen = copy.deepcopy(network).eval().requires_grad_(False)
        return network.requires_grad_(True), frozen
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ValueError(f"LoRA needs peft; install it with: {install('train')}") from error
    names = [
        name for name, layer in network.named_modules()
        if type(layer) in (torch.nn.Linear, torch.nn.Conv2d) and getattr(layer, "groups", 1) == 1
        and "self_attn" not in name
    ]  # fmt: skip
    torch.manual_seed(seed)
    exactly = "|".join(map(re.escape, names))  # a list would also match endings of names
    return get_peft_model(network, LoraConfig(r=rank, lora_alpha=rank, target_modules=exactly)), None  # type: ignore
