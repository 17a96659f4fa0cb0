"""An expert's reading of how severe its kind is in a picture: a linear read-out of what its own layers see.

    python -m rnr.restorer.reading EXPERTS --images PHOTOGRAPHS

A dose is a position on a leg, d / s: d is asked, s is the picture's own severity. What a leg removed does not say s
where little can be removed: of compression an expert takes 4 to 7 points off whatever there is, and every dose above a
fifth went all the way (docs/lab-log.md, 2026-11-29). Ridge regression on features of damaged regions, in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rnr.degradation.kind import kind_named
from rnr.degradation.photographs import random_crops, read_folder
from rnr.degradation.synthesize import degrade
from rnr.restorer.expert import ExpertNetwork, load_expert, save_expert, shape_of
from rnr.restorer.expert_data import KEPT, draw_formation
from rnr.training.ridge import ridge

SIZE, BATCH = 128, 8  # px and number of the regions; a choice
COUNT = 2400  # regions to fit on: five times the features' number of the built-in experts
RIDGE = 10.0  # of standardised features; 100 reads too low by a fifth


def regions(
    network: ExpertNetwork, photographs: Sequence[np.ndarray], count: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (N, D) and true severities (N,), 0..100, of regions that hold the expert's kind beside others."""
    kind, features, severities = kind_named(network.config["kind"]), [], []
    for number in range(count // BATCH):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        clean = random_crops(list(photographs), BATCH, (SIZE, SIZE), generator)
        mixture = draw_formation(kind, BATCH, torch.rand(BATCH, generator=generator) < KEPT, generator)
        with torch.no_grad():
            features.append(network.features(degrade(clean, mixture)))
        severities.append(mixture.severity(kind.name).float())
    return torch.cat(features), torch.cat(severities)


def fit(network: ExpertNetwork, photographs: Sequence[np.ndarray], count: int = 0, seed: int = 0) -> ExpertNetwork:
    """The same expert with a reading.

    Args:
        network: An expert with a U-Net.
        photographs: Undamaged, uint8 HWC.
        count: Regions to fit on; 0: COUNT.
        seed: Of everything that is drawn.
    """
    features, severities = regions(network, photographs, count or COUNT, seed)
    weight, bias = ridge(features.double().numpy(), severities.double().numpy() / 100, RIDGE / len(features))
    reader = ExpertNetwork(**shape_of(network) | {"reads": True})
    reader.load_state_dict(network.state_dict(), strict=False)
    assert reader.reading is not None
    with torch.no_grad():
        reader.reading.weight[0] = torch.from_numpy(weight)
        reader.reading.bias[0] = bias
    return reader.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def add_readings(folder: Path, images: Path, val: Path | None) -> None:
    """Fit and write the reading of every expert with a U-Net in a folder; prints how it does on other photographs."""
    photographs = list(read_folder(images).values())
    held_out = list(read_folder(val).values()) if val else []
    for path in sorted(folder.glob("*.safetensors")):
        network, card = load_expert(path)
        if not network.config["widths"] or network.glance is not None:
            continue
        network = fit(network.eval(), photographs)
        if held_out:
            features, true = regions(network, held_out, 400, seed=1)
            read = network.severity_of(features)
            present = true > 0
            card["reading"] = {
                "correlation": round(float(torch.corrcoef(torch.stack([read, true]))[0, 1]), 3),
                "mean error where present": round(float((read - true).abs()[present].mean()), 1),
            }
            print(path.stem, card["reading"])
        save_expert(network, path, card)


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(prog="rnr.restorer.reading", description=__doc__.split("\n")[0])
    parser.add_argument("experts", type=Path, help="folder of KIND.safetensors, which are written again")
    parser.add_argument("--images", type=Path, required=True, help="folder of undamaged photographs")
    parser.add_argument("--val", type=Path, help="others, to say how well the severities are read")
    arguments = parser.parse_args()
    add_readings(arguments.experts, arguments.images, arguments.val)
