"""Training pairs for the restorer: degraded picture, target, and the condition, right or wrong.

Of all pictures 30% come with the true diagnosis (nearly half of those ask for a part of the damage only: the target
keeps the rest; most suspect absent kinds a little, as a reasoner does), 55% with a reasoner's beliefs, 5% with beliefs
that miss or invent kinds, 10% with none. Beliefs are drawn from how a reasoner errs (`Confusion`), or are those that it
holds of these very pictures (`Diagnosed`). What is drawn depends on (seed, step) alone, so a resumed training sees what
an unbroken one sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rnr.degradation.kind import kinds
from rnr.degradation.measure import loss_of_severity, severity_of_loss
from rnr.degradation.photographs import random_crops
from rnr.degradation.scene import COLOURS, LAYOUT, LIGHTING, TEXTURE, scene_labels
from rnr.degradation.synthesize import Mixture, Stage, degrade, draw_mixture
from rnr.restorer.condition import Condition, Layout, finding_features
from rnr.restorer.confusion import Confusion

# Certain, believed, perturbed, blind. With 40 / 40 / 5 / 15% before: by prediction 22.67 -> 23.08 dB, together with the
# correction of doubtful severities that came with it (docs/lab-log.md, 2026-11-21, night).
MODES = torch.tensor([0.30, 0.55, 0.05, 0.10])
# Share of the true diagnoses that suspect absent kinds, and up to which P(present); without them a network learns that
# exact zeros mean a true diagnosis (docs/lab-log.md, 2026-11-22).
SUSPECTED, SUSPICION = 0.6, 0.2
# Share of the findings of a perturbed diagnosis that are missed or invented. With 12% in 15% of the pictures a network
# hedged against them, and noise 25 lost 2 dB by that (docs/lab-log.md, 2026-11-21).
WRONG = 0.1
# Choices, none of which was measured against another:
PARTIAL = 0.45  # share of the true diagnoses that ask for a part of the damage
SINGLE, SEVERAL = 0.45, 0.85  # draws below which a batch has one kind a picture, or several; above it is of high order
MISSED, INVENTED = 0.15, 0.4  # P(present) of a missed kind at most, of an invented one at least
UNNAMED = 0.25  # share of absent kinds that a diagnosis does not name: by hand people name what is there
NO_SCENE, NO_QUALITY = 0.15, 0.25  # shares of the diagnoses that leave these out
QUALITY_ERROR = 0.05  # standard deviation of the technical quality that is given, of 1
FACTOR_ERROR, MISREAD = 0.15, 0.3  # of believed factors: standard deviation by the range; share of other choices
UNKNOWN_READ, UNKNOWN_GIVEN = 0.05, 0.25  # share of factors that are left out, of believed and of certain findings
CERTAIN, BELIEVED, PERTURBED, BLIND = range(4)


@dataclass
class Pairs:
    degraded: torch.Tensor  # (B, 3, H, W)
    target: torch.Tensor
    condition: Condition
    severity: torch.Tensor  # (B, kinds of the layout) true severity in 0..1, 0 = absent


def true_severity(mixture: Mixture, layout: Layout) -> torch.Tensor:
    """(B, K), in 0..1."""
    return torch.stack([mixture.severity(name) for name in layout.factors], 1) / 100


def draw_pairs(
    photographs: Sequence[np.ndarray],
    batch: int,
    size: int,
    seed: int,
    layout: Layout,
    confusion: Confusion,
    device: torch.device | str = "cpu",
    modes: torch.Tensor = MODES,
) -> Pairs:
    """One batch; everything random comes from `seed`."""
    generator = torch.Generator(device).manual_seed(seed)
    clean, mixture = draw_damage(photographs, batch, size, seed, list(layout.factors), generator)
    degraded = degrade(clean, mixture)
    mode = torch.multinomial(modes.to(device), batch, replacement=True, generator=generator)
    keep = _kept(mixture, mode, layout, generator)
    target = torch.where(_any(keep, batch, device)[:, None, None, None], degrade(clean, mixture, keep), clean)
    condition = tell(clean, mixture, mode, keep, layout, confusion, generator)
    return Pairs(degraded, target, condition, true_severity(mixture, layout))


def draw_damage(
    photographs: Sequence[np.ndarray],
    batch: int,
    size: int,
    seed: int,
    names: Sequence[str],
    generator: torch.Generator,
) -> tuple[torch.Tensor, Mixture]:
    """Clean crops (B, 3, size, size) and a recipe for them."""
    crops = random_crops(list(photographs), batch, (size, size), torch.Generator().manual_seed(seed))
    stage = _stage(float(torch.rand(1, generator=generator, device=generator.device)))
    return crops.to(generator.device), draw_mixture(batch, generator, stage, names, severity=(3, 100))


def _stage(draw: float) -> Stage:
    return "single" if draw < SINGLE else "several" if draw < SEVERAL else "high_order"


def _kept(mixture: Mixture, mode: torch.Tensor, layout: Layout, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Which kinds stay in the target (B,): only under a certain diagnosis, and for less than half of those."""
    partial = (mode == CERTAIN) & (torch.rand(len(mode), generator=generator, device=mode.device) < PARTIAL)
    draw = torch.rand(len(mode), len(layout.factors), generator=generator, device=mode.device) < 0.5
    return {name: partial & column for name, column in zip(layout.factors, draw.unbind(1))}


