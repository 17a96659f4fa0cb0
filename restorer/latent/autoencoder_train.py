"""Train the autoencoder: `rnr train autoencoder --images DIR --out FOLDER`.

It begins as the best linear one (`linear_start`). Loss: L1, L1 of the gradients at three scales (edges count at each
scale as they do in MS-SSIM; there are no weights of LPIPS here), and a trace of KL. No discriminator: what it would add
to texture is invented. Half of the crops are clean, half mildly damaged, because the latents of both are needed. Noise
on the latents, up to NOISE of their deviation, makes room for the codebooks: what they round away should not show.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from rnr.degradation.measure import psnr, ssim
from rnr.degradation.photographs import centre_crop, random_crops, read_folder, to_tensor
from rnr.degradation.synthesize import degrade, draw_mixture, prescribe
from rnr.restorer.expert import zero
from rnr.restorer.latent.autoencoder import Autoencoder, small
from rnr.training.config import Run
from rnr.training.engine import Engine, stage_at
from rnr.training.journal import Report

STAGES = ((0.85, 64, 4), (0.95, 128, 1), (1.01, 256, 1))  # until this share: crop side in px, batch; a choice. The
# last stages are there for GroupNorm, which averages over what it sees
CLEAN, SEVERITY = 0.5, (4.0, 60.0)  # share of clean crops; severities of the others; a choice
SCALES = 3  # of the gradient term
KL = 1e-6  # a choice, as in latent diffusion: latents stay finite
NOISE = 0.02  # most noise on the latents, of their deviation; a choice
LEVEL = 20.0  # of the constant channels of `linear_start`: large beside the others; a choice
QUIET = -8.0  # logarithm of the posterior's variance at the start
MEASURED = 32  # crops by which the latents are scaled
HELD = 12  # validation photographs, centres of 256 px


class AutoencoderRun(Run):
    """Settings of this training; a rate of 2e-4 lost more of the linear start than it won (docs/lab-log.md)."""

    rate: float = Field(default=5e-5, gt=0, description="learning rate at its highest")


class AutoencoderObjective:
    """Pictures through a small latent and back.

    Args:
        model: An `AutoencoderKL`.
        photographs: Undamaged, uint8 HWC.
        held_out: Others, for validation.
    """

    def __init__(self, model: Any, photographs: Sequence[np.ndarray], held_out: Sequence[np.ndarray] = ()) -> None:
        self.model, self.photographs, self.wrapped = model, list(photographs), Autoencoder(model)
        crops = [to_tensor(centre_crop(p, 256)) for p in held_out if min(p.shape[:2]) >= 256]
        self.clean = torch.cat(crops) if crops else None

    def batch(self, progress: float, seed: int) -> tuple[torch.Tensor, int]:
        """Crops, clean or mildly damaged, and their number in units of 64x64 px."""
        side, batch = stage_at(STAGES, progress)
        generator = torch.Generator().manual_seed(seed)
        clean = random_crops(self.photographs, batch, (side, side), generator)
        damaged = degrade(clean, draw_mixture(batch, generator, severity=SEVERITY))
        chosen = torch.rand(batch, generator=generator).view(-1, 1, 1, 1) < CLEAN
        return torch.where(chosen, clean, damaged), batch * (side // 64) ** 2

    def loss(self, batch: torch.Tensor, progress: float, seed: int) -> torch.Tensor:
        """L1 of pixels and gradients, and a trace of KL."""
        batch = batch.to(self.wrapped.device)
        generator = torch.Generator().manual_seed(seed)
        mean, logvar = (x.float() for x in self.wrapped.moments(batch)[0].chunk(2, 1))
        logvar = logvar.clamp(-30, 20)
        draw = torch.randn(2, *mean.shape, generator=generator).to(mean)
        dose = NOISE * mean.detach().std() * torch.rand(len(mean), 1, 1, 1, generator=generator).to(mean)
        made = self.wrapped.decode(mean + (logvar / 2).exp() * draw[0] + dose * draw[1])
        divergence = (mean**2 + logvar.exp() - 1 - logvar).mean() / 2
        return (made - batch).abs().mean() + gradients(made - batch) + KL * divergence

    def validate(self, model: Any) -> dict[str, float]:
        """PSNR in dB and SSIM of the round trip: of clean pictures, and PSNR of damaged ones."""
        if self.clean is None:
            return {}
        noisy = degrade(self.clean, prescribe({"noise": 30}, seed=7, batch=len(self.clean)))
        made, again = (torch.cat([self.wrapped.round_trip(x[None]) for x in shown]) for shown in (self.clean, noisy))
        found = {"clean": psnr(made, self.clean), "SSIM": ssim(made, self.clean), "noise 30": psnr(again, noisy)}
        return {name: round(float(values.mean()), 4) for name, values in found.items()}


def gradients(error_BCHW: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference between neighbours, over SCALES halvings of the resolution."""
    total = error_BCHW.new_zeros(())
    for scale in range(SCALES):
        error_BCHW = functional.avg_pool2d(error_BCHW, 2) if scale else error_BCHW
        total = total + error_BCHW.diff(dim=-1).abs().mean() + error_BCHW.diff(dim=-2).abs().mean()
    return total / SCALES


