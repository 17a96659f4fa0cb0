"""Contrastive pre-training of both towers: `rnr train quality --images DIR --out FOLDER`.

Pictures are damaged as training goes and captioned from what was done to them (`captions`). Loss: CLIP's, in both
directions, where equal captions are all positive (a batch holds few different ones); and a probe that reads score and
severities from the picture's feature and is thrown away afterwards: a batch of words says little about how much.
UniQA starts from CLIP-B/16; here the towers start from nothing, which is why the probe is there, or from `--init`.
`--teacher URL` adds a teacher's captions (`teacher`), `--purify` weighs captions by what they are worth (`purify`).
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
from rnr.quality.captions import LADDERS, captions_of, rung, vocabulary
from rnr.quality.export import export
from rnr.quality.heads import labels_of, with_head
from rnr.quality.model import QualityModel
from rnr.quality.network import build_tokenizer, picture_feature, projected, small_clip, text_features, with_words
from rnr.quality.pairs import Pairs, draw_pairs
from rnr.quality.purify import known_share, spoilt, worth
from rnr.quality.teacher import Batches, taught_pairs, words_of, written
from rnr.quality.views import Views
from rnr.training import checkpoint
from rnr.training.checkpoint import CHECKPOINT
from rnr.training.config import Run
from rnr.training.engine import Engine
from rnr.training.journal import Report, refuse_used
from rnr.training.muon import Muon

if TYPE_CHECKING:
    from transformers import CLIPModel

CROPS = 2  # native crops a picture and update; a choice
CONTRAST = 0.25  # weight of the contrastive loss beside the probe's; both are about 1 at first
FITTED = 256  # pictures by which the channels are standardised; a choice
HELD = 128  # validation pictures
TAUGHT = 0.5  # share of the batches that are those a teacher wrote of; a choice
PURE_FROM = 0.25  # share of the schedule after which captions are weighed: before, the space knows nothing; a choice
LEAST_WORTH = 1e-3  # so that a batch of worthless captions still has a loss
# Settings that a resumed training must share with what it goes on from.
BEGUN_WITH = ("init", "captions", "noise", "purify", "seed")


class QualityRun(Run):
    """Settings of the pre-training."""

    samples: int = Field(default=40_000, ge=1, description="pictures that are shown, echoes included")
    rate: float = Field(default=2e-3, gt=0, description="learning rate at its highest")
    precision: Any = Field(default="fp32", description="auto: the faster of bf16 and fp32, by a timing")
    echo: int = Field(default=2, ge=1, description="times each picture is learned from, with other crops and captions")
    batch: int = Field(default=16, ge=2, description="pictures in a batch")
    side: int = Field(default=192, ge=96, description="of the damaged crops, px")
    labels: int = Field(default=3_000, ge=16, description="damaged pictures that the adapter learns from")
    noise: float = Field(default=0, ge=0, le=1, description="share of captions replaced by others' or chatter: a test")
    purify: bool = Field(default=False, description="weigh captions by relevance x informativeness")
    init: str = Field(default="", description="weights to start from, with a new schedule; any CLIP by name")
    teacher: str = Field(default="", description="URL of a server whose model writes captions, too")
    teacher_model: str | None = Field(default=None, description="its name there; the first one by default")
    captions: int = Field(default=1_000, ge=2, description="pictures that the teacher writes captions of")

    @property
    def taught(self) -> int:
        """Batches that a teacher writes of."""
        return -(-self.captions // self.batch) if self.teacher else 0


class Towers(nn.Module):
    """CLIP and the probe."""

    def __init__(self, clip: CLIPModel, width: int) -> None:
        super().__init__()
        self.clip: CLIPModel = clip
        self.probe = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1 + len(kinds())))


@dataclass
class Batch:
    """Damaged pictures (B, 3, H, W), their scores 0..100 and severities (B, K), and each one's captions."""

    degraded_BCHW: torch.Tensor
    score_B: torch.Tensor
    severity_BK: torch.Tensor
    captions: list[list[str]]


