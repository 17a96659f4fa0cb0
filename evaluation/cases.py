"""Damaged photographs on which several restorers are measured, and means over photographs with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from rnr.degradation.photographs import centre_of, rounded
from rnr.degradation.synthesize import Mixture, degrade, draw_mixture
from rnr.evaluation import metrics
from rnr.evaluation.tables import Row

if TYPE_CHECKING:
    from rnr.degradation.diagnosis import Diagnosis
    from rnr.degradation.intent import Intent
    from rnr.degradation.protocols import Restorer
    from rnr.quality.model import QualityModel

RESAMPLES = 1000  # of a bootstrap
Report = Callable[[int], None]


@dataclass
class Case:
    """A photograph's centre, one damage of it (1, 3, H, W), and that damage's recipe."""

    photograph: str
    clean: torch.Tensor
    damaged: torch.Tensor
    mixture: Mixture


def cases(
    photographs: Mapping[str, np.ndarray], size: int, mixtures: int, seed: int, names: Sequence[str] | None = None
) -> list[Case]:
    """Centres of `size` px (0: whole), each with so many mixtures of one or several kinds (`names`, or all)."""
    found = []
    for number, (name, picture) in enumerate(photographs.items()):
        clean = centre_of(picture, size)
        for index in range(mixtures):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + 101 * number + index)
            stage = "several" if index % 2 else "single"
            mixture = draw_mixture(1, generator, stage, names, severity=(15, 80))  # type: ignore[arg-type]
            found.append(Case(name, clean, degrade(clean, mixture), mixture))
    return found


def by_diagnosis(restorer: Restorer, case: Case, diagnosis: Diagnosis, intent: Intent | None = None) -> torch.Tensor:
    """The damaged photograph (1, 3, H, W), restored by a diagnosis, in 8-bit levels."""
    result = restorer.restore(case.damaged[0].permute(1, 2, 0).contiguous().numpy(), diagnosis, intent)
    return rounded(torch.from_numpy(np.ascontiguousarray(result.pixels_HWC3)).permute(2, 0, 1)[None])


def interval(values: Sequence[float], groups: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """95% of the mean over photographs that are drawn again, with replacement."""
    names = list(dict.fromkeys(groups))
    held = [np.array([v for v, g in zip(values, groups) if g == name and np.isfinite(v)]) for name in names]
    held = [each for each in held if len(each)]
    if not held:
        return float("nan"), float("nan")
    return metrics.interval(len(held), lambda drawn: np.concatenate([held[i] for i in drawn]).mean(), seed, RESAMPLES)


def even(image_1CHW: torch.Tensor, multiple: int) -> torch.Tensor:
    """Without what is left over at the lower and right border."""
    height, width = (side - side % multiple for side in image_1CHW.shape[-2:])
    return image_1CHW[..., :height, :width]


def predicted(scorer: QualityModel, image_1CHW: torch.Tensor) -> float:
    """The score that a quality model gives."""
    (found,) = scorer.score([image_1CHW[0].permute(1, 2, 0).numpy()])
    return float(found.technical or 0.0)


def numbers(rows: Sequence[Row], name: str) -> list[float]:
    return [float(row[name]) for row in rows]  # type: ignore[arg-type]
