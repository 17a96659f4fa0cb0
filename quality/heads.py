"""Heads of a quality model: numbers that an adapter reads from frozen features, by labels.

`rnr train quality` fits the technical one by full-reference quality. `rnr train quality --head aesthetic --dataset ava
--data DIR` fits one by people's ratings where somebody has them (UniQA, section 3.4), on weights that stay as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import save_file

from rnr.degradation.files import whole
from rnr.degradation.loading import BUILT_IN
from rnr.quality.adapter import Adapter, Intervals, agreement, fit, splits
from rnr.quality.datasets import FORMATS, Rated, read
from rnr.quality.export import export, read_card
from rnr.quality.loading import folder_of
from rnr.quality.model import QualityModel
from rnr.quality.pairs import draw_pairs
from rnr.training.card import LICENSE, MEANING
from rnr.training.config import Settings
from rnr.training.journal import Report

SIDES, LABEL_BATCH = (192, 256, 320), 16  # px of the damaged pictures that are labels, how many at once; a choice
LEAST = 10  # rated pictures below which nothing can be fitted and measured; a choice
CHUNK = 500  # pictures whose features are one file: about half a minute; a choice
HEADS = ("technical", "aesthetic")
Labels = tuple[torch.Tensor, torch.Tensor]  # features (N, D), scores (N,)


class HeadRun(Settings):
    """Settings of a head on people's ratings."""

    out: Path = Field(description="folder for the features and the weights")
    head: str = Field(default="aesthetic", description=" or ".join(HEADS))
    dataset: str = Field(description=", ".join(FORMATS))
    data: Path = Field(description="its folder, as it was unpacked")
    init: str = Field(default=BUILT_IN, description="model whose features are read, and stay as they are")
    samples: int | None = Field(default=None, ge=LEAST, description="pictures, drawn from all; None: all")
    seed: int = Field(default=0, ge=0, description="of the draw and of the adapter")
    device: str = Field(default="cpu", description="cpu, cuda, ...")
    license: str = Field(default=LICENSE, description=MEANING)


def labels_of(model: QualityModel, photographs: Sequence[np.ndarray], count: int, seed: int) -> Labels:
    """Features (N, D) and full-reference quality (N,) of damaged crops of several sizes."""
    features, scores = [], []
    for number in range(-(-count // LABEL_BATCH)):
        side = SIDES[number % len(SIDES)]
        pairs = draw_pairs(photographs, LABEL_BATCH, side, seed * 1_000_003 + number)
        features.append(model.features(list(pairs.degraded_BCHW.permute(0, 2, 3, 1).numpy())))
        scores.append(pairs.score_B)
    return torch.cat(features)[:count], torch.cat(scores)[:count]


def with_head(
    model: QualityModel, labelled: Labels, held: Labels | None, name: str = "technical", seed: int = 0
) -> tuple[QualityModel, dict[str, float]]:
    """The model with a head trained on these labels beside its others, and its figures on the held-out ones."""
    feature, score = labelled
    ladder = model.ladders()
    torch.manual_seed(seed)
    adapter = fit(Adapter(feature.shape[1], float(model.clip.logit_scale)), feature, ladder, score)
    intervals, figures = None, {}
    if held is not None:
        with torch.no_grad():
            found = adapter(held[0], ladder).clamp(0, 100)
        intervals = Intervals.measured(found, held[1])
        agreed, error = agreement(found, held[1]), float((found - held[1]).abs().mean())
        figures = {"SRCC": round(agreed.srcc, 3), "PLCC": round(agreed.plcc, 3), "mean error": round(error, 1),
                   "held-out pictures": agreed.n}  # fmt: skip
    heads = {other: (head.adapter, head.intervals) for other, head in model.heads.items()}
    heads[name] = (adapter, intervals)
    return QualityModel(model.clip, model.tokenizer, model.views, heads), figures


def train_head(run: HeadRun, report: Report = lambda row: None) -> Path:
    """Fit a head on a data set's ratings and write `run.out`/weights: four fifths of the pictures to learn from.

    The intervals and figures are of the other fifth; pictures of one reference stay together. Features are kept in
    `run.out`/features: a run that was killed goes on by the same command.

    Raises:
        ValueError: For a data set that is missing, broken, too small or rates something else.
        SetupError: For a model that is none.
    """
    rated = drawn(run)
    model = QualityModel.load(run.init, run.device)
    feature = features_of(model, rated, run.out / "features", report)
    score = torch.tensor([one.score for one in rated])
    train, test = next(splits([one.reference for one in rated], 1))
    model, figures = with_head(model, (feature[train], score[train]), (feature[test], score[test]), run.head, run.seed)
    report({"samples": len(train), "validation": figures})
    return export(model, run.out / "weights", record_of(run, len(train), figures))


def drawn(run: HeadRun) -> list[Rated]:
    """The pictures that the head is made of. ValueError where they rate something else, or are too few."""
    if run.head not in HEADS:
        raise ValueError(f"no head {run.head!r}; there are {', '.join(HEADS)}")
    fitting = [name for name, form in FORMATS.items() if form.aesthetic == (run.head == "aesthetic")]
    if run.dataset not in fitting:
        raise ValueError(f"{run.dataset} does not rate {run.head} quality; name one of {', '.join(fitting)}")
    rated = read(run.dataset, run.data)
    if len(rated) < LEAST:
        raise ValueError(f"{run.data}: {len(rated)} rated pictures; a head needs {LEAST} and more")
    chosen = np.random.default_rng(run.seed).permutation(len(rated))[: run.samples]
    return [rated[i] for i in sorted(chosen)]


def features_of(model: QualityModel, rated: Sequence[Rated], folder: Path, report: Report) -> torch.Tensor:
    """(N, D); what lies in the folder is not computed again."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for first in range(0, len(rated), CHUNK):
        parts.append(_kept(model, rated[first : first + CHUNK], folder / f"{first:06d}.safetensors"))
        report({"samples": first + len(parts[-1]), "doing": f"features of {len(rated):,} pictures"})
    return torch.cat(parts)


def _kept(model: QualityModel, rated: Sequence[Rated], path: Path) -> torch.Tensor:
    """Features of these pictures by this model, from the file if it holds them."""
    names = [str(value) for value in model.identity.values()] + [str(one.path.resolve()) for one in rated]
    key = hashlib.sha256("\n".join(names).encode()).hexdigest()
    if path.is_file():
        with safe_open(str(path), "pt") as file:
            if (file.metadata() or {}).get("key") == key:
                return file.get_tensor("feature_ND")
    found = model.features(one.pixels() for one in rated).cpu()
    with whole(path) as part:
        save_file({"feature_ND": found}, str(part), metadata={"key": key})
    return found


def record_of(run: HeadRun, count: int, figures: dict[str, float]) -> dict[str, Any]:
    """The record of the weights underneath, with this head's."""
    before = read_card(folder_of(run.init)).get("training", {"start": run.init})
    named = figures if run.head == "technical" else {f"aesthetic {name}": value for name, value in figures.items()}
    ratings = before.get("ratings", {}) | {run.head: f"{count:,} pictures of {run.dataset}"}
    return before | {"ratings": ratings, "figures": before.get("figures", {}) | named, "license": run.license}
