"""A small convolutional network that finds where each kind changed the pixels, shown to the reasoner as one more view.

What damage leaves behind lies in second moments and in shapes, which a tower of linear patches learns late: after
250,000 samples the reasoner read rain with an F1 of 0.44. A convolutional network that must say of each cell of 8 px
how much each kind changed it learns from every cell (docs/lab-log.md, 2026-11-29). It sees the three views that show
the picture, each cut into blocks of 4 px and whitened by the covariance of clean photographs, as themselves and as log
magnitudes: on plain pixels it learned nothing in 9,000 pictures.

The view has a tile of 32 x 64 px for each of up to eight kinds, in the order of the diagnosis, two in a row:

    map of the change (square root) in      | presence, severity, "no     | the same of the overview
    overview (red), richest crop (green),   | photograph" of the picture  | (presence, severity, presence)
    smoothest crop (blue), cells of 2 px    | of the richest crop         | of the smoothest crop

The network is trained by itself (`rnr train detector`) and fixed while the reasoner learns to read what it shows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.files import hash_of

if TYPE_CHECKING:
    import torch

    from rnr.reasoner.detector_network import Detector
else:
    torch = LazyModule("torch")

DETECTOR = Path(__file__).parent / "detector.safetensors"
KINDS, TILE = 8, 32  # kinds that the view has room for; px of half a tile, in a view of 128 px


@cache
def built_in() -> Detector:
    """The network that all reasoners of this release look through, on the CPU, in float32. Raises OSError."""
    return load_detector(DETECTOR)[0]


@cache
def identity() -> str:
    """Hash of its weights: a reasoner is trained on what one detector shows, and its card names that one."""
    return hash_of([DETECTOR])


def load_detector(path: Path) -> tuple[Detector, dict[str, Any]]:
    """A network and what its file says of its training.

    Raises:
        OSError: Names a file that is missing or holds no detector.
    """
    from safetensors import SafetensorError, safe_open

    from rnr.reasoner.detector_network import Detector

    try:
        with safe_open(str(path), "pt") as file:
            about = json.loads((file.metadata() or {})["detector"])
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        network = Detector(about["kinds"])
        network.load_state_dict(weights)
    except (SafetensorError, KeyError, RuntimeError, FileNotFoundError) as error:
        raise OSError(f"{path}: no detector ({error}); `rnr train detector` makes one") from None
    return network.eval().requires_grad_(False), about


def maps(views_BVCHW: torch.Tensor) -> torch.Tensor:
    """The view (B, 3, S, S) in [0, 1] from views (B, 3, 3, S, S) in [0, 1], S = 128: overview, richest, smoothest.

    Picture by picture: what is shown of one does not depend on what lies beside it in a batch.
    """
    network = built_in()
    return torch.cat([drawn(*network(views[None])) for views in views_BVCHW])


def drawn(maps_BVKHW: torch.Tensor, whole_BN: torch.Tensor, each_BVN: torch.Tensor) -> torch.Tensor:
    """What a network found (`Detector.forward`), as the picture that the module describes."""
    count = maps_BVKHW.shape[2]
    side = TILE // maps_BVKHW.shape[-1]
    shown = maps_BVKHW.transpose(1, 2).repeat_interleave(side, -1).repeat_interleave(side, -2)
    presence, severity = whole_BN[:, :count].sigmoid(), whole_BN[:, count : 2 * count]
    strange = whole_BN[:, -1:].sigmoid().expand_as(presence)
    view_presence, view_severity = each_BVN[..., :count].sigmoid(), each_BVN[..., count:]
    colours = [torch.stack([presence, severity, strange], -1)]
    colours += [torch.stack([p, s, p], -1) for p, s in zip(view_presence.unbind(1), view_severity.unbind(1))]
    flat = torch.stack(colours, 2).view(len(presence), count, 2, 2, 3).permute(0, 1, 4, 2, 3)
    flat = flat.repeat_interleave(TILE // 2, -1).repeat_interleave(TILE // 2, -2)
    tiles = torch.cat([shown, flat], -1).clamp(0, 1)
    empty = tiles.new_zeros(len(tiles), KINDS - count, *tiles.shape[2:])
    rows = torch.cat([tiles, empty], 1).unflatten(1, (KINDS // 2, 2))
    return rows.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def check(card: Mapping[str, Any], name: str) -> None:
    """ValueError where weights were trained on what another detector shows."""
    wanted = card.get("detector")
    if wanted and wanted != identity():
        raise ValueError(
            f"{name}: trained on what detector {wanted} shows, this release has {identity()}; "
            "train it on with --init, or use the release it came with"
        )
