"""Where a leg ends, estimated by a network for whole pictures: a look at all of a picture first, then tiles."""

from __future__ import annotations

from collections.abc import Callable

import torch

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.restorer.all_in_one import TileEstimate
from rnr.restorer.chain import Estimate, Undo, inverse, middle, severity_said
from rnr.restorer.expert import ExpertNetwork
from rnr.restorer.network import RestorerNetwork
from rnr.restorer.tiling import tiled

SPREAD = 64  # px about a tile that `Kind.invert` may look at; that of blur takes 63
Prepare = Callable[[torch.Tensor], torch.Tensor]  # the start of a leg -> the last input of its expert


def estimate_of(
    network: ExpertNetwork, source: Diagnosis | DiagnosisRecord | None, tile: int, hidden_1D: torch.Tensor | None = None
) -> Estimate:
    """Whole pictures through an expert.

    Args:
        network: The expert.
        source: What was diagnosed: by it physics' inverse and the severity, where the expert takes them.
        tile: Core of a tile in px.
        hidden_1D: What it is conditioned on beside the numbers (`rnr.unified`).
    """
    kind = network.config["kind"]
    severity = severity_said(source, kind) if network.config["finding"] else None
    undo = inverse(source, kind) if network.config["physics"] else None

    def function(x: torch.Tensor, start: torch.Tensor, last: torch.Tensor | None, t: torch.Tensor) -> torch.Tensor:
        return x + t * network(x, start, t, last, like(t, severity), hidden_1D)

    if (prepare := preparation(network, undo, tile, hidden_1D)) is not None:
        return prepared(function, network, prepare, tile)
    return by_tiles(
        lambda x, start, t: function(x, start, undo(start) if undo else None, t), network, network.reach, tile
    )


def preparation(network: ExpertNetwork, undo: Undo | None, tile: int, hidden_1D: torch.Tensor | None) -> Prepare | None:
    """What an expert that looks at the whole picture makes of it before it goes by tiles; None for all others."""
    if (glance := network.glance) is not None:

        def overviewed(start: torch.Tensor) -> torch.Tensor:
            known = undone(undo, network, start, tile).to(network.device) if undo else None
            return glance.undo(start.to(network.device), known, hidden_1D).cpu()

        return overviewed
    if (reader := network.reader) is not None:

        def deblurred(start: torch.Tensor) -> torch.Tensor:
            read = reader.read(middle(start).to(network.device))
            return undone(lambda tile_BCHW: network.undo(tile_BCHW, read), network, start, tile)

        return deblurred
    return None


def undone(undo: Undo, network: ExpertNetwork, start: torch.Tensor, tile: int) -> torch.Tensor:
    """A whole picture as physics would undo it."""
    return in_tiles(lambda tile_BCHW, t: undo(tile_BCHW), network, SPREAD, tile, [start], 1.0)


def prepared(function: Callable[..., torch.Tensor], network: ExpertNetwork, prepare: Prepare, tile: int) -> Estimate:
    """For an expert that looks at the whole picture first, once a leg: `prepare` gives its last input."""
    seen: list[torch.Tensor] = []

    def estimate(sample: torch.Tensor, start: torch.Tensor, t: float) -> torch.Tensor:
        if not seen:
            seen.append(prepare(start))
        if not network.config["widths"]:
            return sample + t * (seen[0] - start)
        return in_tiles(function, network, network.reach, tile, [sample, start, seen[0]], t)

    return estimate


def like(t_B: torch.Tensor, severity: float | None) -> torch.Tensor | None:
    """The severity for each picture of a batch."""
    return None if severity is None else torch.full_like(t_B, severity)


def by_tiles(function: TileEstimate, network: ExpertNetwork | RestorerNetwork, margin: int, tile: int) -> Estimate:
    """An estimate of whole pictures from one of tiles, on the device of its network."""

    def estimate(sample: torch.Tensor, start: torch.Tensor, t: float) -> torch.Tensor:
        return in_tiles(function, network, margin, tile, [sample, start], t)

    return estimate


def in_tiles(
    function: Callable[..., torch.Tensor],
    network: ExpertNetwork | RestorerNetwork,
    margin: int,
    tile: int,
    images_1CHW: list[torch.Tensor],
    t: float,
) -> torch.Tensor:
    """function(*tiles of the images, t) for the whole picture, computed on the device of the network."""
    time_B = torch.tensor([t], device=network.device, dtype=torch.float32)

    def run(*tiles: torch.Tensor) -> torch.Tensor:
        return function(*(each.to(network.device) for each in tiles), time_B)

    return tiled(run, images_1CHW, tile, network.multiple, margin)
