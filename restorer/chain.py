"""The plan of a Diagnosis as the trajectory of the bridge: one leg per finding, in the order of the plan.

degraded -> without noise -> without rain -> ... -> clean. A leg is a bridge of its own, from the picture that the leg
before left (t = 1) to that picture without the leg's kind (t = 0). Presence decides whether a leg runs; the picture
decides how much. A *certain* severity d (a Diagnosis, or an edit) below the picture's own s stops the leg at
t = 1 - d / s, so that an edited dose answers monotonically and over-correction cannot be ordered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.intent import Intent
from rnr.degradation.kind import PHYSICS, kind_named, kinds
from rnr.degradation.measure import ms_ssim, severity_of_loss
from rnr.restorer.bridge import BridgeScheduler, times
from rnr.restorer.condition import diagnosis_of, wanted

Undo = Callable[[torch.Tensor], torch.Tensor]  # pictures as physics would undo a kind
Estimate = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]  # of x_t, x_1 and t, whole pictures
LOOK = 512  # px; severities are measured on the picture's middle of this size: a choice, it bounds the time
TOLERANCE = 1 / 3  # share of a severity by which it may be read too high: nine in ten readings of noise, blur and
# compression are at most 1.5 times the true one (docs/lab-log.md, 2026-11-29)


@dataclass(frozen=True)
class Leg:
    """What one leg did.

    Attributes:
        kinds: The kinds that it removed; one, or several that share the network without experts.
        dose: Share of the way that was gone, 0..1.
        severity: Severity 0..100 that the diagnosis gave, None where the leg has several kinds or was given none.
        removed: Severity 0..100 that the leg took off the picture by 1 - MS-SSIM of start and end.
        change: Mean absolute change of the pixels in 8-bit levels.
        seconds: Time that it took.

    Example:
        >>> import rnr
        >>> [leg["kinds"] for leg in rnr.restore("photo.jpg").settings["legs"]]
        [('noise',)]
    """

    kinds: tuple[str, ...]
    dose: float
    severity: float | None
    removed: float
    change: float
    seconds: float


def route(
    source: Diagnosis | DiagnosisRecord, intent: Intent | None, known: Collection[str], alone: Collection[str]
) -> list[tuple[str, ...]]:
    """The legs of a diagnosis: its plan, then what it holds present beside the plan, last formed first.

    Args:
        source: The diagnosis.
        intent: What is wanted of it; None = everything.
        known: Kinds that can be removed at all.
        alone: Kinds with an expert; each has a leg of its own. Neighbours among the others share one, if they are to
            go equally far. A kind of strength 0 has none.

    Raises:
        ValueError: For a record without a diagnosis.
    """
    strength = intent.strength_of if intent else lambda name: 100.0
    chosen = [name for name in wanted(source, intent, known) if strength(name) > 0]
    diagnosis = diagnosis_of(source)
    assert diagnosis is not None  # `wanted` has refused it
    default = [name for name in reversed(kinds()) if name in chosen and name not in diagnosis.plan]
    legs: list[tuple[str, ...]] = []
    for name in [name for name in diagnosis.plan if name in chosen] + default:
        last = legs[-1][0] if legs else None
        shares = last and name not in alone and last not in alone and strength(name) == strength(last)
        legs = [*legs[:-1], (*legs[-1], name)] if shares else [*legs, (name,)]
    return legs


def certain_severity(source: Diagnosis | DiagnosisRecord, kind: str) -> float | None:
    """The severity that must be obeyed: a person's. None for what a reasoner only estimates."""
    if isinstance(source, DiagnosisRecord) and source.text:  # a model wrote it; a given diagnosis has no text
        belief = source.belief(kind)
        return belief.severity_if_present if belief is not None and belief.spread == 0 else None
    return severity_given(source, kind)


def dose_of(asked: float | None, own: Callable[[], float]) -> float:
    """How far to go, 0..1, for an asked severity: all the way unless it is clearly below the picture's own.

    Args:
        asked: 0..100; None goes all the way.
        own: Gives the severity that the picture shows, 0..100; called where it is needed.
    """
    if asked is None:
        return 1.0
    least = (1 - TOLERANCE) * own()
    return 1.0 if asked >= least else asked / least


