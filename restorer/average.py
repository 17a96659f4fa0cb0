"""The mean of restorers that were trained from the same weights: `rnr train average FOLDER FOLDER -o OUT`.

The mean of several trainings with one start is often better than each of them, and as fast (model soups: Wortsman et
al., ICML 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rnr.restorer.export import export, record_of, samples_of
from rnr.restorer.loading import network_of
from rnr.restorer.network import RestorerNetwork
from rnr.restorer.train import validate
from rnr.training.card import LICENSE


def average(folders: Sequence[str | Path], out: str | Path, val: str | Path | None = None) -> Path:
    """Export the mean, each folder counting the same, to `out`/weights; returns that folder.

    `folders` hold weights; `val` is a folder of photographs for the card's figures. Raises
    ValueError for fewer than two of them or for networks of different shapes, SetupError for a folder without weights.
    """
    from rnr.degradation.photographs import read_folder

    if len(folders) < 2:
        raise ValueError("a mean needs two folders of weights or more")
    held_out = list(read_folder(val, 12).values()) if val else []
    networks = [network_of(folder) for folder in folders]
    network = RestorerNetwork.from_config(networks[0].config)
    states = [one.state_dict() for one in networks]
    for folder, one in zip(folders, networks):
        if one.layout != network.layout:
            raise ValueError(
                f"{folder}: it knows other kinds, or on other scales, than {folders[0]}; they have no mean"
            )
    for folder, state in zip(folders, states):
        if {name: v.shape for name, v in state.items()} != {name: v.shape for name, v in network.state_dict().items()}:
            raise ValueError(f"{folder}: its network is another than that of {folders[0]}; they have no mean")
    network.load_state_dict({name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]})
    network.eval()
    figures = validate(network, held_out) if held_out else "no validation photographs were given"
    return export(network, Path(out) / "weights", _card(folders, figures))


def _card(folders: Sequence[str | Path], figures: Any) -> dict[str, object]:
    """What all of them have in common is counted once, the rest of each is added."""
    totals, records = [samples_of(folder) for folder in folders], [record_of(folder) for folder in folders]
    hours = [record.get("hours", 0) for record in records]
    before, samples = min(totals), sum(totals) - len(totals) * min(totals)
    spent = round(min(hours) + sum(hours) - len(hours) * min(hours), 1)
    commands = "; ".join(dict.fromkeys(str(record.get("command", "unknown")) for record in records))
    crops = f"{samples:,} crops in units of 64x64 after {before:,} that they have in common"
    return {
        "data": records[0].get("data", "unknown"),
        "license": records[0].get("license", LICENSE),
        "training": f"the mean of {len(folders)} weights; {crops}; {spent} hours in all",
        "samples": samples,
        "samples_before": before,
        "hours": spent,
        "command": f"rnr train average{' WEIGHTS' * len(folders)}; of each: {commands}",
        "figures": figures,
    }
