"""How a reasoner errs: a small model from which training conditions are drawn, beliefs for truths.

A restorer that has only seen true severities is brittle. `Confusion` holds, per kind, matched samples of true severity
and of what the reasoner believed, taken on photographs with known damage; a belief for a new severity is the one of a
random neighbour, shifted by the difference. Without a file a broad generic reasoner is assumed.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

NEIGHBOURS = 24


class Confusion:
    """Samples per kind: rows (true severity, probability, severity if present, spread), sorted by true severity."""

    def __init__(self, rows: dict[str, torch.Tensor] | None = None) -> None:
        self.rows = {kind: table[table[:, 0].argsort()] for kind, table in (rows or {}).items()}

    @classmethod
    def read(cls, path: str | Path) -> Confusion:
        data = json.loads(Path(path).read_text())
        return cls({kind: torch.tensor(table) for kind, table in data["rows"].items()})

    def draw(self, kind: str, severity: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """(probability, severity if present, spread), each (B,), for true severities (B,), 0 = absent."""
        table = self.rows.get(kind)
        if table is None or len(table) < 2 * NEIGHBOURS:
            return generic(severity, generator)
        table = table.to(severity.device)
        position = torch.searchsorted(table[:, 0].contiguous(), severity)
        absent = int((table[:, 0] <= 0).sum())
        jitter = torch.rand(len(severity), generator=generator, device=severity.device)
        near = position + ((jitter - 0.5) * NEIGHBOURS).long()
        near = torch.where(severity > 0, near.clamp(min=absent), (jitter * absent).long())
        row = table[near.clamp(0, len(table) - 1)]
        shift = torch.where(severity > 0, severity - row[:, 0], 0)
        return row[:, 1], (row[:, 2] + shift).clamp(1, 100), row[:, 3]


def generic(severity: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """A middling reasoner: error of about 9 points, sure of what is strong, unsure of what is weak."""

    def normal() -> torch.Tensor:
        return torch.randn(len(severity), generator=generator, device=severity.device)

    present = severity > 0
    logit = torch.where(present, (severity - 6) / 5 + 2 * normal(), -4 + 2 * normal())
    spread = 4 + 10 * torch.rand(len(severity), generator=generator, device=severity.device)
    believed = torch.where(present, severity + spread * normal(), 4 + 12 * normal().abs())
    return torch.sigmoid(logit), believed.clamp(1, 100), spread
