"""Does the diagnosis steer? Two kinds of damage on a picture, one of them named: the named one goes, the other stays.

With d the damaged picture, n what it would be without the named kind and o without the other one (partial recipes of
`degrade(..., keep=)`, the same random layers), the change r - d is fitted by a (n - d) + b (o - d), least squares over
all pixels: a is the share of the named damage that is gone, 1 - b the share of the other that stays. PSNR is held
against n, the picture that was ordered. Noise that is drawn on a picture cannot be taken away exactly: a < 1 there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import kinds
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import centre_of
from rnr.degradation.synthesize import Mixture, degrade, prescribe, truths
from rnr.evaluation import plots
from rnr.evaluation.tables import Cell, Row, Table, group_mean

if TYPE_CHECKING:
    import numpy as np
    import torch

    from rnr.restorer import RestorePipeline
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

STRENGTH = 45.0  # severity of both
MEASURES = ("gone", "stays", "before", "after")


def pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """All ordered pairs of kinds: (named, other)."""
    return [(named, other) for named in names for other in names if named != other]


def share(restored: torch.Tensor, damaged: torch.Tensor, without: Sequence[torch.Tensor]) -> list[float]:
    """How much of each partial repair (`without[k]`, one damage taken away) the restoration did; any equal shapes."""
    basis_NK = torch.stack([(image - damaged).double().flatten() for image in without], 1)
    change_N1 = (restored - damaged).double().flatten()[:, None]
    gram_KK = basis_NK.T @ basis_NK
    ridge_KK = 1e-6 * torch.diag(gram_KK.diagonal() + 1e-12)  # two damages that look the same share the credit
    return torch.linalg.solve(gram_KK + ridge_KK, basis_NK.T @ change_N1)[:, 0].tolist()


def steer(restorer: RestorePipeline, clean: torch.Tensor, named: str, other: str, seed: int, steps: int) -> Row:
    """One picture (1, 3, H, W), both damages on it, one of them named by a true diagnosis and an Intent."""
    from rnr.degradation.intent import Intent

    strength = {kind: min(STRENGTH, kinds()[kind].top) for kind in (named, other)}
    mixture = prescribe(strength, seed)
    damaged = degrade(clean, mixture)
    ordered, opposite = (_without(clean, mixture, kind) for kind in (named, other))
    truth = truths(clean, damaged, mixture)[0]
    pixels = damaged[0].permute(1, 2, 0).contiguous().numpy()
    result = restorer.restore(pixels, truth, Intent(kinds=[named]), num_inference_steps=steps, seed=seed)
    restored = torch.from_numpy(result.pixels_HWC3).permute(2, 0, 1)[None]
    gone, taken = share(restored, damaged, [ordered, opposite])
    row: Row = {"named": named, "other": other, "gone": 100 * gone, "stays": 100 * (1 - taken)}
    return row | {"before": float(psnr(damaged, ordered)), "after": float(psnr(restored, ordered))}


def _without(clean: torch.Tensor, mixture: Mixture, kind: str) -> torch.Tensor:
    keep = {step.kind.name: torch.tensor([step.kind.name != kind]) for step in mixture.steps}
    return degrade(clean, mixture, keep)


def measure(
    restorer: RestorePipeline,
    photographs: Mapping[str, np.ndarray],
    size: int,
    seed: int,
    steps: int = 1,
    report: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """A row per picture and ordered pair of kinds."""
    rows: list[Row] = []
    for number, (name, photograph) in enumerate(photographs.items()):
        clean = centre_of(photograph, size)
        for named, other in pairs(restorer.kinds):
            row: Row = {"picture": name}
            rows.append(row | steer(restorer, clean, named, other, seed + number, steps))
            report(len(rows))
    return rows


def pair_table(rows: Sequence[Row]) -> Table:
    """Means of each pair."""
    note = (
        f"Both kinds at severity {STRENGTH:g}, only the first is named. gone: share of the named damage that was taken "
        "away, in %; stays: share of the other one that is still there, in %. before, after: PSNR in dB against the "
        "picture without the named kind and with the other one."
    )
    digits = {"gone": 0, "stays": 0, "before": 1, "after": 1}
    return Table.of("Steering", group_mean(rows, ("named", "other"), MEASURES), note, digits)


def measured(rows: Sequence[Row]) -> list[str]:
    """The kinds of these rows, in order of formation."""
    named = {row["named"] for row in rows} | {row["other"] for row in rows}
    return [name for name in kinds() if name in named]


def matrix(rows: Sequence[Row], measure: str) -> list[list[float]]:
    """Rows: the named kind; columns: the other one; NaN on the diagonal."""
    means = {(row["named"], row["other"]): row[measure] for row in pair_table(rows).rows}
    names = measured(rows)
    cells = [[means.get((named, other)) for other in names] for named in names]
    return [[float("nan") if cell is None else float(str(cell)) for cell in line] for line in cells]


def matrix_table(rows: Sequence[Row]) -> Table:
    """One row per named kind; a cell is "gone / stays" in %."""
    held = {(row["named"], row["other"]): row for row in pair_table(rows).rows}
    lines: list[Row] = []
    for named in measured(rows):
        line: Row = {"named": named}
        for other in measured(rows):
            row = held.get((named, other))
            line[f"with {other}"] = f"{_whole(row['gone'])} / {_whole(row['stays'])}" if row else None
        lines.append(line)
    return Table.of("Steering: share of the named damage gone / of the other that stays, %", lines)


def _whole(cell: Cell) -> int:
    return round(float(str(cell)))


def draw(rows: Sequence[Row], out: Path) -> None:
    """Two heat maps: what is gone, what stays."""
    names = measured(rows)
    labels = ("named", "other damage on the picture")
    plots.matrix(np.array(matrix(rows, "gone")), names, names, "named damage that is gone, %", out / "gone.png", labels)
    plots.matrix(np.array(matrix(rows, "stays")), names, names, "other damage that stays, %", out / "stays.png", labels)