def removed_severity(start_1CHW: torch.Tensor, end_1CHW: torch.Tensor) -> float:
    """Severity 0..100 of what separates two pictures, on the scale of all kinds (`measure.severity_of_loss`)."""
    start, end = middle(start_1CHW), middle(end_1CHW).clamp(0, 1)
    return float(severity_of_loss(1 - ms_ssim(start, end)))


def middle(image_1CHW: torch.Tensor) -> torch.Tensor:
    """The centre of the picture, at most LOOK x LOOK px."""
    top, left = (max(0, side - LOOK) // 2 for side in image_1CHW.shape[-2:])
    return image_1CHW[..., top : top + LOOK, left : left + LOOK]


def walk(
    start_1CHW: torch.Tensor,
    estimate: Estimate,
    scheduler: BridgeScheduler,
    num_inference_steps: int,
    dose: Callable[[torch.Tensor], float],
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[float, float, torch.Tensor, torch.Tensor]]:
    """One leg, step by step.

    Args:
        start_1CHW: The picture at t = 1.
        estimate: The network's estimate of the end of the leg.
        scheduler: The bridge.
        num_inference_steps: Steps of the leg, 1 to 100.
        dose: From the first estimate of the end, how far to go, 0..1.
        eta: 0 for the deterministic sampler.
        generator: For eta > 0.

    Yields:
        (t, s, x_s, estimate of the end) after each step from t to s; the last x_s is the leg's result.
    """
    sample, end = start_1CHW, estimate(start_1CHW, start_1CHW, 1.0)
    path = times(num_inference_steps, 1 - dose(end))
    for index, (t, s) in enumerate(zip(path, path[1:])):
        end = end if index == 0 else estimate(sample, start_1CHW, t)
        sample = scheduler.step(end, t, s, sample, eta, generator).prev_sample if s < t else sample
        yield t, s, sample, end


def severity_given(source: Diagnosis | DiagnosisRecord | None, kind: str) -> float | None:
    """The severity of a finding as the diagnosis writes it; None without a diagnosis or a number."""
    diagnosis = diagnosis_of(source)
    severity = diagnosis.findings[kind].severity if diagnosis and kind in diagnosis.findings else None
    return None if severity is None else float(severity)


def severity_said(source: Diagnosis | DiagnosisRecord | None, kind: str) -> float | None:
    """The severity of a kind, if it is present: as a reasoner believes, else as the diagnosis writes it."""
    belief = source.belief(kind) if isinstance(source, DiagnosisRecord) else None
    return severity_given(source, kind) if belief is None else belief.severity_if_present


def inverse(source: Diagnosis | DiagnosisRecord | None, kind: str) -> Undo | None:
    """Physics' inverse of a kind by the factors of its finding; None where the diagnosis does not give all of them.

    A reasoner's main factor is what its expected severity makes of the others: the mean of what it believes is nearer
    to the true one than the number that it writes (low light by physics alone 21.5 -> 21.9 dB; docs/lab-log.md). Not
    in records of another physics, whose severities lie on other curves.
    """
    diagnosis = diagnosis_of(source)
    written = diagnosis.findings[kind].factors if diagnosis and kind in diagnosis.findings else {}
    known = kind_named(kind)
    # Factors that came with a later physics may be missing: a reasoner of the first does not write them.
    if any(factor.name not in written for factor in known.as_of(1).factors):
        return None
    values = known.values(written)
    estimated = isinstance(source, DiagnosisRecord) and source.physics == PHYSICS
    belief = source.belief(kind) if estimated else None  # type: ignore[union-attr]
    if belief is not None and belief.spread > 0:
        expected = torch.tensor([belief.severity_if_present])
        values = known.with_severity(expected, {name: value.view(-1) for name, value in values.items()})

    def undo(image_BCHW: torch.Tensor) -> torch.Tensor:
        factors = {name: value.to(image_BCHW.device) for name, value in values.items()}
        return known.invert(image_BCHW, factors).clamp(-0.5, 1.5).to(image_BCHW.dtype)

    return undo