def _any(keep: dict[str, torch.Tensor], batch: int, device: torch.device | str) -> torch.Tensor:
    return torch.stack([*keep.values(), torch.zeros(batch, dtype=torch.bool, device=device)]).any(0)


def tell(
    clean: torch.Tensor,
    mixture: Mixture,
    mode: torch.Tensor,
    keep: dict[str, torch.Tensor],
    layout: Layout,
    confusion: Confusion,
    generator: torch.Generator,
) -> Condition:
    """The condition: true or believed findings, scene and quality, each sometimes unknown."""
    blind, believed = mode == BLIND, mode != CERTAIN
    suspicious = ~believed & _chance(SUSPECTED, mode, generator)
    findings, asked, remaining = {}, {}, torch.ones(len(mode), device=mode.device)
    for name, rows in layout.factors.items():
        severity = mixture.severity(name).to(mode.device) if mixture.steps else torch.zeros_like(remaining)
        certain = torch.where(keep[name], 0, severity)
        probability, about, spread = _belief(name, severity, certain, mode, suspicious, confusion, generator)
        remaining = remaining * (1 - loss_of_severity(torch.where(believed, probability * about, severity)))
        values = _given_factors(name, mixture, believed, about, generator)
        findings[name] = finding_features(rows, probability, about, spread, values)
        # A diagnosis by hand may name only what is there: absent kinds are then not asked.
        asked[name] = ~blind & ((probability > 0) | ~_chance(UNNAMED, mode, generator))
    scene = _scene(clean, believed, generator) * (~blind & ~_chance(NO_SCENE, mode, generator))[:, None]
    return Condition(findings, asked, scene, _quality(remaining, blind, generator), (~blind).long())


def _chance(share: float, like_B: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """True in a share of the pictures."""
    return torch.rand(len(like_B), generator=generator, device=like_B.device) < share


def _belief(
    name: str, severity_B: torch.Tensor, certain_B: torch.Tensor, mode_B: torch.Tensor, suspicious_B: torch.Tensor,
    confusion: Confusion, generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """P(present), the severity if present, and its spread, as a diagnosis of this mode has them; `certain_B`: of a true
    diagnosis, which may ask for a part of the damage."""
    probability, about, spread = confusion.draw(name, severity_B, generator)
    wrong = (mode_B == PERTURBED) & _chance(WRONG, mode_B, generator)
    doubt = torch.rand(len(mode_B), generator=generator, device=mode_B.device)
    mistaken = torch.where(severity_B > 0, MISSED * doubt, INVENTED + (1 - INVENTED) * doubt)
    believed = mode_B != CERTAIN
    probability = torch.where(believed, torch.where(wrong, mistaken, probability), (certain_B > 0).float())
    # Without these, zeros everywhere else would be the sign of a true diagnosis, which no reasoner's has.
    suspected = suspicious_B & (severity_B == 0)
    probability = torch.where(suspected, SUSPICION * doubt**2, probability)
    doubtful = believed | suspected
    return probability, torch.where(doubtful, about, certain_B), torch.where(doubtful, spread, 0)


def _quality(remaining_B: torch.Tensor, blind_B: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(B, 2): technical quality 0..1, by the share of the picture that the findings leave, and whether it is given."""
    error = QUALITY_ERROR * torch.randn(len(blind_B), generator=generator, device=blind_B.device)
    technical = 1 - severity_of_loss(1 - remaining_B) / 100 + error
    known = ~blind_B & ~_chance(NO_QUALITY, blind_B, generator)
    return torch.stack([technical.clamp(0, 1) * known, known.float()], 1)


def _given_factors(
    name: str, mixture: Mixture, believed: torch.Tensor, severity: torch.Tensor, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """True factors, or factors as a reasoner reads them: off by some of their range, sometimes unknown.

    The main one says what the believed severity says: a second, independent reading would give the true value away.
    """
    given, unknown, kind = {}, {}, kinds()[name]
    for factor, value in mixture.factors(name).items():
        spec = kind.factor(factor)
        draw = torch.rand(2, len(value), generator=generator, device=value.device)
        wrong = (
            torch.randn(len(value), generator=generator, device=value.device) * FACTOR_ERROR * (spec.high - spec.low)
        )
        if spec.choices:
            off = torch.where(draw[0] < MISREAD, (draw[1] * len(spec.choices)).long(), value.long()).float()
        else:
            off = (value + wrong).clamp(spec.low, spec.high)
        unknown[factor] = draw[1] < torch.where(believed, UNKNOWN_READ, UNKNOWN_GIVEN)
        given[factor] = torch.where(believed, off, value.float())
    if given:
        given[kind.main] = torch.where(believed, kind.with_severity(severity, given)[kind.main], given[kind.main])
    return {factor: torch.where(unknown[factor], torch.nan, value) for factor, value in given.items()}


def _scene(clean: torch.Tensor, believed: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(B, SCENE_WIDTH) true labels, a tenth of them wrong where the diagnosis is a belief."""
    labels = scene_labels(clean)
    slots = [(labels["lighting"], LIGHTING), (labels["colours"][:, 0], COLOURS), (labels["colours"][:, 1], COLOURS)]
    slots += [(labels["texture"], TEXTURE), (labels["layout"], LAYOUT)]
    rows = []
    for index, options in slots:
        draw = torch.rand(2, len(index), generator=generator, device=index.device)
        index = torch.where(believed & (draw[0] < 0.1), (draw[1] * len(options)).long(), index)
        rows.append(torch.nn.functional.one_hot(index, len(options)).float())
    return torch.cat(rows, 1)
