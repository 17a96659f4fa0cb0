"""Damaged pictures with what is true of them: score and Diagnosis. What pre-training and the benchmark are made of.

Half of the pictures have one kind of damage or none, half a mixture, each batch up to a severity of its own: mixtures
alone hold few good pictures. Shapes: clean_BCHW and degraded_BCHW in [0, 1] on 8-bit levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rnr.degradation.diagnosis import Diagnosis, Finding, Scene
from rnr.degradation.kind import kinds
from rnr.degradation.measure import technical_quality
from rnr.degradation.photographs import random_crops
from rnr.degradation.scene import COLOURS, LIGHTING, TEXTURE, scene_labels
from rnr.degradation.synthesize import Mixture, degrade, draw_mixture

MILDEST = 30.0  # least upper end of a batch's severities; a choice
STAGES = ("single", "several")


@dataclass
class Pairs:
    """A batch: what was damaged, how, and how much is left of it (score_B, 0-100)."""

    clean_BCHW: torch.Tensor
    degraded_BCHW: torch.Tensor
    mixture: Mixture
    score_B: torch.Tensor
    severity_BK: torch.Tensor  # of each kind, in the order of `kinds()`

    def diagnoses(self) -> list[Diagnosis]:
        """True findings and the scene, without evidence: what captions are written from."""
        labels = {name: values.tolist() for name, values in scene_labels(self.clean_BCHW).items()}
        return [self._diagnosis(i, labels) for i in range(len(self.score_B))]

    def _diagnosis(self, i: int, labels: dict) -> Diagnosis:
        severities = dict(zip(kinds(), self.severity_BK[i].round().int().tolist()))
        findings = {name: Finding(present=s > 0, severity=s) for name, s in severities.items()}
        scene = Scene(
            lighting=LIGHTING[labels["lighting"][i]],
            texture=TEXTURE[labels["texture"][i]],
            colours=[COLOURS[c] for c in labels["colours"][i]],
        )
        return Diagnosis.model_construct(findings=findings, scene=scene)


def draw_pairs(photographs: Sequence[np.ndarray], batch: int, side: int, seed: int) -> Pairs:
    """Crops of photographs (uint8 HWC), damaged; everything random comes from the seed."""
    generator = torch.Generator().manual_seed(seed)
    clean = random_crops(list(photographs), batch, (side, side), generator, upright=True)
    draw = torch.rand(2, generator=generator).tolist()
    most = MILDEST + (100 - MILDEST) * draw[0]
    stage = STAGES[draw[1] < 0.5]
    return pairs_of(clean, draw_mixture(batch, generator, stage, severity=(4, most)))  # type: ignore[arg-type]


def pairs_of(clean_BCHW: torch.Tensor, mixture: Mixture) -> Pairs:
    """Clean pictures damaged by this recipe."""
    degraded = degrade(clean_BCHW, mixture)
    score = technical_quality(degraded, clean_BCHW).clamp(0, 100)
    severity = torch.stack([mixture.severity(name) for name in kinds()], 1)
    return Pairs(clean_BCHW, degraded, mixture, score, severity)
