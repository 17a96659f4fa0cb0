"""Qwen-Image-Edit's offer to be trained by rewards (`policy.DiffusionPolicy`): the loop of `rnr.restorer.edit_flow`.

Each path has its own noise to begin with and is stochastic at the steps of the window (Flow-GRPO, Liu et al. 2025,
eq. 9); trained is a LoRA on the transformer's attention, and the reference is the transformer without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from rnr.restorer.edit_train import EditRun, add_lora, write_adapter
from rnr.restorer.qwen_edit import QwenEditRestorer
from rnr.rl.noise import gaussian_kl
from rnr.rl.policy import Draw, Trajectory
from rnr.rl.tasks import Task


class EditPolicy:
    """`restorer` gets a fresh adapter of this rank; `eta` is the noise of the steps of `window`."""

    def __init__(
        self, restorer: QwenEditRestorer, steps: int, window: Sequence[int], eta: float, rank: int, seed: int
    ) -> None:
        self.restorer, self.steps, self.window, self.eta = restorer, steps, tuple(window), eta
        self.settings = EditRun(rank=rank, seed=seed)
        self.module = add_lora(restorer, self.settings)

    def rollout(self, tasks: Sequence[Task], seeds: Sequence[int], noise: float = 1.0) -> Trajectory:
        """Restore one task several times, a seed each: prompt and picture are encoded once. `noise` 0: Euler steps."""
        task = tasks[0]
        if any(other.number != task.number for other in tasks):
            raise ValueError("this policy restores one picture at a time, as often as is wanted")
        pixels = task.degraded.permute(1, 2, 0).numpy()
        paths = self.restorer.rollout(pixels, task.source, None, self.steps, seeds, noise * self.eta, self.window)
        draws = []
        for index, std, log_prob in zip(paths.window, paths.stds, paths.log_probs):
            values, stds = {"latents": paths.samples[index + 1]}, {"latents": torch.tensor(std)}
            draws.append(Draw(index, paths.samples[index], values, stds, log_prob))
        degraded = torch.stack([task.degraded for task in tasks])
        return Trajectory(degraded, paths, draws, paths.samples[-1])

    def log_prob(self, trajectory: Trajectory, draw: Draw) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Log-probability (B,) of a draw under the adapter as it is now, and the mean of what was drawn."""
        step = self.restorer.score(trajectory.condition, draw.index)
        assert step.log_prob is not None
        return step.log_prob, {"latents": step.mean}

    def kl(self, draw: Draw, means: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> torch.Tensor:
        """KL (B,) of a step between two policies, from their means."""
        return gaussian_kl(means["latents"], others["latents"], draw.stds["latents"])

    @torch.no_grad()
    def decode(self, trajectory: Trajectory) -> torch.Tensor:
        """The restored pictures (B, 3, H, W) in [0, 1], on the CPU, in their original size."""
        assert trajectory.final is not None
        return torch.from_numpy(self.restorer.decode(trajectory.final, trajectory.condition)).permute(0, 3, 1, 2)

    @contextlib.contextmanager
    def reference(self) -> Iterator[None]:
        """The adapter off."""
        self.module.disable_adapters()  # type: ignore[operator]
        try:
            yield
        finally:
            self.module.enable_adapters()  # type: ignore[operator]

    def export(self, out: Path, card: Mapping[str, object]) -> Path:
        """The adapter in diffusers' format with its card, `out`/weights: for `lora` of a restorer."""
        folder = write_adapter(self.restorer.pipe, out / "weights", self.settings)
        lines = "\n".join(f"- {name}: {value}" for name, value in card.items())
        (folder / "README.md").write_text(f"# Adapter for {self.restorer.identity['model']}\n\n{lines}\n")
        return folder
