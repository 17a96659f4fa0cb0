"""Write a trained restorer as a weights folder: half precision, diffusers' format, a model card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnr.degradation.kind import PHYSICS
from rnr.restorer.bridge import BridgeScheduler
from rnr.restorer.network import RestorerNetwork
from rnr.restorer.pipeline import RestorePipeline, folder_of
from rnr.training.card import LICENSE, head

CARD = """# Restorer

A diffusion bridge from the degraded picture to the clean one, steered by a Diagnosis. {parameters:.2f} M parameters,
{megabytes:.1f} MB in half precision. Kinds it knows: {kinds}.

- **Data**: {data}
- **Training**: {training}
- **Command**: `{command}`
- **Figures** (PSNR in dB, one step, by the true diagnosis, centres of validation photographs; after each run by
  `rnr train restorer`): {shown}
- **Limits**: small network, trained on synthetic damage of small photographs; strong blur is only softened, dense haze
  and deep darkness come back with little texture; kinds it does not know are left alone.
"""


RECORD = "training.json"


def record_of(folder: str | Path) -> dict[str, Any]:
    """What a weights folder (or `built-in`) says of its training; {} where it says nothing."""
    path = folder_of(folder) / RECORD
    return json.loads(path.read_text()) if path.is_file() else {}


def samples_of(folder: str | Path) -> int:
    """All crops that a weights folder says it was trained on."""
    record = record_of(folder)
    return record.get("samples", 0) + record.get("samples_before", 0)


def export(network: RestorerNetwork, folder: str | Path, card: Mapping[str, object]) -> Path:
    """Replace `folder` by the weights; the old ones stay until the new ones are complete.

    `card`: data, license, training, command: words; figures: words, or PSNR by task; samples, samples_before: crops in
    units of 64 px, if any; hours: of the training and of those before.
    """
    folder = Path(folder)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    half = RestorerNetwork.from_config(network.config)
    half.load_state_dict(network.state_dict())
    for parameter in half.parameters():
        parameter.data = parameter.data.half()
    half.register_to_config(_name_or_path="")  # else diffusers writes the folder that a training began from
    RestorePipeline(half, BridgeScheduler()).save_pretrained(part, safe_serialization=True)
    size = sum(path.stat().st_size for path in part.rglob("*.safetensors")) / 1e6
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    kinds = ", ".join(network.layout.factors)
    figures = card["figures"]
    shown = (
        ", ".join(f"{task} {value:.1f}" for task, value in figures.items()) if isinstance(figures, dict) else figures
    )
    words = {"parameters": parameters, "megabytes": size, "kinds": kinds, "shown": shown}
    top = head(str(card.get("license", LICENSE)), "diffusers", "image-to-image")
    (part / "README.md").write_text(top + CARD.format(**words, **card))
    (part / RECORD).write_text(json.dumps(dict(card) | {"physics": PHYSICS}, indent=1) + "\n")
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    return folder
