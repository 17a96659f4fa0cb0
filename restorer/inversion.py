"""The degraded picture with what was diagnosed undone by physics: a second opinion among the network's inputs.

Each kind in the `Condition` is inverted by its own `Kind.invert`, the last formed first, as far as it is
believed. The main factor follows from the severity, because severity is what a reasoner reads best and what people
edit; the other factors are as given, or at the middle of their range. Rain is not undone, depth is not known, what
is left of the noise comes out amplified: the network decides, pixel by pixel, how much of it to take.
"""

from __future__ import annotations

import torch

from rnr.degradation.kind import column, kinds
from rnr.restorer.condition import Condition, Layout


def invert(image_BCHW: torch.Tensor, condition: Condition, layout: Layout) -> torch.Tensor:
    """(B, 3, H, W), within [-0.5, 1.5]; where nothing invertible is named, the picture itself."""
    known = kinds()
    given = [name for name in layout.factors if name in known]
    for name in sorted(given, key=lambda name: known[name].formation, reverse=True):
        features, kind = condition.findings[name], known[name]
        belief = features[:, 0] * condition.asked[name]
        rows = (belief > 0.05).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        factors = {row["name"]: _factor(row, part) for row, part in _parts(layout.factors[name], features[rows])}
        factors = kind.with_severity(100 * features[rows, 1], factors, layout.curve(name))
        before = image_BCHW[rows]
        inverse = kind.invert(before, factors).clamp(-0.5, 1.5)
        image_BCHW = image_BCHW.index_copy(0, rows, before + column(belief[rows]) * (inverse - before))
    return image_BCHW


def _parts(rows: list[dict], features: torch.Tensor):
    """The columns of each factor within a finding's features (see `finding_features`)."""
    start = 4
    for row in rows:
        width = len(row["choices"]) or 2
        yield row, features[:, start : start + width]
        start += width


def _factor(row: dict, part: torch.Tensor) -> torch.Tensor:
    """The given value (B,); the middle of the range, or the first choice, where it is unknown."""
    if row["choices"]:
        return part.argmax(1)
    weighted, weight = part.unbind(1)
    share = torch.where(weight > 0, weighted / weight.clamp(min=1e-6), 0.5)
    return row["low"] + share * (row["high"] - row["low"])
