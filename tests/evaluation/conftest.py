"""Stand-ins for trained models: a reasoner that knows the ground truth, a restorer that leaves pictures as they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Finding, reasoning_order
from rnr.degradation.kind import PHYSICS


class Believer:
    """Says the same of every picture; `strength` by kind, absent where it is not named."""

    identity = {"model": "believer", "model_hash": "0", "prompt": "", "prompt_version": ""}
    kinds = reasoning_order()
    physics = PHYSICS

    def __init__(self, strength: dict[str, int] | None = None) -> None:
        self.strength = strength if strength is not None else {"noise": 40}

    def diagnose(self, images: Iterable[Any]) -> list[DiagnosisRecord]:
        return [self.record() for _ in images]

    def record(self) -> DiagnosisRecord:
        said = {kind: self.strength.get(kind, 0) for kind in self.kinds}
        findings = {kind: Finding(present=bool(level), severity=level) for kind, level in said.items()}
        beliefs = {
            kind: Belief(probability=0.9 if level else 0.1, severity_if_present=level or 5, spread=3, interval=(30, 50))
            for kind, level in said.items()
        }
        diagnosis = Diagnosis(findings=findings)
        return DiagnosisRecord(diagnosis=diagnosis, beliefs=beliefs, text=diagnosis.to_json(), forward_passes=7)


@pytest.fixture
def believer() -> Believer:
    return Believer()


@pytest.fixture(scope="session")
def idle_restorer():
    """A small network whose head is zero: it returns the picture that it was given."""
    from rnr.restorer.bridge import BridgeScheduler
    from rnr.restorer.network import RestorerNetwork
    from rnr.restorer.pipeline import RestorePipeline

    network = RestorerNetwork(widths=(8, 16), blocks=(1, 1), condition=32).eval()
    torch.nn.init.zeros_(network.mix.bias)  # fresh, it would trust physics
    return RestorePipeline(network, BridgeScheduler())


@pytest.fixture(scope="session")
def small(photographs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Two crops of 96 px."""
    return {name: photographs[name][120:216, 160:256] for name in ("astronaut", "coffee")}


@pytest.fixture(scope="session")
def folder(small: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two crops as files."""
    from PIL import Image

    path = tmp_path_factory.mktemp("photographs")
    for name, picture in small.items():
        Image.fromarray(picture).save(path / f"{name}.png")
    return path
