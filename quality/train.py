"""Contrastive pre-training of both towers: `rnr train quality --images DIR --out FOLDER`.

Pictures are damaged as training goes and captioned from what was done to them (`captions`). Loss: CLIP's, in both
directions, where equal captions are all positive (a batch holds few different ones); and a probe that reads score and
severities from the picture's feature and is thrown away afterwards: a batch of words says little about how much.
UniQA starts from CLIP-B/16; here the towers start from nothing, which is why the probe is there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy, normalize, smooth_l1_loss

from rnr.degradation.kind import PHYSICS, kinds
from rnr.degradation.photographs import read_folder
from rnr.quality.adapter import Adapter, Intervals, agreement, fit
from rnr.quality.captions import LADDERS, captions_of, rung
from rnr.quality.export import export
from rnr.quality.model import QualityModel
from rnr.quality.network import build_tokenizer, picture_feature, projected, small_clip, text_features
from rnr.quality.pairs import Pairs, draw_pairs
from rnr.quality.views import Views
from rnr.training.config import Run
from rnr.training.engine import Engine
from rnr.training.journal import Report
from rnr.training.muon import Muon

if TYPE_CHECKING:
    from transformers import CLIPModel

CROPS = 2  # native crops a picture and update; a choice
CONTRAST = 0.25  # weight of the contrastive loss beside the probe's; both are about 1 at first
FITTED = 256  # pictures by which the channels are standardised; a choice
HELD = 128  # validation pictures
SIDES, LABEL_BATCH = (192, 256, 320), 16  # px of the adapter's pictures, how many at once; a choice


class QualityRun(Run):
    """Settings of the pre-training."""

    samples: int = Field(default=40_000, ge=1, description="pictures that are shown, echoes included")
    rate: float = Field(default=2e-3, gt=0, description="learning rate at its highest")
    precision: Any = Field(default="fp32", description="auto: the faster of bf16 and fp32, by a timing")
    echo: int = Field(default=2, ge=1, description="updates on each batch, with other crops and captions")
    batch: int = Field(default=16, ge=2, description="pictures in a batch")
    side: int = Field(default=192, ge=96, description="of the damaged crops, px")
    labels: int = Field(default=3_000, ge=16, description="damaged pictures that the adapter learns from")
    noise: float = Field(default=0.0, ge=0, le=1, description="share of captions that are replaced by others': a test")


class Towers(nn.Module):
    """CLIP and the probe."""

    def __init__(self, clip: CLIPModel, width: int) -> None:
        super().__init__()
        self.clip: CLIPModel = clip
        self.probe = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1 + len(kinds())))


@dataclass
class Batch:
    pairs: Pairs
    captions: list[list[str]]  # by picture


class QualityObjective:
    """Pictures and their captions near each other.

    Args:
        run: Settings.
        photographs: Undamaged, uint8 HWC.
        held_out: Others, for validation.
    """

    def __init__(self, run: QualityRun, photographs: Sequence[np.ndarray], held_out: Sequence[np.ndarray] = ()) -> None:
        self.run, self.photographs = run, list(photographs)
        first = [draw_pairs(self.photographs, 16, run.side, 20_000 + i).degraded_BCHW for i in range(FITTED // 16)]
        self.views = Views().fitted(torch.cat(first))  # type: ignore[arg-type]
        self.tokenizer = build_tokenizer()
        clip = small_clip(self.tokenizer, self.views, run.seed)
        self.model = Towers(clip, int(clip.config.projection_dim or 0))
        self.held = [draw_pairs(held_out, 32, run.side, 10_000 + i) for i in range(HELD // 32)] if held_out else []

    def batch(self, progress: float, seed: int) -> tuple[Batch, int]:
        """Damaged pictures with their captions, and their number."""
        pairs = draw_pairs(self.photographs, self.run.batch, self.run.side, seed)
        captions = [
            captions_of(d, s, seed + i) for i, (d, s) in enumerate(zip(pairs.diagnoses(), pairs.score_B.tolist()))
        ]
        return Batch(pairs, self.confused(captions, seed)), self.run.batch

    def confused(self, captions: list[list[str]], seed: int) -> list[list[str]]:
        """A share `noise` of the pictures with another's captions."""
        draw = random.Random(seed)
        return [draw.choice(captions) if draw.random() < self.run.noise else each for each in captions]

    def loss(self, batch: Batch, progress: float, seed: int) -> torch.Tensor:
        """Contrastive loss of a short and a long caption, and the probe's."""
        feature = self.features(batch.pairs.degraded_BCHW, seed)
        draw = random.Random(seed)
        short = [each[0] for each in batch.captions]
        long = [draw.choice(each[1:]) for each in batch.captions]
        contrast = self.contrast(feature, short) + self.contrast(feature, long)
        return self.probed(feature, batch.pairs) + CONTRAST * contrast

    def features(self, pictures_BCHW: torch.Tensor, seed: int) -> torch.Tensor:
        """(B, D) of random crops and the overview of each picture."""
        generator = torch.Generator().manual_seed(seed)
        views = torch.stack([self.views.some(picture, CROPS, generator) for picture in pictures_BCHW])
        each = projected(self.model.clip.get_image_features(pixel_values=views.flatten(0, 1)))
        each = each.view(len(pictures_BCHW), CROPS + 1, -1)
        return (each[:, :-1].mean(1) + each[:, -1]) / 2

    def contrast(self, feature_BD: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """InfoNCE in both directions over the different texts; a text's pictures share it."""
        unique = list(dict.fromkeys(texts))
        owner = torch.tensor([unique.index(text) for text in texts])
        words = text_features(self.model.clip, self.tokenizer, unique)
        logits = self.model.clip.logit_scale.exp().clamp(max=100) * normalize(feature_BD, dim=-1) @ words.T
        shared = nn.functional.one_hot(owner, len(unique)).float()
        return (cross_entropy(logits, owner) + cross_entropy(logits.T, (shared / shared.sum(0)).T)) / 2

    def probed(self, feature_BD: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        """Error of score and severities, in units of 10 points."""
        targets = torch.cat([pairs.score_B[:, None], pairs.severity_BK], 1) / 10
        weight = torch.tensor([4.0] + [1.0] * pairs.severity_BK.shape[1])
        error = smooth_l1_loss(self.model.probe(feature_BD), targets - 2, reduction="none")
        return (error * weight).sum(1).mean() / weight.sum()

    @torch.no_grad()
    def validate(self, model: Any) -> dict[str, float]:
        """Rank correlation with the full-reference quality: of the probe, and of the first ladder without labels."""
        if not self.held:
            return {}
        from scipy.stats import spearmanr

        pictures = [p for pairs in self.held for p in pairs.degraded_BCHW]
        feature = torch.stack([picture_feature(model.clip, self.views.of(picture)) for picture in pictures])
        truth = torch.cat([pairs.score_B for pairs in self.held])
        ladder = text_features(model.clip, self.tokenizer, LADDERS[0].prompts)
        logits = model.clip.logit_scale.exp() * normalize(feature, dim=-1) @ ladder.T
        rungs = torch.tensor([rung(score) for score in truth.tolist()])
        found = {
            "probe SRCC": spearmanr(model.probe(feature)[:, 0], truth).statistic,
            "ladder SRCC": spearmanr(logits.softmax(-1) @ torch.arange(5.0), truth).statistic,
            "rung %": 100 * (logits.argmax(-1) == rungs).float().mean(),
        }
        return {name: round(float(value), 4) for name, value in found.items()}


class QualityEngine(Engine):
    """With Muon: after 150 updates the loss stood where AdamW needs twice as many (docs/lab-log.md)."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        return Muon.of(self.weights.items(), self.run.rate, others=("embedding", "probe"))


def pretrain(
    images: str | Path, run: QualityRun, val: str | Path | None = None, report: Report = lambda row: None
) -> tuple[QualityObjective, QualityEngine]:
    """Train both towers; the averaged weights are in the objective's model afterwards. Raises ValueError, OSError."""
    photographs = list(read_folder(images).values())
    held_out = list(read_folder(val).values()) if val else []
    objective = QualityObjective(run, photographs, held_out)
    engine = QualityEngine(objective, run, report)
    engine.train()
    engine.averaged()
    return objective, engine


def train_quality(
    images: str | Path, run: QualityRun, val: str | Path | None = None, report: Report = lambda row: None
) -> Path:
    """Pre-train, train the adapter on the frozen features, measure intervals, write `run.out`/weights.

    Args:
        images: Folder of undamaged photographs.
        run: Settings.
        val: Folder of others, for validation and for the intervals; without it there are none.
        report: Gets every row of the journal.

    Raises:
        ValueError: For a folder without photographs, nothing to resume from.
    """
    objective, engine = pretrain(images, run, val, report)
    model = QualityModel(objective.model.clip, objective.tokenizer, objective.views)
    labelled = labels_of(model, objective.photographs, run.labels, run.seed + 1)
    held_out = list(read_folder(val).values()) if val else []
    held = labels_of(model, held_out, max(100, run.labels // 8), run.seed + 2) if held_out else None
    model, figures = with_head(model, labelled, held)
    record = {"data": f"{len(objective.photographs)} photographs of `{Path(images).name}`", "samples": engine.samples,
              "hours": round(engine.seconds / 3600, 2), "labels": len(labelled[1]), "license": run.license,
              "seed": run.seed, "physics": PHYSICS, "figures": figures,
              "command": f"rnr train quality --images DIR --samples {run.samples} --seed {run.seed}"}  # fmt: skip
    return export(model, run.out / "weights", record)


def labels_of(
    model: QualityModel, photographs: Sequence[np.ndarray], count: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (N, D) and full-reference quality (N,) of damaged crops of several sizes."""
    features, scores = [], []
    for number in range(-(-count // LABEL_BATCH)):
        side = SIDES[number % len(SIDES)]
        pairs = draw_pairs(photographs, LABEL_BATCH, side, seed * 1_000_003 + number)
        features.append(model.features(list(pairs.degraded_BCHW.permute(0, 2, 3, 1).numpy())))
        scores.append(pairs.score_B)
    return torch.cat(features)[:count], torch.cat(scores)[:count]


def with_head(
    model: QualityModel, labelled: tuple[torch.Tensor, torch.Tensor], held: tuple[torch.Tensor, torch.Tensor] | None
) -> tuple[QualityModel, dict[str, float]]:
    """The model with a technical head trained on these labels, and its figures on the held-out ones."""
    feature, score = labelled
    ladder = model.ladders()
    torch.manual_seed(0)
    adapter = fit(Adapter(feature.shape[1], float(model.clip.logit_scale)), feature, ladder, score)
    intervals, figures = None, {}
    if held is not None:
        with torch.no_grad():
            found = adapter(held[0], ladder).clamp(0, 100)
        intervals = Intervals.measured(found, held[1])
        agreed, error = agreement(found, held[1]), float((found - held[1]).abs().mean())
        figures = {"SRCC": round(agreed.srcc, 3), "PLCC": round(agreed.plcc, 3), "mean error": round(error, 1),
                   "held-out pictures": agreed.n}  # fmt: skip
    heads = {"technical": (adapter, intervals)}
    return QualityModel(model.clip, model.tokenizer, model.views, heads, missing=model.missing), figures


if __name__ == "__main__":
    import sys

    folder, val, *rest = sys.argv[1:]
    print(train_quality(folder, QualityRun.parse(rest, prog="rnr.quality.train"), val, print))
