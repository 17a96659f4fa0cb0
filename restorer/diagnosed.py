"""Training pairs with what a reasoner really said of these very pictures.

Beliefs that are drawn at random (`Confusion`) are wrong independently of the picture. A reasoner's are not: what
misleads it (a white wall, a night scene) is in the picture, its factors and its quality err with its severity, and the
restorer has to learn what such a diagnosis is worth. The file of `rnr data predictions` holds the diagnoses of batches
of crops; the crops are made again from their seeds and the same photographs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.kind import PHYSICS
from rnr.degradation.synthesize import Mixture, degrade
from rnr.restorer.condition import Layout, encode, stack
from rnr.restorer.data import Pairs, draw_damage, true_severity

SIZE, BATCH = 128, 4  # px and number of crops: a stage of the training


def crops_of(
    photographs: Sequence[np.ndarray], seed: int, names: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor, Mixture]:
    """Clean and degraded crops (BATCH, 3, SIZE, SIZE) and their recipe of these kinds, on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    clean, mixture = draw_damage(photographs, BATCH, SIZE, seed, names, generator)
    return clean, degrade(clean, mixture), mixture


class Diagnosed:
    """Batches of records; batch number n is of the crops that `crops_of` makes from seed + n."""

    def __init__(self, records: list[list[DiagnosisRecord]], seed: int, photographs: int, names: list[str]) -> None:
        self.records, self.seed, self.photographs, self.names = records, seed, photographs, names

    @classmethod
    def read(cls, path: str | Path) -> Diagnosed:
        """Raises ValueError for a file without diagnoses."""
        data = json.loads(Path(path).read_text())
        if not data.get("diagnosed"):
            raise ValueError(f"{path}: no diagnoses in it; make the file again with rnr data predictions")
        about: dict[str, Any] = data["about"]
        if about.get("physics", 1) != PHYSICS:
            raise ValueError(f"{path}: of other forward models; make the file again with rnr data predictions")
        records = [[DiagnosisRecord(**record) for record in batch] for batch in data["diagnosed"]]
        return cls(records, about["seed"], about["photographs"], about["kinds"])

    def pairs(
        self, number: int, photographs: Sequence[np.ndarray], layout: Layout, device: torch.device | str
    ) -> Pairs:
        """Pairs of a batch, on the device. Raises ValueError if these cannot be the photographs that were diagnosed."""
        if len(photographs) != self.photographs:
            raise ValueError(f"diagnosed were {self.photographs} photographs, these are {len(photographs)}: run rnr "
                             "data predictions on the photographs that you train with")  # fmt: skip
        clean, degraded, mixture = crops_of(photographs, self.seed + number, self.names)
        condition = stack([encode(layout, record) for record in self.records[number]])
        severity = true_severity(mixture, layout).to(device)
        return Pairs(degraded.to(device), clean.to(device), condition.to(device), severity)
