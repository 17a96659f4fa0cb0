"""A latent restorer's folder: codes.safetensors, model_index.json, the autoencoder where it is no hub's, and a card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from rnr.restorer.latent.autoencoder import FOLDER, Autoencoder, folder_of
from rnr.restorer.latent.codes import CODES, CodePredictor, save_predictor, write_index
from rnr.training.card import LICENSE, head

TRAINING = "training.json"  # beside an autoencoder: what it was trained on


def export(model: CodePredictor, autoencoder: str | Path, folder: Path, card: dict[str, Any]) -> Path:
    """Write the folder and return it; a local autoencoder is copied into it, so that it can be moved."""
    save_predictor(model, folder / CODES, card)
    local = Path(autoencoder).is_dir()
    if local:
        shutil.copytree(autoencoder, folder / FOLDER, dirs_exist_ok=True)
    write_index(folder, FOLDER if local else autoencoder)
    text = model_card(model, Autoencoder.from_pretrained(autoencoder), training_of(folder_of(autoencoder)), card)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return folder


def training_of(folder: Path) -> dict[str, Any]:
    """What an autoencoder of ours says of its training; {} of another."""
    path = folder / TRAINING
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def model_card(model: CodePredictor, autoencoder: Autoencoder, trained: dict[str, Any], card: dict[str, Any]) -> str:
    """The README: what it is, what it learned from, how well, and what it cannot do."""
    book, millions = model.book, 1e-6 * sum(p.numel() for p in model.parameters())
    places = f"{book.common.groups} groups of {book.common.size} codes"
    own = 1e-6 * sum(p.numel() for p in autoencoder.parameters())
    learned = f"{trained['samples']:,} {trained['unit']} in {trained['hours']} hours" if trained else "by others"
    return f"""{head(card.get("license", LICENSE), "diffusers", "image-to-image")}# Latent restorer

A picture, restored to the quality that is asked for (IQPIR's idea): {type(autoencoder.model).__name__} of diffusers,
with {own:.2f} M parameters at 1/{autoencoder.factor} of the resolution, a dual codebook ({places} each: common, and HQ+
from a score of {float(book.threshold):.0f}), and a Transformer with {millions:.2f} M parameters that predicts both.

- **Data**: {card.get("data", "?")}; damaged as training went
- **Autoencoder**: {learned}; `{trained.get("command", "")}`
  {figures(trained)}
- **Codes**: {card.get("samples", 0):,} {card.get("unit", "samples")} in {card.get("hours", "?")} hours;
  `{card.get("command", "rnr train codes")}`
  {figures(card)}
- **Score**: 100 minus the severity of all that separates a picture from its clean original (MS-SSIM, logarithmic): a
  full-reference measure, not the opinion of people
- **Limits**: what the autoencoder cannot carry is lost, also of good pictures: fine texture comes back smoother. It
  undoes all kinds at once and learns nothing from the diagnosis. No LPIPS and no discriminator in training.
"""


def figures(about: dict[str, Any]) -> str:
    found = about.get("figures", {})
    return "held-out photographs: " + ", ".join(f"{k} {v:g}" for k, v in found.items()) if found else "not measured"
