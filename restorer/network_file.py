"""A file of one network: weights in half precision, with its config and its card in the metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from rnr.degradation.files import whole


class NetworkFile(NamedTuple):
    """What a file holds: the network's arguments, what is said of its training, and float32 weights by name."""

    config: dict[str, Any]
    card: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def write_network(
    tensors: Mapping[str, torch.Tensor], path: Path, config: Mapping[str, Any], card: Mapping[str, Any]
) -> None:
    """Write a file, whole or not at all, and its folder where there is none."""
    half = {name: value.detach().half().contiguous() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        # One entry: safetensors writes several in a random order, and the same weights are to be the same file.
        save_file(half, str(part), metadata={"about": json.dumps({"config": dict(config), "card": dict(card)})})


def read_network(path: Path) -> NetworkFile:
    """Read a file; config and card may be two entries, as experts have them. Raises whatever a broken file raises."""
    with safe_open(str(path), "pt") as file:
        entries = file.metadata() or {}
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    if "about" in entries:
        return NetworkFile(**json.loads(entries["about"]), tensors=tensors)
    return NetworkFile(json.loads(entries["config"]), json.loads(entries.get("card", "{}")), tensors)


def hash_of_weights(*modules: torch.nn.Module) -> str:
    """First 16 hex digits of the SHA-256 of all weights as they were loaded, wherever they came from."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