@torch.no_grad()
def linear_start(model: Any, photographs: Sequence[np.ndarray]) -> Any:
    """Weights with which the autoencoder is the best linear one, for one without steps down; returns it.

    Principal components of the cells of k x k px go through as pairs (h, -h): silu(h) - silu(-h) = h, so that the
    activations cancel, and a constant channel in each group, large beside the others, holds GroupNorm's scale still.
    The residual blocks begin as nothing. A random start is at 25 dB where this one begins at 37 (docs/lab-log.md).
    """
    autoencoder, width = Autoencoder(model), model.config["block_out_channels"][0]
    crops = random_crops(list(photographs), MEASURED, (128, 128), torch.Generator().manual_seed(1))
    cells_NP = functional.pixel_unshuffle(2 * crops - 1, autoencoder.unshuffle).movedim(1, -1).flatten(0, 2)
    axes_PK, mean_P = torch.linalg.eigh(torch.cov(cells_NP.T)).eigenvectors.flip(1), cells_NP.mean(0)
    group = width // model.config["norm_num_groups"]
    pairs = [(g * group + 2 * i, g * group + 2 * i + 1) for i in range(group // 2) for g in range(width // group)]
    up, down = (torch.tensor(ends) for ends in zip(*pairs[: len(mean_P)]))
    constant = torch.arange(group - 1, width, group)
    scale = LEVEL * ((group - 1) / group**2) ** 0.5  # what GroupNorm divides by
    kept = axes_PK[:, : autoencoder.channels]
    for half in (model.encoder, model.decoder):
        for block in (each for each in half.modules() if hasattr(each, "conv2")):
            zero(block.conv2)
        zero(half.conv_in)
        zero(half.conv_out)
        half.conv_in.bias[constant] = LEVEL
        half.conv_norm_out.bias.fill_(LEVEL / group / scale)
    centre = (slice(None), slice(None), 1, 1)
    for sign, ends in ((1, up), (-1, down)):
        model.encoder.conv_in.weight[centre][ends] = sign * axes_PK.T[: len(ends)]
        model.encoder.conv_in.bias[ends] = -sign * (axes_PK.T @ mean_P)[: len(ends)]
        model.encoder.conv_out.weight[centre][: autoencoder.channels, ends[: autoencoder.channels]] = (
            sign * scale * torch.eye(autoencoder.channels)
        )
        model.decoder.conv_in.weight[centre][ends[: autoencoder.channels]] = sign * torch.eye(autoencoder.channels)
        model.decoder.conv_out.weight[centre][:, ends[: autoencoder.channels]] = sign * scale * kept
    model.encoder.conv_out.bias[autoencoder.channels :] = QUIET
    model.decoder.conv_out.bias.copy_(mean_P)
    return model


@torch.no_grad()
def deviation(model: Any, photographs: Sequence[np.ndarray]) -> float:
    """Standard deviation of the latents over crops: what makes their variance 1."""
    crops = random_crops(list(photographs), MEASURED, (128, 128), torch.Generator().manual_seed(0))
    return float(Autoencoder(model).moments(crops)[0].chunk(2, 1)[0].std())


def train_autoencoder(
    images: str | Path, run: Run, val: str | Path | None = None, report: Report = lambda row: None
) -> Path:
    """Train the built-in shape from nothing and write `run.out`/weights.

    Args:
        images: Folder of undamaged photographs.
        run: Settings of the training; its samples are crops of 64x64 px.
        val: Folder of others, for validation.
        report: Gets every row of the journal.

    Raises:
        ValueError: For a folder without photographs, nothing to resume from.
    """
    torch.manual_seed(run.seed)
    photographs = list(read_folder(images).values())
    held_out = list(read_folder(val, HELD).values()) if val else []
    objective = AutoencoderObjective(linear_start(small(), photographs), photographs, held_out)
    engine = Engine(objective, run, report)
    engine.train()
    model: Any = engine.averaged()
    model.register_to_config(scaling_factor=round(1 / deviation(objective.model, photographs), 5))
    figures = objective.validate(model)
    about = {"samples": engine.samples, "unit": "crops of 64x64 px", "hours": round(engine.seconds / 3600, 2),
             "data": f"{len(photographs)} photographs of {Path(images).name}", "license": run.license,
             "command": f"rnr train autoencoder --images DIR --samples {run.samples} --rate {run.rate:g} "
                        f"--seed {run.seed}", "precision": engine.precision, "figures": figures}  # fmt: skip
    return write(objective.model, run.out / "weights", about)


def write(model: Any, folder: Path, about: dict[str, Any]) -> Path:
    """In half precision as diffusers saves it, with training.json beside it."""
    half = copy.deepcopy(model).half()
    half.save_pretrained(folder, safe_serialization=True)
    (folder / "training.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return folder
