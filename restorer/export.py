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

WHOLE = """# Restorer

A diffusion bridge from the degraded picture to the clean one, a leg for each finding of a Diagnosis; {size:.1f} MB in
half precision. Kinds it knows: {kinds}.

- **Data**: {data}
- **Training**: {training}
- **Command**: `{command}`
- **Figures**: {figures}
- **Doses**: {doses}
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
    RestorePipeline(_half(network), BridgeScheduler()).save_pretrained(part, safe_serialization=True)
    size = megabytes(part)
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    kinds = ", ".join(network.layout.factors)
    figures = card["figures"]
    shown = (
        ", ".join(f"{task} {value:.1f}" for task, value in figures.items()) if isinstance(figures, dict) else figures
    )
    words = {"parameters": parameters, "megabytes": size, "kinds": kinds, "shown": shown}
    return _replace(folder, part, CARD.format(**words, **card), card)


def export_pipeline(pipe: RestorePipeline, folder: str | Path, card: Mapping[str, object]) -> Path:
    """Replace `folder` by a whole restorer, as `export` does; `rnr.restorer.load` reads it.

    Args:
        pipe: Its experts, and what else it holds.
        folder: Where to.
        card: As for `export`; `doses`, words, if any were learned.
    """
    folder = Path(folder)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    network = _half(pipe.network) if pipe.network is not None else None
    whole = RestorePipeline(network, pipe.scheduler, pipe.experts, pipe.autoencoder, pipe.doses)
    whole.save_pretrained(part, safe_serialization=True)
    words = {"doses": "all legs go to their end", "size": megabytes(part), "kinds": ", ".join(pipe.kinds)}
    return _replace(folder, part, WHOLE.format(**(words | dict(card))), card)


def _half(network: RestorerNetwork) -> RestorerNetwork:
    """A copy in half precision."""
    half = RestorerNetwork.from_config(network.config)
    half.load_state_dict(network.state_dict())
    for parameter in half.parameters():
        parameter.data = parameter.data.half()
    half.register_to_config(_name_or_path="")  # else diffusers writes the folder that a training began from
    return half


def megabytes(folder: Path) -> float:
    """Of all weights in it."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / 1e6


def _replace(folder: Path, part: Path, text: str, card: Mapping[str, object]) -> Path:
    """`part` with its card in place of `folder`."""
    top = head(str(card.get("license", LICENSE)), "diffusers", "image-to-image")
    (part / "README.md").write_text(top + text)
    (part / RECORD).write_text(json.dumps(dict(card) | {"physics": PHYSICS}, indent=1) + "\n")
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    return folder
