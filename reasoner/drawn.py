"""Views that are drawn from the picture's three: statistics, shapes and maps that a linear patch embedding does not
show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.photographs import rounded
from rnr.reasoner.detector import maps
from rnr.reasoner.marks import marks
from rnr.reasoner.spectrum import fine_spectrum, spectrum
from rnr.reasoner.views import CROPS, DRAWN

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

DRAW = {"spectrum": spectrum, "fine": fine_spectrum, "marks": marks, "maps": maps}  # by key in a card, in order


def with_drawn(views_BVCHW: torch.Tensor, wanted: Mapping[str, Any] = DRAWN) -> torch.Tensor:
    """Pictures' views (B, 3, 3, S, S) in [0, 1] and those that a card's `views` want beside them, rounded to 8 bits:
    (B, 3 to 7, 3, S, S)."""
    return torch.cat([views_BVCHW, *(rounded(view)[:, None] for view in _drawn(views_BVCHW, wanted))], 1)


def with_exact(views_VCHW: torch.Tensor, wanted: Mapping[str, Any]) -> torch.Tensor:
    """The same for one picture, unrounded: gradients flow through the drawn views."""
    return torch.cat([views_VCHW, *_drawn(views_VCHW[None], wanted)])


def view_count(card: Mapping[str, Any]) -> int:
    """Views of a picture by a card: the overview, the crops and those drawn from them. A server's limit of images."""
    wanted = card.get("views", {})
    return 1 + CROPS + sum(bool(wanted.get(name)) for name in DRAW)


def _drawn(views_BVCHW: torch.Tensor, wanted: Mapping[str, Any]) -> list[torch.Tensor]:
    return [draw(views_BVCHW) for name, draw in DRAW.items() if wanted.get(name)]
