"""Inside a restorer: what steers each leg, what its network wrote, and what a region owes to the diagnosis.

    inside = RestorerInternals(RestorePipeline.from_pretrained("built-in"))
    for leg in inside.run(photo, record):
        leg.kinds, leg.dose, leg.condition, leg.parts["residual"]
    inside.gradient(photo, record.diagnosis, (0, 0, 64, 64))  # {"haze.severity": levels per point, ...}

Plain hooks on the networks of a `RestorePipeline`. The network without experts writes residual, gain, offset and mix
(estimate = (x + mix (inverse - x) + residual) gain + offset); an expert writes a velocity, its residual, and has no
gain of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.errors import Error
from rnr.degradation.kind import Factor, kinds
from rnr.explain.attribution import Ends, noting

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

POINTS = 5  # of severity to each side of a difference; a choice: severities are whole numbers
HEAD = ("residual", "gain", "offset", "mix")  # of the network without experts, in the order of its channels
Box = tuple[int, int, int, int]


@dataclass
class LegRun:
    """One leg from inside.

    Attributes:
        kinds: What it removed.
        dose: Share of the way that was gone, 0..1.
        condition: (D,) the vector that steers the network: of the network without experts that of the diagnosis, of an
            expert that of the time.
        parts: What the network wrote, by name, each (H, W, 3): see the module. `gain` is a factor, 1 = none.
        start_HWC: Pixels in [0, 1] before the leg.
        end_HWC: And after it.
    """

    kinds: tuple[str, ...]
    dose: float
    condition: torch.Tensor | None
    parts: dict[str, np.ndarray]
    start_HWC: np.ndarray
    end_HWC: np.ndarray

    @property
    def change_HWC(self) -> np.ndarray:
        """What the leg did to the pixels."""
        return self.end_HWC - self.start_HWC


@dataclass
class Seen:
    """What hooks noted of one leg. Of two estimates of a network the first, of the picture as it is, is kept."""

    condition: torch.Tensor | None = None
    head: torch.Tensor | None = None
    mix: torch.Tensor | None = None

    @property
    def vector(self) -> torch.Tensor | None:
        """(D,)"""
        return None if self.condition is None else self.condition[0].float().cpu()


class RestorerInternals:
    """Conditions, gains, residuals and gradients of a restorer that runs in this process.

    Args:
        restorer: A `RestorePipeline`.

    Raises:
        Error: For a restorer of another kind, whose insides nobody here knows.

    Example:
        >>> import rnr.restorer
        >>> from PIL import Image
        >>> photo = np.asarray(Image.open("photo.jpg"))
        >>> legs = RestorerInternals(rnr.restorer.load()).run(photo, rnr.diagnose(photo))
        >>> [(leg.kinds, leg.parts["residual"].shape == photo.shape) for leg in legs]
        [(('noise',), True)]
    """

    def __init__(self, restorer: Any) -> None:
        if not hasattr(restorer, "experts") or not hasattr(restorer, "network"):
            raise Error("insides are known of a RestorePipeline only; load one with from_pretrained(FOLDER)")
        self.restorer = restorer

    def run(self, image_HWC: np.ndarray, source: Diagnosis | DiagnosisRecord, seed: int = 0) -> list[LegRun]:
        """Look inside while a picture is restored, one step a leg, as one tile.

        Args:
            image_HWC: uint8, or float in [0, 1], (H, W, 3); memory grows with it.
            source: The diagnosis to restore by.
            seed: Of the restorer.

        Returns:
            A LegRun for each leg, in their order.
        """
        pixels = floats(image_HWC)
        ends: Ends = {}
        legs, sides, note = [], pixels.shape[:2], noting(ends)
        with watching(self.restorer) as seen:

            def ended(*step: Any) -> None:
                note(*step)
                seen.append(Seen())

            result = self.restorer.restore(pixels, source, None, 1, seed, tile=max(sides), callback_on_step_end=ended)
        for leg, (names, end), noted in zip(result.legs, ends.items(), seen):
            after = end[0].permute(1, 2, 0).cpu().numpy()
            legs.append(LegRun(names, leg.dose, noted.vector, parts_of(noted, sides), pixels, after))
            pixels = after
        return legs

    def gradient(self, image_HWC: np.ndarray, diagnosis: Diagnosis, region: Box, seed: int = 0) -> dict[str, float]:
        """How the change of a region answers to the diagnosis, by central differences of the restorer itself.

        Differences, not automatic gradients: severities are whole numbers, doses and presence have kinks, and so it
        holds for every restorer. 0 where the diagnosis asks for all that the picture shows, or more.

        Args:
            image_HWC: As in `run`.
            diagnosis: Its severities are obeyed.
            region: (top, left, height, width) in px.
            seed: Of the restorer.

        Returns:
            By field ("haze.severity", "noise.sigma"): mean absolute change of the region, in 8-bit levels, per point
            of severity or per unit of the factor, of each kind that is present.
        """
        pixels, found = floats(image_HWC), {}
        for name, low, high, apart in differences(diagnosis):
            below, above = (self._change(pixels, each, region, seed) for each in (low, high))
            found[name] = (above - below) / apart
        return found

    def _change(self, pixels_HWC: np.ndarray, diagnosis: Diagnosis, region: Box, seed: int) -> float:
        top, left, height, width = region
        window = np.s_[top : top + height, left : left + width]
        after = self.restorer.restore(pixels_HWC, diagnosis, seed=seed).pixels_HWC3
        return 255 * float(np.abs(after[window] - pixels_HWC[window]).mean())


def floats(image_HWC: np.ndarray) -> np.ndarray:
    """float32 in [0, 1]."""
    image = np.asarray(image_HWC)
    return image.astype(np.float32) / (255 if image.dtype == np.uint8 else 1)


def differences(diagnosis: Diagnosis) -> Iterator[tuple[str, Diagnosis, Diagnosis, float]]:
    """(field, diagnosis below, diagnosis above, how far they are apart) of every number of the present findings."""
    for name in diagnosis.present:
        finding, kind = diagnosis.findings[name], kinds()[name]
        severity = finding.severity or 0
        low, high = max(1, severity - POINTS), min(kind.highest, severity + POINTS)
        below, above = (diagnosis.edit(name, severity=value) for value in (low, high))
        yield f"{name}.severity", below, above, float(high - low)
        for factor in kind.factors:
            if factor.name in finding.factors and not factor.choices:
                yield from _factor(diagnosis, name, factor)


def _factor(diagnosis: Diagnosis, name: str, factor: Factor) -> Iterator[tuple[str, Diagnosis, Diagnosis, float]]:
    value = factor.value(diagnosis.findings[name].factors[factor.name])
    low, high = max(factor.low, value - factor.step), min(factor.high, value + factor.step)
    sides = []
    for each in (low, high):
        changed = diagnosis.model_copy(deep=True)
        changed.findings[name].factors[factor.name] = each
        sides.append(changed)
    if high > low:
        yield f"{name}.{factor.name}", sides[0], sides[1], high - low


def parts_of(seen: Seen, sides: tuple[int, int]) -> dict[str, np.ndarray]:
    """What the head of a leg's network wrote, (H, W, 3) by name."""
    if seen.head is None:  # an expert that is its overview alone
        return {}
    written = torch.nn.functional.pixel_shuffle(seen.head.float(), 2)[:1, :, : sides[0], : sides[1]]
    names = HEAD if written.shape[1] == 3 * len(HEAD) else HEAD[:1]
    parts = dict(zip(names, written.chunk(len(names), 1)))
    if "gain" in parts:
        parts["gain"] = torch.exp(3 * torch.tanh(parts["gain"] / 3))
        assert seen.mix is not None
        parts["mix"] = parts["mix"] + seen.mix[:1, :, None, None]
    return {name: part[0].permute(1, 2, 0).cpu().numpy() for name, part in parts.items()}


@contextlib.contextmanager
def watching(restorer: Any) -> Iterator[list[Seen]]:
    """Hooks that note what the networks write into the last `Seen` of the list; whoever ends a leg appends another."""
    seen = [Seen()]

    def note(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: torch.Tensor) -> None:
            if getattr(seen[-1], name) is None:
                setattr(seen[-1], name, output.detach())

        return hook

    handles = [module.register_forward_hook(note(name)) for module, name in watched(restorer)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def watched(restorer: Any) -> Iterator[tuple[Any, str]]:
    """Modules of a restorer and what their output is."""
    network = restorer.network
    if network is not None:
        yield from ((network.condition_encoder, "condition"), (network.head, "head"), (network.mix, "mix"))
    for expert in restorer.experts.networks.values() if restorer.experts is not None else ():
        if expert.config["widths"]:
            yield from ((expert.time, "condition"), (expert.head, "head"))
