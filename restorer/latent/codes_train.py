"""Train codebooks and code predictor: `rnr train codes --images DIR --autoencoder FOLDER --out FOLDER`.

The codebooks come first, by k-means on the frozen encoder's latents. Then the predictor: a sample is a damaged picture,
and its target the same picture with less of the same damage, from all of it to none. The target's score is full
reference: 100 minus the severity of 1 - MS-SSIM to the clean picture, so that the number that is asked for later means
something. Half of the targets are clean (score 100), because that is what people ask for. Loss: cross-entropy of the
common codes, of the HQ+ codes where the target's own score reaches the threshold, and L1 between the latent that the
logits expect and the target's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from rnr.degradation.kind import PHYSICS
from rnr.degradation.measure import psnr, technical_quality
from rnr.degradation.photographs import centre_crop, random_crops, read_folder, to_tensor
from rnr.degradation.synthesize import Mixture, Step, degrade, draw_mixture
from rnr.restorer.latent.autoencoder import Autoencoder
from rnr.restorer.latent.codebook import DualCodebook
from rnr.restorer.latent.codes import CodePredictor, load_predictor, restored, save_predictor
from rnr.restorer.latent.export import export
from rnr.training.config import Run
from rnr.training.engine import Engine, stage_at
from rnr.training.journal import Report

STAGES = ((0.85, 64, 4), (1.01, 128, 1))  # until this share of the samples: crop side in px, batch; a choice
WORST = 0.5  # share of samples whose target is clean; the others' keep a share of the damage, 0..1; a choice
SEVERITY = (5.0, 100.0)  # of each kind in the degraded picture
MILD = 40.0  # most severity of what the codebooks are learned from; a choice
POINTS, SIDE = 512, 64  # crops that the codebooks are learned from, and their side in px: 131,072 latents
PART = 2  # channels of a group of the codebooks: docs/latent.md
L1 = 10.0  # weight beside the cross-entropies: with 0.5 they decide all; a choice
HELD = 16  # validation pictures, centres of 192 px
BOOKS = "codebooks.safetensors"  # in the training's folder, so that a resumed one has the same


@dataclass
class CodeBatch:
    """Damaged pictures, their targets (B, 3, H, W) in [0, 1], and the targets' scores 0..100."""

    degraded: torch.Tensor
    target: torch.Tensor
    score_B: torch.Tensor


def draw_codes(photographs: Sequence[np.ndarray], batch: int, side: int, seed: int) -> CodeBatch:
    """A batch; everything random comes from the seed."""
    generator = torch.Generator().manual_seed(seed)
    clean = random_crops(list(photographs), batch, (side, side), generator)
    mixture = draw_mixture(batch, generator, severity=SEVERITY)
    draw = torch.rand(2, batch, generator=generator)
    return paired(clean, mixture, torch.where(draw[0] < WORST, 0.0, draw[1]))


def paired(clean_BCHW: torch.Tensor, mixture: Mixture, dose_B: torch.Tensor) -> CodeBatch:
    """Pictures damaged by this recipe, and by a share 0..1 of it."""
    # All pictures stay in the batch, so that the random layers are the same.
    target = torch.where(dose_B.view(-1, 1, 1, 1) > 0, degrade(clean_BCHW, weaker(mixture, dose_B)), clean_BCHW)
    score = technical_quality(target, clean_BCHW).clamp(0, 100)
    return CodeBatch(degrade(clean_BCHW, mixture), target, score)


def weaker(mixture: Mixture, dose_B: torch.Tensor) -> Mixture:
    """The same recipe, the same random layers, with a share 0..1 of each severity."""
    steps = []
    for step in mixture.steps:
        factors = step.kind.with_severity(dose_B * step.kind.severity(step.factors), step.factors)
        factors = {name: torch.where(dose_B >= 1, step.factors[name], value) for name, value in factors.items()}
        steps.append(Step(step.kind, step.mask_B, factors, step.seed))
    return Mixture(steps, mixture.batch)


