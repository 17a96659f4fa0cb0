"""The clipped surrogate of PPO (Schulman et al. 2017, eq. 7) on one diffusion step, with a KL to the reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rnr.rl.policy import DiffusionPolicy, Draw, Trajectory


@dataclass
class StepLoss:
    """`loss` carries the gradient; the rest are means for the record."""

    loss: torch.Tensor
    ratio: torch.Tensor  # (B,), detached
    kl: torch.Tensor  # (B,), detached
    clipped: torch.Tensor  # (B,) bool: the clip took the gradient


def step_loss(
    policy: DiffusionPolicy, trajectory: Trajectory, draw: Draw, advantage_B: torch.Tensor, clip: float, beta: float
) -> StepLoss:
    """-min(ratio A, clip(ratio) A) + beta KL, mean over the batch.

    Log-probabilities are means over dimensions, so ratios lie near 1 and `clip` is small (Flow-GRPO: 1e-4).
    """
    log_prob, means = policy.log_prob(trajectory, draw)
    ratio = torch.exp(log_prob - draw.log_prob)
    held = ratio.clamp(1 - clip, 1 + clip)
    loss = -torch.minimum(ratio * advantage_B, held * advantage_B)
    kl = torch.zeros_like(ratio)
    if beta:
        with torch.no_grad(), policy.reference():
            others = policy.log_prob(trajectory, draw)[1]
        kl = policy.kl(draw, means, others)
        loss = loss + beta * kl
    clipped = held * advantage_B < ratio * advantage_B
    return StepLoss(loss.mean(), ratio.detach(), kl.detach(), clipped.detach())
