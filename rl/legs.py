"""What is drawn of the legs of a chain of experts; `explore` in a recipe of `rnr rl restorer` names it.

- `dose`: how far each leg goes. The logarithm of the dose is normal, cut off above 0 (over-correction cannot be
  ordered); trained is where it lies, by what the reasoner believes of the leg's kind (`rnr.restorer.doses`).
- `condition`: the vector that scales and shifts the expert's features (time, and the severity of the finding, of
  experts that take it). Gaussian; trained is the map to that vector. Haze's expert has none: its legs are not drawn.
- `pixels`: the state of the bridge inside a leg, gaussian with a spectrum (`rl.noise`), as `policy.BridgePolicy` does
  it; trained is an adapter on all experts, or all of them. The last step of a leg has no variance: two steps or more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord
from rnr.degradation.intent import Intent
from rnr.degradation.strength import FULL
from rnr.restorer.bridge import BridgeScheduler, BridgeStep
from rnr.restorer.chain import certain_severity, route, severity_said
from rnr.restorer.doses import Doses, features
from rnr.restorer.estimates import estimate_of
from rnr.restorer.expert import TIME_WIDTH
from rnr.restorer.pipeline import TILE, RestorePipeline
from rnr.rl.noise import (
    Colour,
    dct,
    gaussian_kl,
    gaussian_log_prob,
    inverse_dct,
    spectrum,
    truncated_draw,
    truncated_kl,
    truncated_log_prob,
)
from rnr.rl.policy import Draw, trainable

Source = Diagnosis | DiagnosisRecord
Means = dict[str, torch.Tensor]


class LegExploration(Protocol):
    """What of a chain is drawn. `module` holds what is trained, with `requires_grad`; draws have a batch of 1."""

    module: torch.nn.Module

    def rollout(
        self, pixels_HWC3: Any, source: Source, generator: torch.Generator, noise: float
    ) -> tuple[Any, list[Draw]]:
        """A restored picture (H, W, 3), and what was drawn on the way; nothing where `noise` is 0."""

    def log_prob(self, source: Source, draw: Draw) -> tuple[torch.Tensor, Means]:
        """Log-probability (B,) of a draw as the policy is now, and the means."""

    def kl(self, draw: Draw, means: Means, others: Means) -> torch.Tensor:
        """KL (B,) between two policies."""


class DoseExploration:
    """Doses of the legs whose kinds a reasoner estimated; an edited severity is obeyed as it is.

    Args:
        restorer: Its own doses, where it has some, are what training goes on from.
        std: Standard deviation of the logarithm of a dose.
        steps: Of each leg.
    """

    def __init__(self, restorer: RestorePipeline, std: float, steps: int) -> None:
        kinds = tuple(kind for kind in restorer.kinds if kind in (restorer.experts or ()))
        self.restorer, self.std, self.steps = restorer, std, steps
        self.module = restorer.doses or Doses(kinds)
        restorer.register_modules(doses=self.module)

    def rollout(
        self, pixels_HWC3: Any, source: Source, generator: torch.Generator, noise: float
    ) -> tuple[Any, list[Draw]]:
        if not noise:
            return self.restorer.restore(pixels_HWC3, source, None, self.steps).pixels_HWC3, []
        draws = [self._draw(source, kind, generator, noise) for kind in self._estimated(source)]
        strength = {draw.kind: FULL * float(draw.values["dose"].exp()) for draw in draws}
        with attribute(self.restorer, "doses", Doses()):  # what is drawn is the whole dose
            made = self.restorer.restore(pixels_HWC3, source, Intent(strength=strength), self.steps)
        return made.pixels_HWC3, draws

    def log_prob(self, source: Source, draw: Draw) -> tuple[torch.Tensor, Means]:
        location = self._location(source, draw.kind).view(1, 1).expand_as(draw.values["dose"])
        return truncated_log_prob(draw.values["dose"], location, draw.stds["dose"]), {"dose": location}

    def kl(self, draw: Draw, means: Means, others: Means) -> torch.Tensor:
        return truncated_kl(means["dose"], others["dose"], draw.stds["dose"])

    def _estimated(self, source: Source) -> list[str]:
        legs = legs_of(self.restorer, source)
        return [kind for kind in legs if kind in self.module.maps and belief_of(source, kind) is not None]

    def _location(self, source: Source, kind: str) -> torch.Tensor:
        belief = belief_of(source, kind)
        assert belief is not None
        return self.module(kind, features(belief))

    @torch.no_grad()
    def _draw(self, source: Source, kind: str, generator: torch.Generator, noise: float) -> Draw:
        location, std = self._location(source, kind).cpu().view(1, 1), torch.full((1, 1), noise * self.std)
        value = truncated_draw(location, std, torch.rand(1, 1, generator=generator, dtype=torch.float64))
        return Draw(0, location, {"dose": value}, {"dose": std}, torch.zeros(1), kind=kind)


class ConditionExploration:
    """The condition vectors of the legs, drawn at a leg's first step and kept: the difference is added at all steps.

    Args:
        restorer: The maps to its experts' condition vectors are trained.
        std: Standard deviation of the vector, by its length.
        steps: Of each leg.
    """

    def __init__(self, restorer: RestorePipeline, std: float, steps: int) -> None:
        self.restorer, self.std, self.steps, self.module = restorer, std, steps, restorer.experts
        self.module.requires_grad_(False)
        for expert in self.module.networks.values():
            if expert.config["widths"]:
                expert.time.requires_grad_(True)

    @torch.no_grad()
    def rollout(
        self, pixels_HWC3: Any, source: Source, generator: torch.Generator, noise: float
    ) -> tuple[Any, list[Draw]]:
        legs = [kind for kind in legs_of(self.restorer, source) if self.restorer.experts[kind].config["widths"]]
        draws = [self._draw(source, kind, generator, noise) for kind in legs] if noise else []
        with contextlib.ExitStack() as held:
            for draw in draws:
                shift = (draw.values["condition"] - draw.sample).to(self.module.device)
                held.enter_context(shifted(self.restorer.experts[draw.kind].time, shift))
            return self.restorer.restore(pixels_HWC3, source, None, self.steps).pixels_HWC3, draws

    def log_prob(self, source: Source, draw: Draw) -> tuple[torch.Tensor, Means]:
        mean = self._mean(source, draw.kind).expand_as(draw.values["condition"])
        return gaussian_log_prob(draw.values["condition"], mean, draw.stds["condition"]), {"condition": mean}

    def kl(self, draw: Draw, means: Means, others: Means) -> torch.Tensor:
        return gaussian_kl(means["condition"], others["condition"], draw.stds["condition"])

    def _mean(self, source: Source, kind: str) -> torch.Tensor:
        """The condition vector (1, D) of a leg at its first step."""
        expert = self.restorer.experts[kind]
        start, severity = torch.ones(1, device=expert.device), severity_said(source, kind)
        given = None if severity is None else torch.full_like(start, severity)
        return expert.steering(start, given)[:, :TIME_WIDTH].cpu()

    def _draw(self, source: Source, kind: str, generator: torch.Generator, noise: float) -> Draw:
        mean = self._mean(source, kind)
        std = (noise * self.std * mean.norm() / mean.shape[1] ** 0.5).expand_as(mean)
        value = mean + std * torch.randn(mean.shape, generator=generator)
        return Draw(0, mean, {"condition": value}, {"condition": std}, torch.zeros(1), kind=kind)


class PixelExploration:
    """States of the bridge inside the legs.

    Args:
        restorer: All its experts are trained.
        std: Standard deviation of the bridge at its middle, in units of the picture's range.
        colour: Spectrum of the noise.
        steps: Of each leg.
        window: Steps of each leg that are drawn, never the last.
        how: "lora" trains an adapter of this rank, "full" all weights.

    Raises:
        ValueError: For a window without variance.
    """

    def __init__(
        self, restorer: RestorePipeline, std: float, colour: Colour, steps: int, window: Sequence[int],
        how: str = "lora", rank: int = 8, seed: int = 0,
    ) -> None:  # fmt: skip
        self.restorer, self.steps, self.bridge = restorer, steps, DrawnBridge(std, colour, window)
        restorer.experts.requires_grad_(how == "full")
        self.module = restorer.experts if how == "full" else trainable(restorer.experts, "lora", rank, seed)[0]

    @torch.no_grad()
    def rollout(
        self, pixels_HWC3: Any, source: Source, generator: torch.Generator, noise: float
    ) -> tuple[Any, list[Draw]]:
        legs, bridge = legs_of(self.restorer, source), self.bridge
        draws: list[Draw] = []

        def taken(pipe: Any, index: int, t: float, state: Mapping[str, Any]) -> None:
            kind = state["kinds"][0]
            if bridge.drawn is not None and kind in legs:
                draws.append(replace(bridge.drawn, kind=kind))
            bridge.drawn = None

        bridge.begin(generator, noise)
        with attribute(self.restorer, "scheduler", bridge):
            made = self.restorer.restore(pixels_HWC3, source, None, self.steps, callback_on_step_end=taken)
        return made.pixels_HWC3, draws

    def log_prob(self, source: Source, draw: Draw) -> tuple[torch.Tensor, Means]:
        assert draw.start is not None and draw.times is not None
        means = []
        for sample, start, (t, s) in zip(draw.sample.split(1), draw.start.split(1), draw.times.tolist()):
            estimate = estimate_of(self.restorer.experts[draw.kind], source, TILE)(sample, start, t)
            means.append(dct(torch.lerp(sample, estimate, 1 - s / t)))
        mean = torch.cat(means)
        return gaussian_log_prob(draw.values["pixels"], mean, draw.stds["pixels"]), {"pixels": mean}

    def kl(self, draw: Draw, means: Means, others: Means) -> torch.Tensor:
        return gaussian_kl(means["pixels"], others["pixels"], draw.stds["pixels"])


class DrawnBridge(BridgeScheduler):
    """The bridge with noise of a spectrum at the steps of a window; it keeps what it drew last."""

    def __init__(self, std: float, colour: Colour, window: Sequence[int]) -> None:
        super().__init__()
        self.std, self.colour, self.window = std, colour, tuple(window)
        self.begin(torch.Generator(), 0.0)

    def begin(self, generator: torch.Generator, noise: float) -> None:
        """Before a rollout."""
        self.source, self.noise, self.index = generator, noise, 0
        self.drawn: Draw | None = None
        self.start: torch.Tensor | None = None

    def step(
        self, estimate: torch.Tensor, t: float, s: float, sample: torch.Tensor, eta: float = 0.0,
        generator: torch.Generator | None = None, prev_sample: torch.Tensor | None = None,
    ) -> BridgeStep:  # fmt: skip
        made = super().step(estimate, t, s, sample)
        self.index = 0 if t == 1 else self.index + 1
        self.start = sample if t == 1 else self.start
        if not self.noise or not s or self.index not in self.window:
            return made
        shape = spectrum(*sample.shape[-2:], self.colour).to(sample.device)
        std = (self.noise * 2 * self.std * (s * (t - s) / t) ** 0.5 * shape).expand_as(sample)
        value = dct(made.mean) + std * torch.randn(sample.shape, generator=self.source).to(sample.device)
        self.drawn = Draw(
            self.index, sample, {"pixels": value}, {"pixels": std}, torch.zeros(1), start=self.start,
            times=torch.tensor([[t, s]]),
        )  # fmt: skip
        return BridgeStep(prev_sample=inverse_dct(value), mean=made.mean, std=float(std.mean()), log_prob=None)


def legs_of(restorer: RestorePipeline, source: Source) -> list[str]:
    """The kinds of the legs that experts walk, in order."""
    experts = restorer.experts or ()
    planned = route(source, None, restorer.kinds, experts)
    return [names[0] for names in planned if names[0] in experts]


def belief_of(source: Source, kind: str) -> Belief | None:
    """What a reasoner believes of a kind; None where it did not say, or a person said otherwise."""
    if not isinstance(source, DiagnosisRecord) or certain_severity(source, kind) is not None:
        return None
    return source.belief(kind)


@contextlib.contextmanager
def attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another value of an attribute for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def shifted(module: torch.nn.Module, shift: torch.Tensor) -> Iterator[None]:
    """A module whose output has something added to it for a while."""
    handle = module.register_forward_hook(lambda _, given, output: output + shift.to(output))
    try:
        yield
    finally:
        handle.remove()
