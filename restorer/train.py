"""Train the built-in restorer: `rnr train restorer --images DIR --out FOLDER`.

The schedule runs by samples (counted in 64 px crops), not by time: crops of 64 px, then 128, a last tenth at 192; the
loss is L1, for the last third the logarithm of each picture's squared error (which is PSNR). From trained weights
(`init`) it begins with the second of both. A checkpoint holds everything; a killed run resumes with `resume=True` and
gives what an unbroken one gives.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from rnr.degradation.arithmetic import flushed_denormals
from rnr.degradation.files import whole
from rnr.degradation.kind import kinds
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import centre_crop, to_tensor
from rnr.degradation.synthesize import Mixture, degrade, prescribe, truths
from rnr.restorer.bridge import corrupt
from rnr.restorer.condition import encode, stack
from rnr.restorer.confusion import Confusion
from rnr.restorer.data import BELIEVED, MODES, Pairs, draw_pairs
from rnr.restorer.diagnosed import BATCH, SIZE, Diagnosed
from rnr.restorer.network import RestorerNetwork, thumbnail

STAGES = ((0.70, 64, 8), (0.90, 128, 4), (1.01, 192, 2))  # until this share of the samples: crop size, batch


SECOND_LOOK = 0.5  # weight of the severities' error beside the picture's


@dataclass
class Settings:
    samples: int = 300_000  # in crops of 64 px
    rate: float = 8e-4
    warm_up: int = 2_000  # samples
    seed: int = 0
    ema: float = 0.999
    sigma: float = 0.1  # largest noise of the bridge in training
    one_step: float = 0.6  # share of pictures trained at t = 1
    log_loss_from: float = 0.66  # share of the samples
    first_crop: int = 64  # px: stages with smaller crops are skipped
    batch_factor: int = 1  # multiplies the batch (for a GPU)
    blind: bool = False  # a twin without a diagnosis
    checkpoint_seconds: float = 120
    validate_every: int = 20_000  # samples
    threads: int = 1


class Trainer:
    """State of one training: network, its moving average, optimiser, samples seen."""

    def __init__(
        self, settings: Settings, out: Path, network: RestorerNetwork | None = None, device: str = "cpu"
    ) -> None:
        self.settings, self.out, self.device = settings, out, device
        torch.manual_seed(settings.seed)
        self.network = (network or RestorerNetwork()).to(device, memory_format=torch.channels_last)  # type: ignore[arg-type]
        self.ema = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
        )
        self.samples = self.step = 0
        self.seconds = 0.0
        self.confusion = Confusion()
        self.diagnosed: Diagnosed | None = None
        out.mkdir(parents=True, exist_ok=True)

    def rate(self) -> float:
        """Warm-up, then cosine to zero, by samples."""
        s = self.settings
        progress = min(1.0, self.samples / s.samples)
        return s.rate * min(1.0, (self.samples + 16) / s.warm_up) * (0.5 + 0.5 * math.cos(math.pi * progress))

    def stage(self) -> tuple[int, int]:
        """Crop size and batch of the next step."""
        progress = self.samples / self.settings.samples
        s = self.settings
        size, batch = next((n, b) for until, n, b in STAGES if progress < until and n >= s.first_crop)
        return size, batch * s.batch_factor

    def loss(self, pairs: Pairs, generator: torch.Generator) -> torch.Tensor:
        """Error of the estimate at a random time of the bridge."""
        s = self.settings
        batch = len(pairs.target)
        draw = torch.rand(3, batch, generator=generator, device=self.device)
        t = torch.where(draw[0] < s.one_step, 1.0, 0.05 + 0.95 * draw[1])
        noise = torch.randn(pairs.target.shape, generator=generator, device=self.device)
        x = corrupt(pairs.target, pairs.degraded, t, s.sigma * draw[2], noise)
        steer = self.network.steer(pairs.condition, t, thumbnail(pairs.degraded))
        inverted = self.network.inverted(pairs.degraded, pairs.condition, steer)
        estimate = self.network(x, pairs.degraded, inverted, steer)
        error = SECOND_LOOK * severity_error(self.network, pairs, steer)
        if self.samples < s.log_loss_from * s.samples:
            return error + (estimate - pairs.target).abs().mean()
        return error + torch.log(((estimate - pairs.target) ** 2).mean((1, 2, 3)) + 1e-5).mean() / 20

    def update(self, pairs: Pairs, seed: int) -> float:
        loss = self.loss(pairs, torch.Generator(self.device).manual_seed(seed))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()
        self.step += 1
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.values()), list(self.network.parameters()), 1 - decay)
        return float(loss.detach())

    def pairs(self, photographs: Sequence[np.ndarray], batch: int, size: int, seed: int) -> Pairs:
        """The batch of this seed: real diagnoses, if there are any for such crops, in place of drawn beliefs."""
        modes = torch.tensor([0.0, 0.0, 0.0, 1.0]) if self.settings.blind else MODES.clone()
        layout, told = self.network.layout, self.diagnosed
        if told and (size, batch) == (SIZE, BATCH) and not self.settings.blind:
            draw = torch.rand(2, generator=torch.Generator().manual_seed(seed + 2))
            if draw[0] < modes[BELIEVED]:
                return told.pairs(int(draw[1] * len(told.records)), photographs, layout, self.device)
            modes[BELIEVED] = 0
        return draw_pairs(photographs, batch, size, seed, layout, self.confusion, self.device, modes)

    def run(
        self, photographs: list[np.ndarray], report: Callable[[dict], None], validation: Sequence[np.ndarray] = ()
    ) -> None:
        """Train to the end; `report` gets one dict every 50 steps and one per validation."""
        s, start, began, earlier = self.settings, time.monotonic(), self.samples, self.seconds
        saved, last_loss = start, []
        while self.samples < s.samples:
            size, batch = self.stage()
            seed = (s.seed * 1_000_003 + self.step) % 2**31
            pairs = self.pairs(photographs, batch, size, seed)
            last_loss.append(self.update(pairs, seed + 1))
            before, self.samples = self.samples, self.samples + batch * (size // 64) ** 2
            now = time.monotonic()
            self.seconds = earlier + now - start
            if self.step % 50 == 0:
                speed = (self.samples - began) / (now - start)
                row = {
                    "step": self.step,
                    "samples": self.samples,
                    "loss": float(np.mean(last_loss)),
                    "rate": self.rate(),
                }
                report(row | {"per_second": speed, "seconds_left": (s.samples - self.samples) / speed})
                last_loss = []
            if now - saved > s.checkpoint_seconds:
                self.save()
                saved = now
            if validation and before // s.validate_every != self.samples // s.validate_every:
                report({"samples": self.samples, "validation": validate(self.smoothed(), validation, s.blind)})
        self.save()

    def smoothed(self) -> RestorerNetwork:
        """A copy of the network with the averaged weights."""
        copy = RestorerNetwork.from_config(self.network.config).to(self.device, memory_format=torch.channels_last)
        copy.load_state_dict(self.ema, strict=False)
        return copy.eval()

    def save(self) -> None:
        """Everything into one safetensors file, written under a temporary name and renamed."""
        tensors = {f"model.{n}": p.detach().contiguous() for n, p in self.network.named_parameters()}
        tensors |= {f"ema.{n}": p.contiguous() for n, p in self.ema.items()}
        names = [n for n, _ in self.network.named_parameters()]
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{key}.{names[index]}": value.contiguous() for key, value in state.items() if key != "step"}
        about = {"samples": self.samples, "step": self.step, "seconds": self.seconds, "settings": asdict(self.settings)}
        path = self.out / "checkpoint.safetensors"
        with whole(path) as part:
            save_file(tensors, str(part), metadata={"about": json.dumps(about)})

    def resume(self) -> None:
        """Continue from the checkpoint in `out`. Raises ValueError if there is none."""
        from safetensors import safe_open

        path = self.out / "checkpoint.safetensors"
        if not path.exists():
            raise ValueError(f"{self.out}: no checkpoint.safetensors here to resume from; start without --resume")
        with safe_open(str(path), "pt") as file:
            about = json.loads(file.metadata()["about"])
        tensors = load_file(str(path), device=self.device)
        self.samples, self.step, self.seconds = about["samples"], about["step"], about.get("seconds", 0.0)
        for name in ("first_crop", "log_loss_from"):  # how it began
            setattr(self.settings, name, about["settings"].get(name, getattr(self.settings, name)))
        parameters = dict(self.network.named_parameters())
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(tensors[f"model.{name}"])
                self.ema[name].copy_(tensors[f"ema.{name}"])
                if f"exp_avg.{name}" in tensors:
                    # Laid out as the parameter is: the fused optimiser goes by memory, not by index.
                    keys = ("exp_avg", "exp_avg_sq")
                    moments = {key: torch.empty_like(p).copy_(tensors[f"{key}.{name}"]) for key in keys}
                    self.optimizer.state[p] = {"step": torch.tensor(float(self.step)), **moments}


def severity_error(network: RestorerNetwork, pairs: Pairs, steer: torch.Tensor) -> torch.Tensor:
    """Mean error (0..1) of the reconsidered severities where a kind is there, believed and doubtful."""
    told = torch.stack([features[:, :4] for features in pairs.condition.findings.values()], 1)  # (B, K, 4)
    belief, spread = told[:, :, 0], told[:, :, 3]
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
    photographs: Sequence[np.ndarray], names: Collection[str], size: int = 128
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor, Mixture]]:
    """(name, clean, degraded, recipe): fixed damage of these kinds on the centres of photographs."""
    crops = [centre_crop(p, size) for p in photographs]
    clean = torch.cat([to_tensor(c) for c in crops if c.shape[:2] == (size, size)])
    for name, request in validation_tasks(names).items():
        mixture = prescribe(request, seed=7, batch=len(clean))
        yield name, clean, degrade(clean, mixture) if request else clean, mixture


@torch.no_grad()
def validate(network: RestorerNetwork, photographs: Sequence[np.ndarray], blind: bool = False) -> dict[str, float]:
    """PSNR in dB per task, one step, conditioned on the true diagnosis (or nothing)."""
    result = {}
    for name, clean, degraded, mixture in validation_set(photographs, list(network.layout.factors)):
        told = [None if blind else d for d in truths(clean, degraded, mixture)]
        conditions = [encode(network.layout, diagnosis) for diagnosis in told]
        condition = stack(conditions)
        estimate = network.one_step(degraded, condition)
        result[name] = round(float(psnr(estimate.clamp(0, 1), clean).clamp(max=60).mean()), 2)
    return result


@flushed_denormals()
def train(
    images: str | Path,
    out: str | Path,
    settings: Settings | None = None,
    resume: bool = False,
    init: str | Path | None = None,
    val: str | Path | None = None,
    confusion: str | Path | None = None,
    device: str = "cpu",
    report: Callable[[dict], None] = lambda row: None,
) -> Path:
    """Train on a folder of clean photographs and export `out`/weights; returns that folder.

    `init` starts from a weights folder with fresh moments (and the warm-up); `resume` goes on from `out`'s checkpoint.
    `report` gets every row that also goes to `out`/metrics.jsonl.
    """
    from rnr.degradation.photographs import read_folder
    from rnr.restorer.export import export, record_of, samples_of
    from rnr.restorer.loading import load_bridge

    settings, out = replace(settings or Settings()), Path(out)
    if init:
        settings.first_crop, settings.log_loss_from = 128, 0.0
    torch.set_num_threads(settings.threads)
    photographs = list(read_folder(images).values())
    held_out = list(read_folder(val, 12).values()) if val else []
    trainer = Trainer(settings, out, load_bridge(init).network if init else None, device)
    if confusion:
        trainer.confusion, trainer.diagnosed = Confusion.read(confusion), Diagnosed.read(confusion)
    if resume:
        trainer.resume()
    with (out / "metrics.jsonl").open("a") as log:

        def write(row: dict) -> None:
            log.write(json.dumps(row) + "\n")
            log.flush()
            report(row)

        trainer.run(photographs, write, held_out)
    curves(out)
    figures = validate(trainer.smoothed(), held_out) if held_out else "no validation photographs were given"
    command = f"rnr train restorer --images DIR --samples {settings.samples} --seed {settings.seed}"
    command += f" --rate {settings.rate:g}" + " --init WEIGHTS" * bool(init) + " --confusion FILE" * bool(confusion)
    before = samples_of(init) if init else 0
    hours = round(trainer.seconds / 3600 + (record_of(init).get("hours", 0) if init else 0), 1)
    training = (
        f"{trainer.samples:,} crops in units of 64x64, from weights that had seen {before:,}; {hours} hours in all"
    )
    card: dict[str, object] = {
        "data": f"{len(photographs)} photographs of `{Path(images).name}`; the licence of those photographs applies",
        "training": training,
        "samples": trainer.samples,
        "samples_before": before,
        "hours": hours,
        "command": command,
        "figures": figures,
    }
    return export(trainer.smoothed(), out / "weights", card)


def curves(out: Path) -> None:
    """Loss, rate and validation over samples as `out`/curves.png, if matplotlib is there."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [r for r in rows if "loss" in r]
    checks = [r for r in rows if "validation" in r]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4))
    left.plot([r["samples"] for r in steps], [r["loss"] for r in steps], lw=0.8)
    left.set(title="training loss (L1, then log of squared error)", xlabel="samples")
    for name in checks[0]["validation"] if checks else ():
        right.plot([r["samples"] for r in checks], [r["validation"][name] for r in checks], label=name)
    right.set(title="validation PSNR, dB", xlabel="samples")
    if checks:
        right.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(out / "curves.png", dpi=110)
    pyplot.close(figure)
