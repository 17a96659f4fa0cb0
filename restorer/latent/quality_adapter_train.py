"""Train a quality adapter: `rnr train quality-adapter --images DIR --out FOLDER`.

The experts are frozen; embedding and projections learn (`quality_adapter`). A sample is a leg of one kind, as its
expert was trained on. Its target is the end of the leg, or in half of the samples a place before it on the straight
line from the start, as the bridge goes; a scorer says how good that target is, and this score is the condition. At use
the score is what is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnr.degradation.kind import kind_named
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import read_folder
from rnr.degradation.protocols import Scorer
from rnr.restorer.expert import ExpertNetwork
from rnr.restorer.expert_data import LegBatch, draw_legs
from rnr.restorer.expert_train import looked, root_error
from rnr.restorer.latent.quality_adapter import FILE, QualityAdapter, conditioned, save_adapter
from rnr.restorer.loading import load_bridge
from rnr.training.card import card_of
from rnr.training.config import Run
from rnr.training.engine import Engine
from rnr.training.journal import Report

SIDE, BATCH = 128, 4  # px of a crop, which the scorer needs; crops of an update; a choice
END = 0.5  # share of targets at the end of the leg; a choice
HELD = 8  # validation photographs; one leg of each, the kinds in turn
TARGETS = (30.0, 60.0, 90.0)  # scores of validation


class AdapterRun(Run):
    """Settings of this training; samples are crops of 64x64 px."""

    samples: int = 40_000
    warm_up: int = 800


class AdapterObjective:
    """The estimate of a leg's end, of the quality that is asked for.

    Args:
        adapter: On these networks.
        networks: Experts by kind, as `conditioned` makes them.
        scorer: Says how good a target is.
        photographs: Undamaged, uint8 HWC.
        held_out: Others, for validation.

    Raises:
        ValueError: For a scorer that gives no technical score.
    """

    def __init__(
        self, adapter: QualityAdapter, networks: Mapping[str, ExpertNetwork], scorer: Scorer,
        photographs: Sequence[np.ndarray], held_out: Sequence[np.ndarray] = (),
    ) -> None:  # fmt: skip
        for network in networks.values():
            network.requires_grad_(False)
        self.model, self.networks, self.scorer = adapter.requires_grad_(True), networks, scorer
        self.photographs, self.kinds = list(photographs), list(networks)
        self.held = [(self.kinds[i % len(self.kinds)], self.leg([p], i, 1)) for i, p in enumerate(held_out)]

    def leg(self, photographs: Sequence[np.ndarray], seed: int, batch: int) -> LegBatch:
        """Legs of the kind whose turn it is."""
        kind = self.kinds[seed % len(self.kinds)]
        physics = bool(self.networks[kind].config["physics"])
        return draw_legs(kind_named(kind), photographs, batch, SIDE, seed, physics=physics)

    def batch(self, progress: float, seed: int) -> tuple[tuple[str, LegBatch, torch.Tensor], int]:
        """Kind, legs to their targets, the targets' scores (B,); and their number in units of 64x64 px."""
        leg, generator = self.leg(self.photographs, seed, BATCH), torch.Generator().manual_seed(seed)
        draw = torch.rand(2, BATCH, 1, 1, 1, generator=generator)
        leg.end = torch.lerp(leg.end, leg.start, torch.where(draw[0] < END, 0.0, draw[1]))
        return (self.kinds[seed % len(self.kinds)], leg, self.scores(leg.end)), BATCH * (SIDE // 64) ** 2

    def scores(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """What the scorer says of pictures, 0..100."""
        found = [each.technical for each in self.scorer.score(list(image_BCHW.movedim(1, -1).cpu().numpy()))]
        if None in found:
            raise ValueError(f"{self.scorer.identity['model']}: gives no technical score; name another --scorer")
        return torch.tensor(found, dtype=torch.float32)

    def estimate(self, kind: str, leg: LegBatch, score_B: torch.Tensor) -> torch.Tensor:
        """Where the leg ends, at these scores."""
        network, device = self.networks[kind], self.model.device
        hidden = self.model.embedding(score_B.to(device))
        start = leg.start.to(device, memory_format=torch.channels_last)
        inverse = None if leg.inverse is None else leg.inverse.to(device)
        severity = None if leg.severity_B is None else leg.severity_B.to(device)
        one = torch.ones(len(start), device=device)
        return start + network(start, start, one, looked(network, start, inverse, hidden), severity, hidden)

    def loss(self, batch: tuple[str, LegBatch, torch.Tensor], progress: float, seed: int) -> torch.Tensor:
        """Root of each picture's squared error."""
        kind, leg, score_B = batch
        estimate = self.estimate(kind, leg, score_B)
        return root_error(estimate, leg.end.to(estimate.device))

    def validate(self, model: Any) -> dict[str, float]:
        """By the score that is asked for: PSNR in dB to the leg's end, and the score that the result has."""
        found = {}
        for target in TARGETS if self.held else ():
            made = [self.estimate(kind, leg, torch.tensor([target])).clamp(0, 1) for kind, leg in self.held]
            image, end = torch.cat(made), torch.cat([leg.end for _, leg in self.held])
            found[f"PSNR at {target:g}"] = round(float(psnr(image, end.to(image.device)).clamp(max=60).mean()), 3)
            found[f"score at {target:g}"] = round(float(self.scores(image).mean()), 3)
        return found


def train_adapter(
    images: str | Path, run: Run, scorer: Scorer, restorer: str | Path = "built-in", val: str | Path | None = None,
    report: Report = lambda row: None,
) -> Path:  # fmt: skip
    """Train an adapter on frozen experts and write `run.out`/quality_adapter.safetensors.

    Args:
        images: Folder of undamaged photographs.
        run: Settings of the training; its samples are crops of 64x64 px.
        scorer: Says how good the targets are: `rnr.quality.load`.
        restorer: built-in, or a folder of experts.
        val: Folder of others, for validation.
        report: Gets every row of the journal.

    Raises:
        ValueError: For a folder without photographs, experts or a scorer that do not serve, nothing to resume from.
    """
    torch.manual_seed(run.seed)
    networks = conditioned(load_bridge(restorer).to(run.device).experts)
    adapter = QualityAdapter(networks).to(run.device)
    photographs = list(read_folder(images).values())
    held_out = list(read_folder(val, HELD).values()) if val else []
    objective = AdapterObjective(adapter, networks, scorer, photographs, held_out)
    engine = Engine(objective, run, report)
    engine.train()
    engine.averaged()
    with torch.no_grad():
        figures = objective.validate(adapter)
    card = card_of(engine, images, len(photographs), "rnr train quality-adapter --images DIR", figures)
    card |= {"scorer": dict(scorer.identity), "restorer": str(restorer)}
    return save_adapter(adapter, run.out / FILE, card)
