"""A weights folder: Qwen3-VL in half precision, tokenizer, processor, and `reasoner.json`, which says what it knows.

    python -m rnr.reasoner.export runs/reasoner -o WEIGHTS

writes the averaged weights of the newest checkpoint of a training, running or not;

    python -m rnr.reasoner.export --mean WEIGHTS1 WEIGHTS2 ... --val PHOTOGRAPHS -o WEIGHTS

the mean of weights that one training began from another (model soups, Wortsman et al. 2022). The first one's
record is kept, so name the longest trained one first.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rnr.degradation.diagnosis import SCHEMA_VERSION, reasoning_order
from rnr.degradation.kind import PHYSICS
from rnr.prompts import Prompt, load
from rnr.reasoner import detector
from rnr.reasoner.card import CARD
from rnr.reasoner.probe import NAME, detach
from rnr.reasoner.views import VIEWS
from rnr.training.card import LICENSE, head


def export(model, processor, folder: Path, prompt: Prompt, training: dict[str, Any] | None = None) -> Path:
    """Write the folder and return it. `training` is kept as a record of where the weights come from."""
    folder.mkdir(parents=True, exist_ok=True)
    half = copy.deepcopy(model).to(torch.float16)
    detach(half)
    half.config.use_cache = True  # a training turned it off
    half.save_pretrained(folder)
    processor.save_pretrained(folder)
    card = {
        "schema_version": SCHEMA_VERSION,
        "kinds": reasoning_order(),
        "physics": PHYSICS,
        "prompt": prompt.name,
        "prompt_version": prompt.version,
        "views": VIEWS,
        "detector": detector.identity(),
        "training": training or {},
    }
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(card, model), encoding="utf-8")
    return folder


def model_card(card: dict[str, Any], model) -> str:
    """The README of a weights folder: what it is, what it learned from, how well, and what it cannot do."""
    training = card["training"]
    size = sum(p.numel() for name, p in model.named_parameters() if not name.startswith(f"{NAME}.")) / 1e6
    rows = [_table_row(kind, values) for kind, values in training.get("validation", {}).items() if "f1" in values]
    table = "\n".join(
        ["| kind | present, F1 | severity, correlation | severity, mean error |", "|---|---|---|---|", *rows]
    )
    stages = " and ".join(f"{samples:,}" for samples in training.get("mean_of", []))
    averaged = f"\nThe mean of its weights after {stages} regions." if stages else ""
    license = training.get("license", LICENSE)
    return f"""{head(license, "transformers", "image-to-text")}# Reasoner weights

Qwen3-VL (`Qwen3VLForConditionalGeneration`, unmodified) with {size:.1f} M parameters and its own byte-level tokenizer,
trained from scratch to diagnose: {", ".join(card["kinds"])}.
Prompt: `{card["prompt"]}`, version {card["prompt_version"]}.
It sees one overview of {card["views"]["side"]} px, {card["views"]["crops"]} native crops, their spectra
and the tones of the overview, what lies over the scene (lines, spots and veil), and the maps of a small convolutional
network that is to say where each kind changed the pixels (`rnr train detector`).

Trained by `python -m rnr.reasoner.train`, seed {training.get("seed")}, on {total(training):,} damaged regions
of clean photographs (folder `{training.get("photographs", "?")}`) in {training.get("hours", "?")} hours.{averaged}
Licence of the weights, which follows from those photographs: {license}.

Held-out photographs, synthetic damage, late curriculum (mixtures), diagnoses written freely
(a severity that is not said counts as 0):

{table if rows else "not measured"}

