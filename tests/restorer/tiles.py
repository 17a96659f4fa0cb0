"""An expert that looks at the whole picture restores it alike whole and in tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from rnr.degradation.synthesize import degrade, prescribe, truths
from rnr.restorer import BridgeScheduler, Experts, RestorePipeline
from rnr.restorer.expert import ExpertNetwork, save_expert


def randomised(network: ExpertNetwork) -> ExpertNetwork:
    """The network with weights that are not zero, so that it changes something."""
    for name, p in network.named_parameters():
        torch.nn.init.normal_(p, std=0.03, generator=torch.Generator().manual_seed(len(name)))
    return network


def assert_tiles_agree(network: ExpertNetwork, clean: torch.Tensor, severity: float, folder: Path, atol: float) -> None:
    """A leg by this expert alone, of `clean` damaged by its kind."""
    kind = network.config["kind"]
    save_expert(network, folder / f"{kind}.safetensors", {})
    pipe = RestorePipeline(None, BridgeScheduler(), Experts.from_pretrained(folder))
    mixture = prescribe({kind: severity}, seed=1)
    damaged = degrade(clean, mixture)
    diagnosis, pixels = truths(clean, damaged, mixture)[0], damaged[0].permute(1, 2, 0).numpy()
    whole, tiles = (pipe.restore(pixels, diagnosis, tile=tile).pixels_HWC3 for tile in (768, 64))
    assert np.abs(whole - pixels).mean() > 1e-3
    np.testing.assert_allclose(whole, tiles, atol=atol)