class QualityObjective:
    """Pictures and their captions near each other.

    Args:
        run: Settings.
        photographs: Undamaged, uint8 HWC.
        held_out: Others, for validation.
        taught: What a teacher wrote of `taught_pairs`, by batch and picture.

    Raises:
        SetupError: For weights to start from that are none.
    """

    def __init__(
        self, run: QualityRun, photographs: Sequence[np.ndarray], held_out: Sequence[np.ndarray] = (),
        taught: Batches | None = None,
    ) -> None:  # fmt: skip
        self.run, self.photographs, self.taught = run, list(photographs), taught or []
        clip, self.tokenizer, self.views = self._taken_on() if run.init else self._new()
        self.model = Towers(clip.requires_grad_(True), int(clip.config.projection_dim or 0))
        self.held = [draw_pairs(held_out, 32, run.side, 10_000 + i) for i in range(HELD // 32)] if held_out else []

    def _new(self) -> tuple[Any, Any, Views]:
        """Random towers, the tokenizer, and views fitted to damaged pictures."""
        first = [draw_pairs(self.photographs, 16, self.run.side, 20_000 + i).degraded_BCHW for i in range(FITTED // 16)]
        views = Views().fitted(torch.cat(first))  # type: ignore[arg-type]
        tokenizer = build_tokenizer(words_of(self.taught))
        return small_clip(tokenizer, views, self.run.seed), tokenizer, views

    def _taken_on(self) -> tuple[Any, Any, Views]:
        """Those of weights, grown by the words that they lack."""
        begun = QualityModel.load(self.run.init)
        words = vocabulary(words_of(self.taught))
        clip, tokenizer = with_words(begun.clip, begun.tokenizer, words, self.run.seed)
        return clip, tokenizer, begun.views

    def batch(self, progress: float, seed: int) -> tuple[Batch, int]:
        """Damaged pictures with their captions, and their number; some of them those that the teacher wrote of."""
        draw = random.Random(seed)
        number = draw.randrange(len(self.taught)) if self.taught and draw.random() < TAUGHT else None
        more: list[list[str]] = [[]] * self.run.batch if number is None else self.taught[number]
        pairs = self._drawn(seed) if number is None else taught_pairs(self.run, self.photographs, number)
        captions = [
            captions_of(d, s, seed + i) + said
            for i, (d, s, said) in enumerate(zip(pairs.diagnoses(), pairs.score_B.tolist(), more))
        ]
        captions = spoilt(captions, self.run.noise, seed)[0]
        return Batch(pairs.degraded_BCHW, pairs.score_B, pairs.severity_BK, captions), self.run.batch

    def _drawn(self, seed: int) -> Pairs:
        return draw_pairs(self.photographs, self.run.batch, self.run.side, seed)

    def loss(self, batch: Batch, progress: float, seed: int) -> torch.Tensor:
        """Contrastive loss of a short and a long caption, and the probe's."""
        feature = self.features(batch.degraded_BCHW, seed)
        draw, weigh = random.Random(seed), self.run.purify and progress >= PURE_FROM
        short = [each[0] for each in batch.captions]
        long = [draw.choice(each[1:]) for each in batch.captions]
        contrast = self.contrast(feature, short, weigh) + self.contrast(feature, long, weigh)
        return self.probed(feature, batch) + CONTRAST * contrast

    def features(self, pictures_BCHW: torch.Tensor, seed: int) -> torch.Tensor:
        """(B, D) of random crops and the overview of each picture."""
        generator = torch.Generator().manual_seed(seed)
        views = torch.stack([self.views.some(picture, CROPS, generator) for picture in pictures_BCHW])
        each = projected(self.model.clip.get_image_features(pixel_values=views.flatten(0, 1)))
        each = each.view(len(pictures_BCHW), CROPS + 1, -1)
        return (each[:, :-1].mean(1) + each[:, -1]) / 2

    def contrast(self, feature_BD: torch.Tensor, texts: Sequence[str], weigh: bool = False) -> torch.Tensor:
        """InfoNCE in both directions over the different texts; a text's pictures share it. `weigh`: purified."""
        unique = list(dict.fromkeys(texts))
        owner = torch.tensor([unique.index(text) for text in texts])
        words = text_features(self.model.clip, self.tokenizer, unique)
        picture = normalize(feature_BD, dim=-1)
        logits = self.model.clip.logit_scale.exp().clamp(max=100) * picture @ words.T
        weight = self.worth(picture, words[owner], texts) if weigh else torch.ones(len(texts))
        shared = nn.functional.one_hot(owner, len(unique)) * weight[:, None]
        of_text = shared.sum(0) / owner.bincount()
        by_picture = cross_entropy(logits, owner, reduction="none") @ weight / weight.sum()
        by_text = cross_entropy(logits.T, (shared / shared.sum(0)).T, reduction="none") @ of_text / of_text.sum()
        return (by_picture + by_text) / 2

    @torch.no_grad()
    def worth(self, picture_BD: torch.Tensor, text_BD: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Weight (B,) of each caption in this batch, by the space as it is."""
        scale = float(self.model.clip.logit_scale.exp().clamp(max=100))
        return worth(picture_BD, text_BD, scale, known_share(self.tokenizer, texts)).clamp(min=LEAST_WORTH)

    def probed(self, feature_BD: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Error of score and severities, in units of 10 points."""
        targets = torch.cat([batch.score_B[:, None], batch.severity_BK], 1) / 10
        weight = torch.tensor([4.0] + [1.0] * batch.severity_BK.shape[1])
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

    def load(self) -> None:
        """Back to where `save` was. ValueError also for a training that was begun with other settings."""
        begun = checkpoint.read(self.run.out / CHECKPOINT)[0]["run"]
        own = self.run.model_dump(mode="json")
        own, begun = ({**held, "teacher": bool(held.get("teacher"))} for held in (own, begun))
        for name in ("teacher", *BEGUN_WITH):
            if begun.get(name, QualityRun.model_fields[name].default) != own[name]:
                problem = f"begun with {name} {begun.get(name)!r}, now {own[name]!r}"
                raise ValueError(f"{self.run.out / CHECKPOINT}: {problem}; give the same options as then")
        super().load()


def pretrain(
    images: str | Path, run: QualityRun, val: str | Path | None = None, report: Report = lambda row: None
) -> tuple[QualityObjective, QualityEngine]:
    """Train both towers; the averaged weights are in the objective's model afterwards. Raises ValueError, OSError."""
    photographs = list(read_folder(images).values())
    held_out = list(read_folder(val).values()) if val else []
    refuse_used(run.out, run.resume)
    taught = written(run, photographs, report) if run.teacher else []
    objective = QualityObjective(run, photographs, held_out, taught)
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
        ValueError: For a folder without photographs, nothing to resume from, or a resumed training of other settings.
        ServerError: Where the teacher fails; what it has answered stays in `run.out`/captions.jsonl.
        SetupError: For weights to start from that are none.
    """
    objective, engine = pretrain(images, run, val, report)
    model = QualityModel(objective.model.clip, objective.tokenizer, objective.views)
    labelled = labels_of(model, objective.photographs, run.labels, run.seed + 1)
    held_out = list(read_folder(val).values()) if val else []
    held = labels_of(model, held_out, max(100, run.labels // 8), run.seed + 2) if held_out else None
    model, figures = with_head(model, labelled, held)
    return export(model, run.out / "weights", record_of(run, Path(images).name, objective, engine, figures))


def record_of(
    run: QualityRun, images: str, objective: QualityObjective, engine: QualityEngine, figures: dict[str, float]
) -> dict[str, Any]:
    """Where the weights come from, for their card."""
    options = {"--init": run.init, "--teacher": run.teacher and "URL", "--noise": run.noise or ""}
    command = f"rnr train quality --images DIR --samples {run.samples} --seed {run.seed}" + " --purify" * run.purify
    command += "".join(f" {name} {value}" for name, value in options.items() if value)
    return {"data": f"{len(objective.photographs)} photographs of `{images}`", "samples": engine.samples,
            "hours": round(engine.seconds / 3600, 2), "labels": run.labels, "license": run.license,
            "seed": run.seed, "physics": PHYSICS, "figures": figures, "start": run.init,
            "captions": run.captions if run.teacher else 0, "command": command}  # fmt: skip


if __name__ == "__main__":
    import sys

    folder, val, *rest = sys.argv[1:]
    print(train_quality(folder, QualityRun.parse(rest, prog="rnr.quality.train"), val, print))
