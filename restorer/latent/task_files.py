"""A restorer of tasks as files: tasks.safetensors, one in prompts/ for each task, model_index.json, and a card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from rnr.degradation.files import whole
from rnr.restorer.latent.autoencoder import FOLDER
from rnr.restorer.latent.codes import write_index
from rnr.restorer.latent.export import figures
from rnr.restorer.latent.tasks import OWN, TaskNetwork
from rnr.restorer.network_file import read_network, write_network
from rnr.training.card import LICENSE, head

NETWORK, PROMPTS = "tasks.safetensors", "prompts"  # a file, and the folder of a file for each task


def export(network: TaskNetwork, autoencoder: str | Path, folder: Path, card: dict[str, Any]) -> Path:
    """Write the folder and return it; a local autoencoder is copied into it, so that it can be moved."""
    save_network(network, folder / NETWORK, card)
    for name in network.prompts:
        save_prompt(network, name, folder, card)
    local = Path(autoencoder).is_dir()
    if local:
        shutil.copytree(autoencoder, folder / FOLDER, dirs_exist_ok=True)
    write_index(folder, FOLDER if local else autoencoder, "TaskRestorer")
    (folder / "README.md").write_text(model_card(network, card), encoding="utf-8")
    return folder


def model_card(network: TaskNetwork, card: Mapping[str, Any]) -> str:
    """The README: what it is, what it learned from, how well, and what it cannot do."""
    millions = 1e-6 * sum(p.numel() for p in network.parameters())
    left_out = [part for part in ("cfrm", "controller", "tfa") if not network.config[part]]
    without = f" Without {', '.join(left_out)}: an ablation." if left_out else ""
    return f"""{head(card.get("license", LICENSE), "diffusers", "image-to-image")}# Restorer of tasks

A picture, restored for people or for a machine's task (UniRestore's idea): {millions:.2f} M parameters, prior
`{network.config["prior"]}`, prompts {", ".join(sorted(network.prompts))}.{without}

- **Data**: {card.get("data", "?")}; damaged as training went
- **Training**: {card.get("samples", 0):,} {card.get("unit", "samples")} in {card.get("hours", "?")} hours;
  `{card.get("command", "rnr train tasks")}`
  {figures(dict(card))}
- **Limits**: what the autoencoder cannot carry is lost. A prompt that was trained for a machine costs people PSNR. It
  undoes all kinds at once and learns nothing from the diagnosis.
"""


def save_network(network: TaskNetwork, path: Path, card: Mapping[str, Any]) -> None:
    """All but the prompts, and but a prior that has a name of its own, in half precision; whole or not at all."""
    left_out = ("prompts.",) if network.config["prior"] == OWN else ("prompts.", "unet.")
    tensors = {name: value for name, value in network.state_dict().items() if not name.startswith(left_out)}
    config = {name: value for name, value in network.config.items() if not name.startswith("_")}
    write_network(tensors, path, config, card)


def save_prompt(network: TaskNetwork, name: str, folder: Path, card: Mapping[str, Any]) -> Path:
    """The vector of one task, in full precision, into the folder of the prompts."""
    path = folder / PROMPTS / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        tensors = {"prompt": network.prompts[name].detach().cpu().contiguous()}
        save_file(tensors, str(part), metadata={"card": json.dumps(dict(card))})
    return path


def load_network(folder: Path) -> tuple[TaskNetwork, dict[str, Any]]:
    """The network with all prompts of its folder, in float32, and its card.

    Raises:
        OSError: Names a file that is missing, broken, or something else.
    """
    path = folder / NETWORK
    try:
        config, card, tensors = read_network(path)
        network: TaskNetwork = TaskNetwork(**config)
        missing, unknown = network.load_state_dict(tensors, strict=False)
        if wrong := [name for name in missing if not name.startswith("unet.")] + unknown:
            raise ValueError(f"{wrong[0]} is missing or unknown")
    except Exception as error:
        remedy = "train it with `rnr train tasks`, or copy the file again"
        raise OSError(f"{path}: no weights of a restorer of tasks ({error}); {remedy}") from error
    for prompt in sorted((folder / PROMPTS).glob("*.safetensors")):
        network.prompts[prompt.stem] = nn.Parameter(read_prompt(prompt, int(network.config["prompt"])))
    return network.eval(), card


def read_prompt(path: Path, length: int) -> torch.Tensor:
    """The vector of a file. OSError for another length, or no prompt."""
    try:
        with safe_open(str(path), "pt") as file:
            found = file.get_tensor("prompt").float()
        if found.shape != (length,):
            raise ValueError(f"a vector of {tuple(found.shape)} where {length} numbers are wanted")
    except Exception as error:
        raise OSError(f"{path}: no prompt of this restorer ({error}); train it with `rnr train task`") from error
    return found
