"""A weights folder: CLIP in half precision as transformers saves it, tokenizer, heads, and `quality.json`, its card."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from rnr.quality.adapter import Adapter, Intervals
from rnr.quality.model import QualityModel
from rnr.quality.views import Views
from rnr.training.card import LICENSE, head

CARD = "quality.json"
HEADS = "heads.safetensors"
FORMAT = 1  # of the views and the card: what a release can read
MEASURED = """100 minus the severity of all that separates a picture from its clean original (MS-SSIM,
  logarithmic): the label is a full-reference measure, not the opinion of people"""
Heads = Mapping[str, tuple[Adapter, Intervals | None]]


def export(model: QualityModel, folder: Path, training: Mapping[str, Any] | None = None) -> Path:
    """Write the folder and return it. `training` is kept as a record of where the weights come from."""
    folder.mkdir(parents=True, exist_ok=True)
    half = copy.deepcopy(model.clip)
    half.half().save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    tensors = {f"{name}.{key}": t.contiguous() for name, h in model.heads.items()
               for key, t in h.adapter.state_dict().items()}  # fmt: skip
    save_file(tensors, str(folder / HEADS))
    intervals = {name: h.intervals and asdict(h.intervals) for name, h in model.heads.items()}
    card = {"format": FORMAT, "views": asdict(model.views), "heads": intervals, "missing": model.missing,
            "training": dict(training or {})}  # fmt: skip
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(card, model.clip), encoding="utf-8")
    return folder


def read_card(folder: Path) -> dict[str, Any]:
    """The card; {} where a folder has none. ValueError for one of another release, or that is not JSON."""
    path = folder / CARD
    if not path.is_file():
        return {}
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); copy the weights folder again") from None
    if card.get("format") != FORMAT:
        raise ValueError(f"{path}: format {card.get('format')}, this release reads {FORMAT}; train it again")
    return card


def heads_of(folder: Path, card: Mapping[str, Any]) -> dict[str, tuple[Adapter, Intervals | None]]:
    """The heads that a card names. OSError where their file is missing."""
    tensors = load_file(str(folder / HEADS))
    found = {}
    for name, measured in card["heads"].items():
        own = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
        adapter = Adapter(own["down.weight"].shape[1], 0.0)
        adapter.load_state_dict(own)
        found[name] = (adapter, Intervals(*(tuple(measured[end]) for end in ("low", "high"))) if measured else None)
    return found


def views_of(card: Mapping[str, Any]) -> Views:
    views = card["views"]
    return Views(**views | {name: tuple(views[name]) for name in ("mean", "spread")})


def model_card(card: Mapping[str, Any], clip: torch.nn.Module) -> str:
    """The README of a weights folder: what it is, what it learned from, how well, and what it cannot do."""
    training, ratings = card["training"], card["training"].get("ratings", {})
    size = sum(p.numel() for p in clip.parameters()) / 1e6
    figures = "\n".join(f"| {name} | {value} |" for name, value in training.get("figures", {}).items())
    license = training.get("license", LICENSE)
    start = f"taken on from {training['start']}" if training.get("start") else "trained from scratch"
    return f"""{head(license, "transformers", "zero-shot-image-classification")}# Quality model

CLIP (`{type(clip).__name__}`, unmodified) with {size:.1f} M parameters, both towers {start};
an adapter between its frozen features and four ladders of words (UniQA). It sees up to
{card["views"]["rows"] * card["views"]["columns"]} native crops of {card["views"]["side"]} px and an overview.

- **Data**: {training.get("data", "?")}; damaged as training went, captions from the recipe of the damage
- **Training**: {training.get("samples", 0):,} pictures in {training.get("hours", "?")} hours;
  {training.get("labels", "?")} more for the adapter
- **Command**: `{training.get("command", "rnr train quality")}`
- **Licence** of the weights, which follows from those photographs: {license}
- **Technical quality**: {_meaning(ratings.get("technical"), MEASURED)}
- **Aesthetic quality**: {_meaning(ratings.get("aesthetic"), f"null. {card['missing'].get('aesthetic', '')}")}

| measured | value |
|---|---|
{figures or "| not measured | |"}

Limits: synthetic damage; small photographs; {"" if ratings else "no human ratings; "}damage that lies between the
crops of a large picture is seen in the overview alone.
"""


def _meaning(rated: str | None, otherwise: str) -> str:
    return f"by people's ratings, {rated}; its figures are of others of them" if rated else otherwise
