"""A folder of a unified pair: what differs from the pair that it began with, in half precision, and its card.

`unified.safetensors` holds the weights that were trained; `unified.json` names the two models that the others come
from, with the hashes of their weights. So a folder is small, and loading says where they have changed since.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from rnr.degradation.files import hash_of, whole
from rnr.training.card import LICENSE, head
from rnr.unified.model import UnifiedModel

WEIGHTS, CARD, FORMAT = "unified.safetensors", "unified.json", 1
OWN = ("bridge.", "reader.", "to_prompt.")  # of no base: always written


def export(model: UnifiedModel, folder: Path, training: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write the folder and return it. `training`: a record of each stage."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = set(model.card.get("weights", []))
    kept |= {n for n, p in model.named_parameters() if p.requires_grad or n.startswith(OWN) or ".film." in n}
    tensors = {n: p.detach().half().contiguous().cpu() for n, p in model.named_parameters() if n in kept}
    with whole(folder / WEIGHTS) as part:
        save_file(tensors, str(part))
    bases = {part: base_of(model, part) for part in ("reasoner", "restorer")}
    about = {"reads": model.reader is None, "condition": model.condition, "lora": model.lora}
    stages = {"training": [dict(each) for each in training], "weights": sorted(kept)}
    card: dict[str, Any] = {"format": FORMAT, **bases, **about, **stages}
    with whole(folder / CARD) as part:
        part.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(card, tensors), encoding="utf-8")
    return folder


def base_of(model: UnifiedModel, part: str) -> dict[str, Any]:
    """Name and hash of the model that a half began with."""
    if part in model.card:
        return model.card[part]
    found = model.reasoner.identity if part == "reasoner" else model.pipe.identity
    return {"name": str(found["model"]).removeprefix("restorer "), "hash": found["model_hash"]}


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a folder. Raises ValueError that names the file and the remedy."""
    path = folder / CARD
    if not path.is_file():
        raise ValueError(f"{folder}: no {CARD} here; name a folder that `rnr train unified` wrote (OUT/weights)")
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); copy the folder again") from None
    if card.get("format") != FORMAT:
        raise ValueError(f"{path}: format {card.get('format')}, this release reads {FORMAT}; train it again")
    return card


@torch.no_grad()
def apply_weights(model: UnifiedModel, folder: Path) -> None:
    """Put a folder's weights into a model, and its card. Raises ValueError for a file that is broken or of another."""
    path, own = folder / WEIGHTS, dict(model.named_parameters())
    try:
        with safe_open(str(path), "pt") as file:
            for name in file.keys():  # noqa: SIM118
                own[name].copy_(file.get_tensor(name).float())
    except KeyError as error:
        raise ValueError(f"{path}: holds {error}, which this pair has not; train it again") from None
    except Exception as error:  # safetensors' errors have no common base
        raise ValueError(f"{path}: cannot be read ({error}); copy the folder again") from error
    model.card["hash"] = hash_of([path])


def model_card(card: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """The README of a folder."""
    size = sum(tensor.numel() for tensor in tensors.values())
    license = str(card["training"][-1].get("license", LICENSE)) if card["training"] else LICENSE
    stages = "\n".join(
        f"- **Stage {t['stage']}**: {t['samples']:,} crops in {t['hours']} hours, {t['data']}; `{t['command']}`; "
        + (", ".join(f"{name} {value:g}" for name, value in t["figures"].items()) or "not validated")
        for t in card["training"]
    )
    reads = "the reasoner itself" if card["reads"] else "a small Transformer of words beside it"
    return f"""{head(license, "diffusers", "image-to-image")}# Unified pair

A reasoner ({card["reasoner"]["name"]}) and a restorer ({card["restorer"]["name"]}) that were trained together: the
hidden states of the analysis scale and shift the experts of the legs (UARE, arXiv 2512.06750). This folder holds the
{size / 1e6:.2f} M weights that differ from those two models, {2 * size / 1e6:.1f} MB. Instructions are read by {reads}.

{stages or "- untrained: restores as the two models do apart"}
- **Licence** of the weights, which follows from the photographs: {license}
- **Limits**: those of the two models; instructions in English, about kinds of damage, in words like those of
  `prompts/templates/instruct_phrases.txt`.
"""
