"""Train one expert: `rnr train expert KIND --images DIR --out FOLDER`.

At first at the start of the leg alone (t = 1), then as a bridge: t = 1 in 60% of the pictures, uniform elsewhere
(`bridge.corrupt`). With `--blind` t stays 1 and no finding is seen: the regressor that a leg is compared with. Loss:
L1, then the root of each picture's squared error, which follows PSNR without giving all weight to pictures that are
nearly clean (its logarithm lost rain, docs/lab-log.md). Crops of 64 px, then of 128; of 128 alone for an expert that
takes physics' inverse, which needs room. The overview of an expert is trained by itself on squares of small copies of
the photographs, which show as much of a scene as whole pictures do, in other tones: else it learns how bright each
photograph is (low light on others fell from 29.9 to 28.0 dB while the loss fell). A U-Net that is added to it
(`--init`) finds it fixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rnr.degradation.kind import PHYSICS, kind_named
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import centre_crop, read_folder, to_tensor
from rnr.degradation.synthesize import degrade, prescribe
from rnr.restorer.bridge import corrupt
from rnr.restorer.expert import ExpertNetwork, Experts, load_expert, save_expert, shape_of
from rnr.restorer.expert_data import LegBatch, draw_legs, inverse_of, read_of
from rnr.restorer.point_spread_train import PointSpreadObjective
from rnr.restorer.reading import fit
from rnr.training.config import Run
from rnr.training.engine import Engine, stage_at
from rnr.training.journal import Report

STAGES = ((0.65, 64, 16), (1.01, 128, 6))  # until this share of the samples: crop size in px, batch; a choice
BRIDGE_FROM = 0.5  # share of the samples after which t is drawn; a choice
ROOT_FROM = 0.66  # share of the samples after which the loss is the root of the squared error; a choice
SMALL, SQUARE = 168, 128  # px: short side of the small copies, and what is shown of them; a choice
ONE_STEP = 0.6  # share of pictures at t = 1; the built-in restorer takes one step by default
SIGMA = 0.1  # largest noise of the bridge in training
SEVERITIES = (20.0, 45.0, 70.0)  # of validation, or the kind's top


class ExpertObjective:
    """The velocity of one kind's leg.

    Args:
        network: The expert; its config names the kind.
        photographs: Undamaged photographs to train on, uint8 HWC.
        held_out: Others, for validation; their centres of 256 px are used.
        experts: Those of later-formed kinds, for their residue (`expert_data`).
        blind: No bridge, the start of the leg alone (t = 1).
    """

    def __init__(
        self,
        network: ExpertNetwork,
        photographs: Sequence[np.ndarray],
        held_out: Sequence[np.ndarray] = (),
        experts: Experts | None = None,
        blind: bool = False,
    ) -> None:
        self.bridge_from = math.inf if blind else BRIDGE_FROM
        self.global_ = bool(network.config["overview"] and not network.config["widths"])
        if network.glance is not None:
            network.glance.requires_grad_(self.global_)
        if network.reader is not None:
            network.reader.requires_grad_(False)
        self.model, self.experts = network, experts
        self.photographs = [small_copy(p) for p in photographs] if self.global_ else photographs
        self.kind = kind_named(network.config["kind"])
        side = SQUARE if self.global_ else 256
        crops = [centre_crop(small_copy(p) if self.global_ else p, side) for p in held_out]
        self.clean = torch.cat([to_tensor(c) for c in crops if c.shape[:2] == (side, side)]) if crops else None

    def batch(self, progress: float, seed: int) -> tuple[LegBatch, int]:
        """A batch and its number of crops in units of 64x64 px."""
        physics = bool(self.model.config["physics"])
        if self.global_:
            return draw_legs(self.kind, self.photographs, 16, SQUARE, seed, self.experts, physics, tones=True), 16
        config = self.model.config
        stages = STAGES[-1:] if physics or config["overview"] or config["spread"] else STAGES
        size, batch = stage_at(stages, progress)
        leg = draw_legs(self.kind, self.photographs, batch, size, seed, self.experts, physics)
        return leg, batch * (size // 64) ** 2

    def loss(self, batch: LegBatch, progress: float, seed: int) -> torch.Tensor:
        """Error of the estimate of the leg's end."""
        device = next(self.model.parameters()).device
        start, end = (x.to(device, memory_format=torch.channels_last) for x in (batch.start, batch.end))
        x, t = start, torch.ones(len(start), device=device)
        if progress >= self.bridge_from:
            x, t = on_bridge(start, end, seed)
        inverse = looked(self.model, start, None if batch.inverse is None else batch.inverse.to(device))
        severity = None if batch.severity_B is None else batch.severity_B.to(device)
        estimate = x + t.view(-1, 1, 1, 1) * self.model(x, start, t, inverse, severity)
        if progress < ROOT_FROM:
            return (estimate - end).abs().mean()
        return root_error(estimate, end)

    def validate(self, model: Any) -> dict[str, float]:
        """PSNR in dB of one step, by the severity of the kind alone; clean pictures up to 70. Where the network takes
        physics' inverse or the severity, by what is read as in training."""
        if self.clean is None:
            return {}
        result = {}
        for severity in (0.0, *sorted({min(s, self.kind.top) for s in SEVERITIES})):
            mixture = prescribe({self.kind.name: severity} if severity else {}, seed=7, batch=len(self.clean))
            start = degrade(self.clean, mixture).contiguous(memory_format=torch.channels_last)
            inverse = claimed = None
            if severity:
                read = read_of(self.kind, mixture, torch.Generator().manual_seed(7))
                inverse, claimed = inverse_of(start, self.kind, read), read.severity_B
            undone = looked(model, start, inverse) if model.config["physics"] else None
            velocity = model(start, start, torch.ones(len(start)), undone, claimed)
            restored = (start + velocity).clamp(0, 1)
            name = f"{self.kind.name} {severity:g}" if severity else "clean"
            result[name] = round(float(psnr(restored, self.clean).clamp(max=70).mean()), 2)
        return result


