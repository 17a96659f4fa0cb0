"""The bridge from the degraded picture (t = 1) to the clean one (t = 0), as in InDI (Delbracio & Milanfar 2023), I2SB.

Given an estimate x0 of the clean picture, the state at s < t is gaussian:
    x_s = (s / t) x_t + (1 - s / t) x0 + eta sigma sqrt(s (t - s) / t) noise
The mean does not depend on eta, so eta = 0 is the deterministic sampler. One step is the best mean estimate; more steps
trade fidelity for texture. The last step (s = 0) has no variance: it has no log-probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput


@dataclass
class BridgeStep(BaseOutput):
    """What a step of the bridge gives.

    Attributes:
        prev_sample: x_s, the state at the later time, of the shape of the sample.
        mean: Its mean.
        std: Its standard deviation, in units of the picture's range; 0 of the deterministic sampler.
        log_prob: (B,) float32, the mean over dimensions; None where the step has no variance.

    Example:
        >>> clean, degraded = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
        >>> float(BridgeScheduler().step(clean, 1.0, 0.25, degraded).mean.mean())
        0.25
    """

    prev_sample: torch.Tensor  # x_s
    mean: torch.Tensor
    std: float
    log_prob: torch.Tensor | None  # (B,), mean over dimensions, float32; None where the step has no variance


def corrupt(clean: torch.Tensor, degraded: torch.Tensor, t: torch.Tensor, sigma: torch.Tensor, noise: torch.Tensor):
    """The training state x_t = (1 - t) clean + t degraded + sigma sqrt(t (1 - t)) noise; t and sigma are (B,)."""
    t, sigma = t.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
    return (1 - t) * clean + t * degraded + sigma * (t * (1 - t)).sqrt() * noise


def times(num_inference_steps: int, end: float = 0.0) -> list[float]:
    """Evenly spaced times from 1 to `end`.

    Args:
        num_inference_steps: Number of steps, 1 to 100.
        end: Where the bridge stops, 0 (clean) to 1 (as degraded).

    Returns:
        `num_inference_steps` + 1 times, the first 1, the last `end`.

    Raises:
        ValueError: For a number of steps outside 1..100.

    Example:
        >>> times(2)
        [1.0, 0.5, 0.0]
    """
    if not 1 <= num_inference_steps <= 100:
        raise ValueError(f"num_inference_steps must lie in 1..100, not {num_inference_steps}")
    return [1 - (1 - end) * i / num_inference_steps for i in range(num_inference_steps)] + [end]


class BridgeScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """The step between two times of the bridge. It keeps no state of a call, so that threads may share it.

    x_t = (1 - t) clean + t degraded + sigma sqrt(t (1 - t)) noise, t from 1 (degraded) to 0 (clean): a Brownian bridge.

    Args:
        sigma: Scale of its noise, in units of the picture's range.

    Example:
        >>> scheduler = BridgeScheduler(sigma=0.05)
        >>> estimate, degraded = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8)
        >>> step = scheduler.step(estimate, 1.0, 0.5, degraded, eta=1.0, generator=torch.Generator().manual_seed(0))
        >>> step.prev_sample.shape, step.log_prob.shape
        (torch.Size([2, 3, 8, 8]), torch.Size([2]))
    """

    @register_to_config
    def __init__(self, sigma: float = 0.05) -> None:
        pass

    def step(
        self,
        estimate: torch.Tensor,
        t: float,
        s: float,
        sample: torch.Tensor,
        eta: float = 0.0,
        generator: torch.Generator | None = None,
        prev_sample: torch.Tensor | None = None,
    ) -> BridgeStep:
        """From time t to an earlier s < t.

        Args:
            estimate: The clean picture as it is estimated, (B, C, H, W).
            t: Time of the sample, up to 1.
            s: Time of the result, from 0 on.
            sample: x_t, of the same shape.
            eta: 0 for the deterministic sampler, 1 for the bridge's own noise.
            generator: Of the noise.
            prev_sample: A step that was drawn before: it is not drawn again, only scored.

        Returns:
            The step; computed in float32.
        """
        sample, estimate = sample.float(), estimate.float()
        mean = torch.lerp(sample, estimate, 1 - s / t) if s else estimate  # no copy of a large picture
        std = eta * self.config["sigma"] * (s * (t - s) / t) ** 0.5
        if std == 0:
            return BridgeStep(prev_sample=mean, mean=mean, std=0.0, log_prob=None)
        if prev_sample is None:
            noise = torch.randn(mean.shape, generator=generator, device=generator.device if generator else mean.device)
            prev_sample = mean + std * noise.to(mean.device)
        log_prob = torch.distributions.Normal(mean, std).log_prob(prev_sample).mean(dim=(1, 2, 3))
        return BridgeStep(prev_sample=prev_sample, mean=mean, std=std, log_prob=log_prob)
