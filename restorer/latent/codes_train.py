"""Train codebooks and code predictor: `rnr train codes --images DIR --autoencoder FOLDER --out FOLDER`.

The codebooks come first, by k-means on the frozen encoder's latents. Then the predictor: a sample is a damaged picture,
and its target the same picture with less of the same damage, from all of it to none. The target's score is full
reference: 100 minus the severity of 1 - MS-SSIM to the clean picture, so that the number that is asked for later means
something. Half of the targets are clean (score 100), because that is what people ask for. Loss: cross-entropy of the
common codes, of the HQ+ codes of what the predicted common ones leave where the target's own score reaches the
threshold, and L1 between the target's latent and three of the prediction: the offset one, that which the logits expect,
and that with the picture's own latent fused in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from rnr.degradation.measure import psnr, technical_quality
from rnr.degradation.photographs import centre_crop, random_crops, read_folder, to_tensor
from rnr.degradation.synthesize import Mixture, Step, degrade, draw_mixture
from rnr.restorer.latent.autoencoder import Autoencoder
from rnr.restorer.latent.codebook import DualCodebook
from rnr.restorer.latent.codes import CodePredictor, load_predictor, restored, save_predictor
from rnr.restorer.latent.export import export
from rnr.training.card import card_of
from rnr.training.config import Run
from rnr.training.engine import Engine, stage_at
from rnr.training.journal import Report

STAGES = ((0.85, 64, 4), (1.01, 128, 1))  # until this share of the samples: crop side in px, batch; a choice
WORST = 0.5  # share of samples whose target is clean; the others' keep a share of the damage, 0..1; a choice
SEVERITY = (5.0, 100.0)  # of each kind in the degraded picture
MILD = 40.0  # most severity of what the codebooks are learned from; a choice
POINTS, SIDE = 512, 64  # crops that the codebooks are learned from, and their side in px: 131,072 latents
MEASURED = 64  # crops that features are standardised by; a choice
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


@torch.no_grad()
def measure_features(
    model: CodePredictor, autoencoder: Autoencoder, photographs: Sequence[np.ndarray], seed: int
) -> None:
    """Mean and deviation of what the Transformer reads, on damaged crops: in the built-in autoencoder constant channels
    of 20 stand beside others of 0.1."""
    degraded = draw_codes(photographs, MEASURED, SIDE, seed).degraded
    model.standard.measure(model.seen(autoencoder, degraded.to(autoencoder.device))[1])


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
            damaged = degrade(crop, mixture)
            if not torch.equal(damaged, crop):  # a clean one is none of its work, and 50 dB in a mean of 22
                self.held.append((crop, damaged))

    def batch(self, progress: float, seed: int) -> tuple[CodeBatch, int]:
        """A batch and its number of crops in units of 64x64 px."""
        side, batch = stage_at(STAGES, progress)
        return draw_codes(self.photographs, batch, side, seed), batch * (side // 64) ** 2

    def loss(self, batch: CodeBatch, progress: float, seed: int) -> torch.Tensor:
        """Cross-entropy of both code sets, and L1 of the latent that the logits expect."""
        device, book = self.autoencoder.device, self.model.book
        score = batch.score_B.to(device)
        with torch.no_grad(), torch.autocast(device.type, enabled=False):  # bf16 rounds to other codes
            target = self.autoencoder.encode(batch.target.to(device))[0]
            latent, seen = self.model.seen(self.autoencoder, batch.degraded.to(device))
        found, on_B = self.model(latent, seen, score), book.on(score)
        common = cross_entropy(found.common.transpose(1, 2), book.common.nearest(target))
        left = book.hq.nearest(target - found.z1_BDHW.detach())
        each = cross_entropy(found.hq.transpose(1, 2), left, reduction="none").mean((1, 2, 3))
        hq = (each * on_B).sum() / on_B.sum().clamp(min=1)
        shown = (found.moved_BDHW, self.model.expected(found, on_B), self.model.fused(found, on_B))
        return common + hq + L1 * torch.stack([(z - target).abs().mean() for z in shown]).sum()

    def validate(self, model: Any) -> dict[str, float]:
        """Mean PSNR in dB of damaged pictures, restored at 100, at 60, and by the codes alone; of the damaged and the
        clean ones through the autoencoder, the latter by their own codes: what a predictor begins with, and its bound.
        """
        names = ("input", "restored", "at 60", "codes alone", "round trip", "true codes", "score", "score at 60")
        rows: dict[str, list[float]] = {name: [] for name in names}
        best_score = torch.full((1,), 100.0, device=self.autoencoder.device)
        for clean, damaged in self.held:
            best, lower = (restored(model, self.autoencoder, damaged, score) for score in (100.0, 60.0))
            own = self.autoencoder.encode(clean)[0]
            true = self.autoencoder.decode(model.book.lookup(model.book.nearest(own, best_score))).clamp(0, 1)
            alone = restored(model, self.autoencoder, damaged, 100.0, fidelity=0.0)
            shown = (damaged, best, lower, alone, self.autoencoder.round_trip(damaged), true)
            for name, image in zip(names, shown):
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
        frozen.channels, frozen.width, frozen.factor, groups=max(1, frozen.channels // PART), quality=quality,
        fusion=True,
    )  # fmt: skip
    model = with_codebooks(model, frozen, photographs, run)
    objective = CodeObjective(model, frozen, photographs, held_out)
    engine = Engine(objective, run, report)
    engine.train()
    engine.averaged()
    with torch.no_grad():
        figures = objective.validate(model)
    card = card_of(engine, images, len(photographs), "rnr train codes --images DIR", figures)
    return export(model, autoencoder, run.out / "weights", card)


def with_codebooks(
    model: CodePredictor, autoencoder: Autoencoder, photographs: Sequence[np.ndarray], run: Run
) -> CodePredictor:
    """The predictor with codebooks and statistics: of the training that is resumed, else new ones, kept for that."""
    path = run.out / BOOKS
    if not (run.resume and path.is_file()):
        fit_codebooks(autoencoder, model.book, photographs, run.seed)
        measure_features(model, autoencoder, photographs, run.seed)
        save_predictor(model, path, {})
    held, _ = load_predictor(path)  # as the file holds them, in half precision
    model.book.load_state_dict(held.book.state_dict())
    model.standard.load_state_dict(held.standard.state_dict())
    return model.sharpen()
