"""Training pairs of one leg: the picture at its start and at its end.

Of all pictures a tenth holds nothing of the leg's kind (a choice: the expert learns to leave them alone). Kinds that
are formed earlier are often there and stay in the target, because the chain comes to them later. Kinds that are formed
later have usually been removed before the leg: exactly, or by the experts that are there, whose residue is part of the
picture then (on-policy); a fifth of the pictures still has them at both ends, for `only` and for findings that were
missed. For a kind that comes last of all nothing is later. Kinds that are taken for the leg's are undone by its expert,
too, so that the wrong name costs little. What is drawn depends on the seed alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rnr.degradation.kind import Factor, Kind, kinds
from rnr.degradation.photographs import random_crops, rounded
from rnr.degradation.synthesize import Mixture, Step, degrade, draw_seed
from rnr.restorer.expert import Experts

ABSENT = 0.1  # share of pictures without the leg's kind; a choice
ALIKE = 0.3  # share that shows what is taken for the kind instead of it (`Kind.alike`); a choice
KEPT = 0.2  # share that holds a later-formed kind at both ends; a choice (DESIGN: 20%)
RESIDUE = 0.35  # share that went through the experts of later-formed kinds; a choice
OTHERS = (0.5, 0.3, 0.2)  # shares of pictures with 0, 1, 2 other kinds; a choice
KNOWN = 0.9  # share of pictures whose factors the diagnosis gives; a choice
MISREAD = 0.12  # share of those of which it reads another damage altogether; a choice
JITTER = 0.04  # standard deviation of a reading, by the range of the factor; a choice
READ = 15.0  # standard deviation in points of severity, from which the main factor follows; with 10 haze beside other
# kinds lost 0.1 to 0.7 dB by prediction (docs/lab-log.md, 2026-11-28)
GAMMA, DIMMER, BALANCE = 0.2, 0.25, 0.08  # spread of log gamma, most light and colour taken off; a choice
DIMMED = 0.4  # share of pictures that light is taken off: with all of them an overview expects grey skies
SEVERITY = 2.0  # the weakest damage that is drawn: below 2.5 it counts as absent (synthesize.VISIBLE)


@dataclass
class LegBatch:
    """A batch of legs (B, 3, H, W) in [0, 1]."""

    start: torch.Tensor
    end: torch.Tensor
    inverse: torch.Tensor | None = None  # the start as physics would undo it; the start itself where nothing is known
    severity_B: torch.Tensor | None = None  # as a diagnosis says it, 0..100; NaN where it says nothing


def draw_legs(
    kind: Kind,
    photographs: Sequence[np.ndarray],
    batch: int,
    size: int,
    seed: int,
    experts: Experts | None = None,
    physics: bool = False,
    tones: bool = False,
) -> LegBatch:
    """A batch of legs of one kind.

    Args:
        kind: The kind that is removed.
        photographs: Undamaged, uint8 HWC.
        batch: Number of crops.
        size: Their side in px.
        seed: Everything random comes from it.
        experts: Those of later-formed kinds leave their residue; None: later-formed kinds were removed exactly.
        physics: Add the start as physics would undo it, by factors that are read with errors, wrong or unknown.
        tones: Give the photographs other tones first, so that nobody learns how bright each of them is.
    """
    clean = random_crops(list(photographs), batch, (size, size), torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    if tones:
        clean = retoned(clean, torch.Generator().manual_seed(seed + 2))
    draw_B = torch.rand(batch, generator=generator)
    mixture = draw_formation(kind, batch, (draw_B < KEPT) | through_experts(draw_B, experts), generator)
    start, end = ends(clean, mixture, kind, draw_B, experts, dict.fromkeys(kinds(), torch.ones(batch).bool()))
    read = read_of(kind, mixture, torch.Generator().manual_seed(seed + 3))
    if physics and kind.said_alone:
        end = as_read(end, kind, mixture, read)
    return LegBatch(start, end, inverse_of(start, kind, read) if physics else None, read.severity_B)


def through_experts(draw_B: torch.Tensor, experts: Experts | None) -> torch.Tensor:
    """Pictures that later-formed kinds are removed from by their experts, not exactly, by a draw from 0..1."""
    return (draw_B >= KEPT) & (draw_B < KEPT + RESIDUE) & (experts is not None)


def ends(
    clean_BCHW: torch.Tensor, mixture: Mixture, kind: Kind, draw_B: torch.Tensor, experts: Experts | None,
    goes: Mapping[str, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Start and end of the legs of a kind: later-formed kinds are gone, mostly, exactly or by their experts.

    Args:
        clean_BCHW: In [0, 1].
        mixture: How they were damaged.
        kind: That the legs remove.
        draw_B: From 0..1: below KEPT later-formed kinds are there at both ends; then see `through_experts`.
        experts: Of later-formed kinds.
        goes: By kind, (B,): False where it is to stay at both ends; experts remove all later-formed kinds or none.
    """
    later = [k.name for k in kinds().values() if k.formation > kind.formation]
    residue_B = through_experts(draw_B, experts)
    for name in later:
        residue_B = residue_B & goes[name]
    stays = {name: ~goes[name] | (draw_B < KEPT) | (name not in later) for name in kinds()}
    start = degrade(clean_BCHW, mixture, {name: mask_B | residue_B for name, mask_B in stays.items()})
    start = start if experts is None else without_later(kind, start, mixture, residue_B, experts)
    undone = {name: goes[name] & (name == kind.name or name in kind.alike) for name in kinds()}
    return start, degrade(clean_BCHW, mixture, {name: stays[name] & ~undone[name] for name in kinds()})


