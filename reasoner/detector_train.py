"""Train the detector: `rnr train detector --images DIR --out FOLDER`.

It learns from the reasoner's own stream of damaged pictures (`rnr.reasoner.data`): where each kind changed each view,
by cells of 8 px, and of each view and of the picture whether and how much. Weights by Muon, as the reasoner's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch.nn import functional

from rnr.degradation.diagnosis import Diagnosis, reasoning_order
from rnr.degradation.files import whole
from rnr.degradation.kind import PHYSICS
from rnr.degradation.photographs import centre_crop, read_folder, to_tensor, weighted
from rnr.reasoner.data import APART, Drawn, apart_batch, damaged_batch
from rnr.reasoner.detector import load_detector
from rnr.reasoner.detector_network import Detector
from rnr.reasoner.probe import read_error
from rnr.reasoner.views import SIDE, views_and_maps
from rnr.training.config import Run
from rnr.training.engine import Engine
from rnr.training.journal import Report
from rnr.training.muon import Muon

BATCH = 16
CELLS = SIDE // 8  # a side of a view's map
SEVERITY, TRACE, VIEWS, STRANGE = 2.0, 40.0, 0.5, 0.5  # weights beside the picture's own presence: choices
SETTLED = 8  # batches of which the statistics of the normalisation are taken; a choice
HELD = 12  # batches of validation
LATE = 0.2  # where the curriculum begins: with half mixtures (`data.stage_at`)
FEATURED = 128  # photographs whose blocks are whitened


class DetectorRun(Run):
    """Settings of the training."""

    samples: int = Field(default=64_000, ge=1, description="pictures that are shown, echoes included")
    rate: float = Field(default=2e-3, gt=0, description="learning rate at its highest")
    echo: int = Field(default=1, ge=1, description="times each picture is learned from")
    clip: float = Field(default=5.0, gt=0, description="largest norm of the gradient")
    ema: float = Field(default=0.99, ge=0, lt=1, description="decay of the average of the weights, reached by a ramp")


@dataclass
class Batch:
    """Views (B, 3, 3, S, S), severities in 0..1 (B, K), whether it is no photograph (B,), traces (B, 3, K, C, C)."""

    views: torch.Tensor
    severity: torch.Tensor
    strange: torch.Tensor
    traces: torch.Tensor

    def mirrored(self) -> Batch:
        """Left and right exchanged."""
        return Batch(self.views.flip(-1), self.severity, self.strange, self.traces.flip(-1))


class DetectorObjective:
    """Traces, presence and severity of each kind.

    Args:
        network: What learns.
        photographs: Undamaged, uint8 HWC.
        held_out: Others, for validation.
    """

    def __init__(
        self, network: Detector, photographs: Sequence[np.ndarray], held_out: Sequence[np.ndarray] = ()
    ) -> None:
        self.model, self.photographs = network, photographs
        self.held = [self.made(damaged_batch(held_out, 77, i, 1.0, BATCH)) for i in range(HELD)] if held_out else []

    def batch(self, progress: float, seed: int) -> tuple[Batch, int]:
        """Damaged pictures of the reasoner's stream."""
        draw = torch.Generator().manual_seed(seed)
        apart = torch.rand(1, generator=draw).item() < APART
        late = min(1.0, LATE + progress)
        return self.made((apart_batch if apart else damaged_batch)(self.photographs, 0, seed, late, BATCH)), BATCH

    def made(self, damaged: Drawn) -> Batch:
        """What is learned from pictures of `rnr.reasoner.data.damaged_batch`."""
        pictures, diagnoses, _, _, traced = damaged
        views, crops = views_and_maps(pictures, traced)
        maps = torch.stack([traced_of(m) for m in (traced, *crops.unbind(1))], 1)
        severity = torch.tensor([[severity_of(d, kind) for kind in self.model.kinds] for d in diagnoses])
        return Batch(views, severity, torch.tensor([float(bool(d.scene.is_graphic)) for d in diagnoses]), maps)

    def loss(self, batch: Batch, progress: float, seed: int) -> torch.Tensor:
        """Of the picture, of each view, of each cell."""
        batch = batch.mirrored() if seed % 2 else batch
        changed, whole_BN, each_BVN = (x.float() for x in self.model(batch.views))
        strange = functional.binary_cross_entropy_with_logits(whole_BN[:, -1], batch.strange)
        views = read_error(each_BVN, batch.severity[:, None].expand(-1, each_BVN.shape[1], -1), SEVERITY)
        traces = (changed - batch.traces).square().mean()  # by absolute errors all maps are empty, most cells being so
        picture = read_error(whole_BN[:, :-1], batch.severity, SEVERITY)
        return picture + STRANGE * strange + VIEWS * views + TRACE * traces

    @torch.no_grad()
    def settle(self) -> None:
        """Statistics of the normalisation for the weights as they are: an average of weights has none of its own."""
        norms = [layer for layer in self.model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
        for layer in norms:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over the batches
        self.model.train()
        for number in range(SETTLED):
            self.model(self.batch(1.0, 1_000 + number)[0].views)
        self.model.eval()

    def validate(self, model: Any) -> dict[str, float]:
        """F1 of presence by kind at severity 20 and more (weaker damage does not count), and the mean error of the
        severity in points where the kind is present. The normalisation is settled by it, also where nothing is held."""
        self.settle()
        if not self.held:
            return {}
        found = torch.cat([model(batch.views)[1][:, :-1] for batch in self.held])
        truth = torch.cat([batch.severity for batch in self.held])
        logit, severity = found.chunk(2, -1)
        result = {name: f1(logit[:, k] > 0, truth[:, k]) for k, name in enumerate(self.model.kinds)}
        result["F1"] = sum(result.values()) / len(result)
        result["error"] = float(100 * (severity - truth).abs()[truth > 0].mean())
        return {name: round(value, 3) for name, value in result.items()}


def traced_of(traced_BKHW: torch.Tensor) -> torch.Tensor:
    """Square root of the mean trace of each cell."""
    return functional.adaptive_avg_pool2d(traced_BKHW, CELLS).clamp(min=0).sqrt()


def severity_of(diagnosis: Diagnosis, kind: str) -> float:
    """In 0..1; 0 where the kind is absent."""
    return (diagnosis.findings[kind].severity or 0) / 100


def f1(found: torch.Tensor, severity: torch.Tensor) -> float:
    """Of presence among pictures where the kind is absent or at least 20."""
    counts = (severity == 0) | (severity >= 0.2)
    found, present = found[counts], severity[counts] > 0
    return float(2 * (found & present).sum() / (found.sum() + present.sum()).clamp(min=1))


class DetectorEngine(Engine):
    """With Muon for the convolutions and linear layers."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        return Muon.of(self.weights.items(), self.run.rate)


def train_detector(
    images: str | Path,
    run: DetectorRun,
    val: str | Path | None = None,
    init: str | Path | None = None,
    report: Report = lambda row: None,
) -> Path:
    """Train a detector and write it to `run.out`/weights/detector.safetensors.

    Args:
        images: Folder of undamaged photographs.
        run: Settings of the training.
        val: Folder of other photographs, for validation.
        init: A detector's file to start from.
        report: Gets every row of the journal.

    Returns:
        The file. A reasoner of this release looks through the one beside `rnr.reasoner.detector`; another takes its
        place there, and the reasoner is trained on with `--init`.

    Raises:
        ValueError: For a folder without photographs, nothing to resume from.
        OSError: For an `init` that is no detector.
    """
    torch.manual_seed(run.seed)
    photographs = weighted(read_folder(images), Path(images))
    network, before = fresh(photographs, init)
    objective = DetectorObjective(network, photographs, list(read_folder(val).values()) if val else [])
    engine = DetectorEngine(objective, run, report)
    engine.train()
    engine.averaged()
    with torch.no_grad():
        figures = objective.validate(network)
    return save(network, run, before, len(photographs), Path(images).name, figures)


def fresh(photographs: Sequence[np.ndarray], init: str | Path | None) -> tuple[Detector, dict[str, Any]]:
    """A network to train, and what is known of its training."""
    if init:
        network, before = load_detector(Path(init))
        return network.requires_grad_(True), before
    network = Detector(reasoning_order())
    network.fit_whitening(torch.cat([to_tensor(centre_crop(p, 256)) for p in photographs[:FEATURED]]))
    return network, {}


def save(
    network: Detector, run: DetectorRun, before: dict[str, Any], photographs: int, data: str, figures: dict[str, float]
) -> Path:
    """Half precision, with its card in the metadata."""
    samples = run.samples + before.get("samples", 0)
    about = {"kinds": network.kinds, "physics": PHYSICS, "samples": samples, "license": run.license}
    about |= {"data": f"{photographs} photographs of {data}", "seed": run.seed, "figures": figures}
    folder = run.out / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    with whole(folder / "detector.safetensors") as part:
        save_file(tensors, part, {"detector": json.dumps(about)})
    return folder / "detector.safetensors"