@torch.no_grad()
def fit_codebooks(
    autoencoder: Autoencoder, book: DualCodebook, photographs: Sequence[np.ndarray], seed: int
) -> DualCodebook:
    """Both codebooks from clean and mildly damaged crops; HQ+ from the third of them with the highest scores."""
    latents, scores = [], []
    for number in range(POINTS // 16):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        clean = random_crops(list(photographs), 16, (SIDE, SIDE), generator)
        batch = paired(clean, draw_mixture(16, generator, severity=(2, MILD)), torch.ones(16))
        latents += list(autoencoder.encode(batch.degraded.to(autoencoder.device))[0].cpu())
        scores.append(batch.score_B)
    return book.fit(latents, torch.cat(scores), seed)


class CodeObjective:
    """Codes of a better picture from a worse one.

    Args:
        model: The predictor, with its codebooks.
        autoencoder: Frozen.
        photographs: Undamaged, uint8 HWC.
        held_out: Others, for validation.
    """

    def __init__(
        self, model: CodePredictor, autoencoder: Autoencoder, photographs: Sequence[np.ndarray],
        held_out: Sequence[np.ndarray] = (),
    ) -> None:  # fmt: skip
        self.model, self.autoencoder, self.photographs = model, autoencoder, list(photographs)
        autoencoder.eval().requires_grad_(False)
        crops = [to_tensor(centre_crop(p, 192)) for p in held_out]
        crops = [crop for crop in crops if crop.shape[-2:] == (192, 192)]
        self.held = []
        for number, crop in enumerate(crops):
            mixture = draw_mixture(
                1, torch.Generator().manual_seed(7_000 + number), "single" if number % 2 else "several"
            )
            self.held.append((crop, degrade(crop, mixture)))

    def batch(self, progress: float, seed: int) -> tuple[CodeBatch, int]:
        """A batch and its number of crops in units of 64x64 px."""
        side, batch = stage_at(STAGES, progress)
        return draw_codes(self.photographs, batch, side, seed), batch * (side // 64) ** 2

    def loss(self, batch: CodeBatch, progress: float, seed: int) -> torch.Tensor:
        """Cross-entropy of both code sets, and L1 of the latent that the logits expect."""
        device, book = self.autoencoder.device, self.model.book
        score = batch.score_B.to(device)
        with torch.no_grad():
            target = self.autoencoder.encode(batch.target.to(device))[0]
            latent, seen = self.model.seen(self.autoencoder, batch.degraded.to(device))
            wanted = book.nearest(target, score)
        found = self.model(latent, seen, score, wanted.common)
        common = cross_entropy(found.common.transpose(1, 2), wanted.common)
        each = cross_entropy(found.hq.transpose(1, 2), wanted.hq, reduction="none").mean((1, 2, 3))
        on = wanted.on_B.to(each)
        hq = (each * on).sum() / on.sum().clamp(min=1)
        expected = self.model.expected(found, wanted.on_B)
        return common + hq + L1 * ((expected - target).abs().mean() + (found.moved_BDHW - target).abs().mean())

    def validate(self, model: Any) -> dict[str, float]:
        """Mean PSNR in dB of damaged pictures, restored at 100, at 60, and of their clean round trip."""
        rows: dict[str, list[float]] = {"input": [], "restored": [], "at 60": [], "score": [], "score at 60": []}
        for clean, damaged in self.held:
            best, lower = (restored(model, self.autoencoder, damaged, score) for score in (100.0, 60.0))
            for name, image in (("input", damaged), ("restored", best), ("at 60", lower)):
                rows[name].append(float(psnr(image, clean).clamp(max=50)))
            rows["score"].append(float(technical_quality(best, clean)))
            rows["score at 60"].append(float(technical_quality(lower, clean)))
        return {name: round(sum(values) / len(values), 3) for name, values in rows.items() if values}


def train_codes(
    images: str | Path,
    run: Run,
    autoencoder: str | Path = "built-in",
    val: str | Path | None = None,
    quality: bool = True,
    report: Report = lambda row: None,
) -> Path:
    """Learn codebooks, train the predictor, and write `run.out`/weights, a latent restorer.

    Args:
        images: Folder of undamaged photographs.
        run: Settings of the training; its samples are crops of 64x64 px.
        autoencoder: `built-in`, a folder or a hub name.
        val: Folder of others, for validation.
        quality: Whether the predictor takes a score (False: an ablation).
        report: Gets every row of the journal.

    Raises:
        ValueError: For a folder without photographs, nothing to resume from.
        OSError: For an autoencoder that cannot be loaded.
    """
    torch.manual_seed(run.seed)
    torch.set_num_threads(run.threads)
    frozen = Autoencoder.from_pretrained(autoencoder).to(run.device)
    photographs = list(read_folder(images).values())
    held_out = list(read_folder(val, HELD).values()) if val else []
    model: CodePredictor = CodePredictor(
        frozen.channels, frozen.width, frozen.factor, groups=max(1, frozen.channels // PART), quality=quality
    )
    model = with_codebooks(model, frozen, photographs, run)
    objective = CodeObjective(model, frozen, photographs, held_out)
    engine = Engine(objective, run, report)
    engine.train()
    engine.averaged()
    with torch.no_grad():
        figures = objective.validate(model)
    card = {"samples": engine.samples, "unit": "crops of 64x64 px", "hours": round(engine.seconds / 3600, 2),
            "data": f"{len(photographs)} photographs of {Path(images).name}", "license": run.license,
            "command": f"rnr train codes --images DIR --samples {run.samples} --rate {run.rate:g} --seed {run.seed}",
            "precision": engine.precision, "physics": PHYSICS, "figures": figures}  # fmt: skip
    return export(model, autoencoder, run.out / "weights", card)


def with_codebooks(
    model: CodePredictor, autoencoder: Autoencoder, photographs: Sequence[np.ndarray], run: Run
) -> CodePredictor:
    """The predictor with codebooks: those of the training that is resumed, else new ones, which are kept for that."""
    path = run.out / BOOKS
    if not (run.resume and path.is_file()):
        fit_codebooks(autoencoder, model.book, photographs, run.seed)
        save_predictor(model, path, {})
    model.book.load_state_dict(load_predictor(path)[0].book.state_dict())  # as the file holds them, in half precision
    return model.sharpen()