def retoned(image_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The pictures with another exposure, gamma and white balance, as another camera might have taken them."""
    count = len(image_BCHW)
    gamma = torch.exp(GAMMA * torch.randn(count, 1, 1, 1, generator=generator))
    less = torch.rand(count, 1, 1, 1, generator=generator) / DIMMED - (1 / DIMMED - 1)
    gain = 1 - DIMMER * less.clamp(min=0)
    balance = 1 - BALANCE * torch.rand(count, 3, 1, 1, generator=generator)
    return rounded(image_BCHW**gamma * gain * balance)


@dataclass
class Read:
    """What diagnoses say of a kind in the pictures of a batch, with the errors of a reasoner.

    Attributes:
        severity_B: 0..100; NaN where nothing is said.
        factors: (B,) by name, those of this severity; what they say where `severity_B` is NaN means nothing.
        found_B: Where something is said and the kind is there.
    """

    severity_B: torch.Tensor
    factors: dict[str, torch.Tensor]
    found_B: torch.Tensor


def read_of(kind: Kind, mixture: Mixture, generator: torch.Generator) -> Read:
    """Most are read with an error; some are another damage altogether, or none; what is not there is found, too."""
    (step,) = mixture.of(kind.name)
    count = len(step.mask_B)
    other = kind.draw_between(SEVERITY, kind.top, count, generator)
    draw, off = torch.rand(2, count, generator=generator), READ * torch.randn(count, generator=generator)
    wrong = (draw[1] < MISREAD) | ~step.mask_B
    near = (kind.severity(step.factors) + off).clamp(SEVERITY, kind.top)
    factors = kind.with_severity(near, {f.name: _jittered(f, step.factors[f.name], generator) for f in kind.factors})
    factors = {name: torch.where(wrong, other[name].to(value.dtype), value) for name, value in factors.items()}
    severity, known = torch.where(wrong, kind.severity(other), near), draw[0] < KNOWN
    return Read(torch.where(known, severity, torch.nan), factors, known & step.mask_B)


def _jittered(factor: Factor, value_B: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if factor.choices:
        return value_B
    off = JITTER * (factor.high - factor.low) * torch.randn(len(value_B), generator=generator)
    return (value_B + off).clamp(factor.low, factor.high)


def inverse_of(start_BCHW: torch.Tensor, kind: Kind, read: Read) -> torch.Tensor:
    """The start as physics would undo it by what was read; the start itself where that is nothing, or of nothing."""
    undone = kind.invert(start_BCHW, read.factors).clamp(-0.5, 1.5)
    return torch.where(read.found_B.view(-1, 1, 1, 1), undone, start_BCHW)


def as_read(end_BCHW: torch.Tensor, kind: Kind, mixture: Mixture, read: Read) -> torch.Tensor:
    """What physics would make of the degraded end, by what was read, if the kind had brought no noise with it.

    The target of kinds whose amount only a diagnosis knows: the expert removes the noise and leaves the amount alone,
    all of it where nothing is read.
    """
    (step,) = mixture.of(kind.name)
    clear = {"noise": torch.zeros(len(end_BCHW))}
    there, found = (mask_B.view(-1, 1, 1, 1) for mask_B in (step.mask_B, read.found_B))
    degraded = torch.where(there, kind.apply(end_BCHW, step.factors | clear, step.seed), end_BCHW)
    return torch.where(found, kind.invert(degraded, read.factors | clear).clamp(0, 1), degraded)


def draw_formation(kind: Kind, batch: int, later_B: torch.Tensor, generator: torch.Generator) -> Mixture:
    """The kind on most pictures, others beside it; later-formed ones only where `later_B` allows them."""
    others = [k for k in kinds().values() if k.name != kind.name]
    count = torch.multinomial(torch.tensor(OTHERS), batch, replacement=True, generator=generator)
    rank = torch.rand(batch, len(others), generator=generator).argsort(1).argsort(1)
    masks = {k.name: rank[:, i] < count for i, k in enumerate(others)}
    masks[kind.name] = torch.rand(batch, generator=generator) >= ABSENT
    if kind.alike:
        instead = torch.rand(batch, generator=generator) < ALIKE
        masks[kind.name] &= ~instead
        masks |= {name: masks[name] | instead for name in kind.alike}
    steps = []
    for k in kinds().values():
        mask = masks[k.name] & later_B if k.formation > kind.formation else masks[k.name]
        steps.append(Step(k, mask, k.draw_between(SEVERITY, k.top, batch, generator), draw_seed(generator)))
    return Mixture(steps, batch)


@torch.no_grad()
def without_later(
    kind: Kind, image_BCHW: torch.Tensor, mixture: Mixture, rows_B: torch.Tensor, experts: Experts
) -> torch.Tensor:
    """These pictures of a batch after the experts of later-formed kinds, the last formed first."""
    for step in reversed(mixture.steps):
        hit = (step.mask_B & rows_B).nonzero()[:, 0]
        if step.kind.formation > kind.formation and step.kind.name in experts and len(hit):
            x = image_BCHW[hit].contiguous(memory_format=torch.channels_last)
            end = (x + experts[step.kind.name](x, x, torch.ones(len(x)))).clamp(0, 1)
            image_BCHW = image_BCHW.index_copy(0, hit, end)
    return image_BCHW
