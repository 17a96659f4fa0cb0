"""Train the network without experts: `rnr train restorer --images DIR --out FOLDER`, by the training kit's engine.

Crops of 64 px, then 128, a last tenth at 192 (samples are counted in 64 px crops); the loss is L1, for the last third
the logarithm of each picture's squared error (which is PSNR). From trained weights (`init`) it begins with the second
of both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from rnr.degradation.kind import kinds
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import centre_crop, read_folder, to_tensor
from rnr.degradation.synthesize import Mixture, degrade, prescribe, truths
from rnr.restorer.bridge import corrupt
from rnr.restorer.condition import encode, stack
from rnr.restorer.confusion import Confusion
from rnr.restorer.data import BELIEVED, MODES, Pairs, draw_pairs
from rnr.restorer.diagnosed import BATCH, SIZE, Diagnosed
from rnr.restorer.network import RestorerNetwork, thumbnail
from rnr.training import checkpoint
from rnr.training.config import Precision, Run
from rnr.training.engine import Engine, stage_at
from rnr.training.journal import Report

STAGES = ((0.70, 64, 8), (0.90, 128, 4), (1.01, 192, 2))  # until this share of the samples: crop size, batch
VALIDATED = 128  # px: side of the centres of photographs for validation; a choice
SECOND_LOOK = 0.5  # weight of the severities' error beside the picture's
LATER = {"first_crop": 128, "log_loss_from": 0.0}  # settings of a training that begins from trained weights


class RestorerRun(Run):
    """Settings of the network without experts."""

    samples: int = Field(default=300_000, ge=1, description="length of the schedule, in crops of 64 px")
    rate: float = Field(default=8e-4, gt=0, description="learning rate at its highest")
    precision: Precision = Field(default="fp32", description="of the losses")
    sigma: float = Field(default=0.1, ge=0, description="largest noise of the bridge in training")
    one_step: float = Field(default=0.6, ge=0, le=1, description="share of pictures trained at t = 1")
    log_loss_from: float = Field(default=0.66, ge=0, description="share of the samples")
    first_crop: int = Field(default=64, description="px: stages with smaller crops are skipped")
    batch_factor: int = Field(default=1, ge=1, description="multiplies the batch (for a GPU)")
    blind: bool = Field(default=False, description="a twin without a diagnosis")


class RestorerObjective:
    """Both ends of the bridge and what lies between, conditioned on a diagnosis.

    Args:
        network: What is trained.
        run: The settings.
        photographs: Undamaged photographs to train on, uint8 HWC.
        held_out: Others, for validation.
    """

    def __init__(
        self,
        network: RestorerNetwork,
        run: RestorerRun,
        photographs: Sequence[np.ndarray],
        held_out: Sequence[np.ndarray] = (),
    ) -> None:
        self.model, self.run, self.photographs, self.held_out = network, run, photographs, held_out
        self.confusion = Confusion()
        self.diagnosed: Diagnosed | None = None

    def batch(self, progress: float, seed: int) -> tuple[Pairs, int]:
        """A batch and its number of crops in units of 64x64 px."""
        size, batch = stage_at([stage for stage in STAGES if stage[1] >= self.run.first_crop], progress)
        batch *= self.run.batch_factor
        return self.pairs(batch, size, seed), batch * (size // 64) ** 2

    def pairs(self, batch: int, size: int, seed: int) -> Pairs:
        """The batch of this seed: real diagnoses, if there are any for such crops, in place of drawn beliefs."""
        modes = torch.tensor([0.0, 0.0, 0.0, 1.0]) if self.run.blind else MODES.clone()
        layout, diagnosed, device = self.model.layout, self.diagnosed, str(next(self.model.parameters()).device)
        if diagnosed and (size, batch) == (SIZE, BATCH) and not self.run.blind:
            draw = torch.rand(2, generator=torch.Generator().manual_seed(seed + 2))
            if draw[0] < modes[BELIEVED]:
                return diagnosed.pairs(int(draw[1] * len(diagnosed.records)), self.photographs, layout, device)
            modes[BELIEVED] = 0
        return draw_pairs(self.photographs, batch, size, seed, layout, self.confusion, device, modes)

    def loss(self, batch: Pairs, progress: float, seed: int) -> torch.Tensor:
        """Error of the estimate at a random time of the bridge."""
        pairs, run, device = batch, self.run, batch.target.device
        generator = torch.Generator(device).manual_seed(seed)
        draw = torch.rand(3, len(pairs.target), generator=generator, device=device)
        t = torch.where(draw[0] < run.one_step, 1.0, 0.05 + 0.95 * draw[1])
        noise = torch.randn(pairs.target.shape, generator=generator, device=device)
        x = corrupt(pairs.target, pairs.degraded, t, run.sigma * draw[2], noise)
        steer = self.model.steer(pairs.condition, t, thumbnail(pairs.degraded))
        inverted = self.model.inverted(pairs.degraded, pairs.condition, steer)
        estimate = self.model(x, pairs.degraded, inverted, steer)
        error = SECOND_LOOK * severity_error(self.model, pairs, steer)
        if progress < run.log_loss_from:
            return error + (estimate - pairs.target).abs().mean()
        return error + torch.log(((estimate - pairs.target) ** 2).mean((1, 2, 3)) + 1e-5).mean() / 20

    def validate(self, model: Any) -> dict[str, float]:
        """See `validate`; {} without photographs to validate on."""
        return validate(model, self.held_out, self.run.blind) if self.held_out else {}


def severity_error(network: RestorerNetwork, pairs: Pairs, steer: torch.Tensor) -> torch.Tensor:
    """Mean error (0..1) of the reconsidered severities where a kind is there, believed and doubtful."""
    given = torch.stack([features[:, :4] for features in pairs.condition.findings.values()], 1)  # (B, K, 4)
    belief, spread = given[:, :, 0], given[:, :, 3]
    own = [features[:, 1] for features in network.reconsidered(pairs.condition, steer).findings.values()]
    doubtful = (pairs.severity > 0) & (belief > 0.05) & (spread > 0)
    return ((torch.stack(own, 1) - pairs.severity).abs() * doubtful).sum() / doubtful.sum().clamp(min=1)


MIXTURES: dict[str, dict[str, float]] = {
    "haze+noise": {"haze": 50, "noise": 30},
    "blur+rain+noise": {"blur": 30, "rain": 50, "noise": 30},
}  # a choice; single kinds are shown at their own `validation_severity`


def validation_tasks(names: Collection[str]) -> dict[str, dict[str, float]]:
    """What a network of these kinds is validated on: {task: severities}."""
    single: dict[str, dict[str, float]] = {
        name: {name: kind.validation_severity} for name, kind in kinds().items() if name in names
    }
    return {"clean": {}} | single | {name: request for name, request in MIXTURES.items() if set(request) <= set(names)}


def validation_set(
    photographs: Sequence[np.ndarray], names: Collection[str]
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor, Mixture]]:
    """(name, clean, degraded, recipe): fixed damage of these kinds on the centres of photographs."""
    crops = [centre_crop(p, VALIDATED) for p in photographs]
    clean = torch.cat([to_tensor(c) for c in crops if c.shape[:2] == (VALIDATED, VALIDATED)])
    for name, request in validation_tasks(names).items():
        mixture = prescribe(request, seed=7, batch=len(clean))
        yield name, clean, degrade(clean, mixture) if request else clean, mixture


@torch.no_grad()
def validate(network: RestorerNetwork, photographs: Sequence[np.ndarray], blind: bool = False) -> dict[str, float]:
    """PSNR in dB per task, one step, conditioned on the true diagnosis (or nothing)."""
    result = {}
    for name, clean, degraded, mixture in validation_set(photographs, list(network.layout.factors)):
        given = [None if blind else d for d in truths(clean, degraded, mixture)]
        conditions = [encode(network.layout, diagnosis) for diagnosis in given]
        condition = stack(conditions)
        estimate = network.one_step(degraded, condition)
        result[name] = round(float(psnr(estimate.clamp(0, 1), clean).clamp(max=60).mean()), 2)
    return result


def train(
    images: str | Path,
    run: RestorerRun,
    init: str | Path | None = None,
    val: str | Path | None = None,
    confusion: str | Path | None = None,
    report: Report = lambda row: None,
) -> Path:
    """Train on a folder of clean photographs and export `run.out`/weights.

    Args:
        images: Folder of undamaged photographs.
        run: Settings of the training.
        init: A weights folder to start from, with fresh moments.
        val: Folder of other photographs, for validation.
        confusion: What a reasoner says of known damage (`rnr data predictions`).
        report: Gets every row of the journal.

    Returns:
        The folder of the weights.

    Raises:
        ValueError: For a folder without photographs, nothing to resume from.
    """
    from rnr.restorer.loading import network_of

    if run.resume:  # it goes on as it began
        held = checkpoint.read(run.out / checkpoint.CHECKPOINT)[0]["run"]
        run = run.model_copy(update={name: held[name] for name in LATER})
    elif init:
        run = run.model_copy(update=LATER)
    photographs = list(read_folder(images).values())
    held_out = list(read_folder(val, 12).values()) if val else []
    torch.manual_seed(run.seed)
    network = network_of(init) if init else None
    objective = RestorerObjective(network or RestorerNetwork(), run, photographs, held_out)
    if confusion:
        objective.confusion, objective.diagnosed = Confusion.read(confusion), Diagnosed.read(confusion)
    engine = Engine(objective, run, report)
    engine.train()
    data = f"{len(photographs)} photographs of `{Path(images).name}`; the licence of those photographs applies"
    return _exported(engine, objective, data, init, bool(confusion))


def _exported(engine: Engine, objective: RestorerObjective, data: str, init: str | Path | None, confused: bool) -> Path:
    """The averaged weights with their card."""
    from rnr.restorer.export import export, record_of, samples_of

    run, before = engine.run, samples_of(init) if init else 0
    hours = round(engine.seconds / 3600 + (record_of(init).get("hours", 0) if init else 0), 1)
    engine.averaged()
    with torch.no_grad():
        figures = objective.validate(objective.model) or "no validation photographs were given"
    command = f"rnr train restorer --images DIR --samples {run.samples} --seed {run.seed} --rate {run.rate:g}"
    training = f"{engine.samples:,} crops in units of 64x64, from weights that had seen {before:,}; {hours} hours"
    card: dict[str, object] = {
        "data": data,
        "license": run.license,
        "training": training,
        "samples": engine.samples,
        "samples_before": before,
        "hours": hours,
        "command": command + " --init WEIGHTS" * bool(init) + " --confusion FILE" * confused,
        "figures": figures,
    }
    return export(objective.model, run.out / "weights", card)