Limits: synthetic damage of these kinds only; one severity per picture and kind; sharpness differs between photographs,
so weak blur is uncertain; it answers with a closed vocabulary, and its words of what is shown are coarse.
"""


def total(training: dict[str, Any]) -> int:
    """Samples of this training and of those that its first weights came from."""
    return training.get("samples", 0) + training.get("samples_before", 0)


def record_of(folder: Path | None) -> dict[str, Any]:
    """What a weights folder says of its training; {} for none."""
    if folder is None or not (folder / CARD).is_file():
        return {}
    card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
    return card.get("training", {})


def _table_row(kind: str, values: dict[str, float | None]) -> str:
    cells = [values.get(name) for name in ("f1", "r", "mae")]
    return f"| {kind} | " + " | ".join("" if cell is None else f"{cell:.3g}" for cell in cells) + " |"


def export_checkpoint(training: Path, folder: Path) -> Path:
    """Export the averaged weights of the newest complete checkpoint. Raises ValueError if there is none."""
    from safetensors.torch import load_file
    from transformers import Qwen3VLForConditionalGeneration

    from rnr.reasoner.callbacks import EMA_FILE, hours_of, last_checkpoint
    from rnr.reasoner.processor import load_processor

    checkpoint = last_checkpoint(training)
    if checkpoint is None:
        raise ValueError(
            f"{training}: no complete checkpoint here; `python -m rnr.reasoner.train -o {training}` makes them"
        )
    settings = json.loads((training / "settings.json").read_text())
    model = Qwen3VLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    model.load_state_dict(load_file(str(checkpoint / EMA_FILE)), strict=False)
    samples = int(checkpoint.name.rsplit("-", 1)[1]) * settings["batch"]
    settings["hours"] = hours_of(training)
    return finish(model, load_processor(str(checkpoint)), folder, settings, samples)


def finish(model, processor, folder: Path, settings: dict[str, Any], samples: int) -> Path:
    """Validate weights as they will be used (if `settings["val"]` names photographs) and export them."""
    from rnr.degradation.photographs import read_folder
    from rnr.reasoner.reasoner import Reasoner
    from rnr.reasoner.validate import decoded

    record = {"samples": samples, "seed": settings["seed"], "photographs": Path(settings["data"]).name}
    record["license"] = settings.get("license", LICENSE)
    before = record_of(settings["init"] and Path(settings["init"]))
    record["samples_before"] = total(before)
    record["hours"] = round(before.get("hours", 0) + settings["hours"], 1)
    record |= {"mean_of": settings["mean_of"]} if "mean_of" in settings else {}
    prompt = load("diagnose_tuned")
    if settings["val"]:
        card = {"prompt": prompt.name, "views": VIEWS}
        photographs = list(read_folder(settings["val"]).values())
        record["validation"] = decoded(Reasoner(model, processor, card, str(folder)), photographs)
    return export(model, processor, folder, prompt, record)


def mean(folders: Sequence[Path], val: Path | None, folder: Path) -> Path:
    """Export the mean of the weights in these folders, validated on the photographs in `val`."""
    from safetensors.torch import load_file
    from transformers import Qwen3VLForConditionalGeneration

    from rnr.reasoner.processor import load_processor

    tensors = [load_file(str(each / "model.safetensors")) for each in folders]
    model = Qwen3VLForConditionalGeneration.from_pretrained(folders[0], dtype=torch.float32)
    averages = {name: sum(each[name].float() for each in tensors) / len(tensors) for name in tensors[0]}
    model.load_state_dict(averages, strict=False)
    record = record_of(folders[0])
    settings = {"seed": record["seed"], "data": record["photographs"], "init": None, "val": val}
    settings["license"] = record.get("license", LICENSE)
    settings["mean_of"] = [total(record_of(each)) for each in folders]
    settings["hours"] = record.get("hours", 0)
    return finish(model, load_processor(str(folders[0])), folder, settings, total(record))


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(prog="rnr.reasoner.export", description=__doc__.split("\n")[0])
    parser.add_argument("training", type=Path, nargs="?", help="output folder of rnr.reasoner.train")
    parser.add_argument("--mean", type=Path, nargs="+", help="instead: weights folders")
    parser.add_argument("--val", type=Path, help="with --mean: photographs to validate on")
    parser.add_argument("-o", "--output", type=Path, required=True, help="weights folder to write")
    arguments = parser.parse_args()
    if bool(arguments.training) == bool(arguments.mean):
        parser.error("name the output folder of a training, or --mean with weights folders")
    if arguments.mean:
        print(mean(arguments.mean, arguments.val, arguments.output))
    else:
        print(export_checkpoint(arguments.training, arguments.output))