def on_bridge(start_BCHW: torch.Tensor, end_BCHW: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States x_t between the ends of a leg, and their times (B,): at the start in a share ONE_STEP of the pictures."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(3, len(start_BCHW), generator=generator).to(start_BCHW.device)
    t = torch.where(draw[0] < ONE_STEP, 1.0, 0.05 + 0.95 * draw[1])
    noise = torch.randn(start_BCHW.shape, generator=generator).to(start_BCHW.device)
    return corrupt(end_BCHW, start_BCHW, t, SIGMA * draw[2], noise), t


def root_error(estimate_BCHW: torch.Tensor, end_BCHW: torch.Tensor) -> torch.Tensor:
    """Root of each picture's mean squared error, averaged."""
    return ((estimate_BCHW - end_BCHW) ** 2).mean((1, 2, 3)).add(1e-6).sqrt().mean()


def looked(
    model: Any, start: torch.Tensor, inverse: torch.Tensor | None, hidden_BD: torch.Tensor | None = None
) -> torch.Tensor | None:
    """The last input of a network: physics' inverse, or what an overview makes of it."""
    return inverse if model.glance is None or inverse is None else model.glance.undo(start, inverse, hidden_BD)


def train_expert(
    kind: str,
    images: str | Path,
    run: Run,
    blocks: tuple[int, ...] = (1, 1, 1),
    val: str | Path | None = None,
    init: str | Path | None = None,
    residue: Experts | None = None,
    physics: bool = False,
    overview: bool = False,
    spread: bool = False,
    finding: bool = False,
    blind: bool = False,
    report: Report = lambda row: None,
) -> Path:
    """Train one expert and write it to `run.out`/weights/KIND.safetensors.

    Args:
        kind: Name of the kind of degradation.
        images: Folder of undamaged photographs.
        run: Settings of the training.
        blocks: Residual blocks at 1/2, 1/4, 1/8 of the resolution; with `init` those of its network.
        val: Folder of other photographs, for validation.
        init: An expert's file to start from.
        residue: Experts of later-formed kinds whose residue the pictures show.
        physics: Give the network the picture as physics would undo it; an `init` without that input is grown by it.
        overview: Train a network that looks at the whole picture, alone; with an `init` that has one, add the U-Net.
            With `physics` it corrects what physics makes of the picture.
        spread: Train the reader of the point spread function alone (blur); a later training from `init` has it.
        finding: Condition it on the severity of the finding; an `init` without that is grown by it.
        blind: Train a plain regressor (t = 1 alone, nothing of the finding) on the same crops, to compare a leg with.
        report: Gets every row of the journal.

    Returns:
        The file; it is written also where the time was up before the schedule's end.

    Raises:
        ValueError: For an unknown kind, a folder without photographs, nothing to resume from, a blind expert that
            would see the finding.
        OSError: For an `init` that is no expert.
    """
    kind_named(kind)
    torch.manual_seed(run.seed)
    inputs = {"physics": physics, "spread": spread, "finding": finding}
    network, before = _start(kind, init, blocks, overview, inputs)
    if blind and (network.config["physics"] or network.config["finding"] or spread):
        raise ValueError("--blind sees nothing of the finding; leave out --physics, --severity and --point-spread, "
                         "and an --init that has them")  # fmt: skip
    photographs = list(read_folder(images).values())
    held_out = list(read_folder(val, 12).values()) if val else []
    objective: ExpertObjective | PointSpreadObjective = (
        PointSpreadObjective(network, photographs, held_out, residue)
        if spread
        else ExpertObjective(network, photographs, held_out, residue, blind)
    )
    engine = Engine(objective, run, report)
    engine.train()
    shape = " --overview" * overview + " --physics" * bool(network.config["physics"]) + " --point-spread" * spread
    shape += " --severity" * bool(network.config["finding"]) + " --blind" * blind
    shape += " --residue RESTORER" * (residue is not None)
    card = card_of(engine, before, len(photographs), Path(images).name, shape)
    engine.averaged()
    if network.config["reads"] and not spread:  # what it read goes by features that have changed
        network = fit(network, photographs)
    return _write(network, run.out / "weights", card, objective)


def _start(
    kind: str, init: str | Path | None, blocks: tuple[int, ...], overview: bool, inputs: dict[str, bool]
) -> tuple[ExpertNetwork, dict[str, Any]]:
    """The network to train, and the card of the one that it goes on from. Raises ValueError for another kind's."""
    network, before = load_expert(Path(init)) if init else (fresh(kind, blocks, inputs["physics"], overview), {})
    network = grown(network, () if overview or not init else blocks, **inputs)
    if network.config["kind"] != kind:
        raise ValueError(f"{init}: an expert for {network.config['kind']}, not for {kind}")
    return network, before


@torch.no_grad()
def _write(
    network: ExpertNetwork, folder: Path, card: dict[str, Any], objective: ExpertObjective | PointSpreadObjective
) -> Path:
    """The expert's file, with the figures of its validation on the card."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{network.config['kind']}.safetensors"
    save_expert(network, path, card | {"figures": objective.validate(network)})
    return path


def fresh(kind: str, blocks: tuple[int, ...], physics: bool, overview: bool) -> ExpertNetwork:
    """A new network: a U-Net, or an overview alone."""
    return (
        ExpertNetwork(kind, (), (), physics, True) if overview else ExpertNetwork(kind, blocks=blocks, physics=physics)
    )


def grown(network: ExpertNetwork, blocks: tuple[int, ...], **inputs: int) -> ExpertNetwork:
    """The same function with what begins at zero: a U-Net after an overview alone, and the inputs that are named:
    physics' inverse, a reader of the point spread function (`spread`), the severity of the finding (`finding`), the
    width of a condition beside them (`hidden`)."""
    config = shape_of(network)
    wanted = config | {name: config[name] or asked for name, asked in inputs.items()}
    if blocks and config["overview"] and not config["widths"]:
        wanted |= {"widths": (64, 128, 256), "blocks": blocks}
    if wanted == config:
        return network
    larger = ExpertNetwork(**wanted).to(memory_format=torch.channels_last)
    weights = network.state_dict()
    if larger.config["finding"] and not config["finding"] and config["widths"]:
        weights["time.0.weight"] = torch.nn.functional.pad(weights["time.0.weight"], (0, 2))
    larger.load_state_dict(weights, strict=False)
    return larger


def small_copy(picture_HWC: np.ndarray) -> np.ndarray:
    """A photograph at a short side of SMALL px."""
    height, width = picture_HWC.shape[:2]
    factor = SMALL / min(height, width)
    size = (max(SMALL, round(width * factor)), max(SMALL, round(height * factor)))
    return np.asarray(Image.fromarray(picture_HWC).resize(size, Image.Resampling.LANCZOS))


def card_of(engine: Engine, before: dict[str, Any], photographs: int, data: str, shape: str = "") -> dict[str, Any]:
    """What an expert's file says of its training; `shape`: the options of the command that shaped the network."""
    samples = engine.samples + before.get("samples", 0)
    hours = round(engine.seconds / 3600 + before.get("hours", 0), 2)
    run = engine.run
    command = f"rnr train expert KIND{shape} --images DIR --samples {run.samples} --rate {run.rate:g} --seed {run.seed}"
    return {
        "samples": samples,
        "unit": "crops of 64x64 px",
        "hours": hours,
        "data": f"{photographs} photographs of {data}",
        "license": run.license,
        "command": command + " --init WEIGHTS" * bool(before),
        "precision": engine.precision,
        "physics": PHYSICS,
    }
