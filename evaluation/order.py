"""`rnr bench order`: does the order of the legs matter? The plan (last formed, first undone) against all other orders.

Mixtures of two or three kinds are restored by their true diagnosis, its plan in every order. A difference is paired:
the same damage, the same diagnosis, another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING

import torch

from rnr.degradation.kind import kinds
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import rounded
from rnr.degradation.synthesize import truths
from rnr.evaluation.cases import Case, Report, interval
from rnr.evaluation.tables import Row, Table, mean

if TYPE_CHECKING:
    from rnr.degradation.diagnosis import Diagnosis
    from rnr.degradation.protocols import Restorer

MOST = 3  # kinds of a mixture: six orders
FEWEST = 3  # mixtures behind a row of a pair


def measure(restorer: Restorer, cases: Sequence[Case], report: Report = lambda done: None) -> list[Row]:
    """PSNR of each order on each mixture of two kinds or more; `order` has the kinds, joined by >.

    Args:
        restorer: By legs, in the order of the plan.
        cases: Damaged photographs (`rnr.evaluation.cases`).
        report: Gets the number of mixtures that are done.
    """
    rows: list[Row] = []
    for number, case in enumerate(cases):
        truth = truths(case.clean, case.damaged, case.mixture)[0]
        if 2 <= len(truth.plan) <= MOST:
            about: Row = {"case": number, "photograph": case.photograph, "plan": ">".join(truth.plan)}
            rows += [
                about | {"order": ">".join(order), "psnr": restored(restorer, case, truth, order)}
                for order in permutations(truth.plan)
            ]
        report(number + 1)
    return rows


def restored(restorer: Restorer, case: Case, truth: Diagnosis, order: Sequence[str]) -> float:
    """PSNR in dB of the restoration in this order."""
    pixels = case.damaged[0].permute(1, 2, 0).contiguous().numpy()
    result = restorer.restore(pixels, truth.model_copy(update={"plan": list(order)}))
    made = rounded(torch.from_numpy(result.pixels_HWC3).permute(2, 0, 1)[None])
    return float(psnr(made, case.clean).clamp(max=60))


def table(rows: Sequence[Row], seed: int = 0) -> Table:
    """The plan, its reverse, the mean over the orders, and the best of them, which nobody can know beforehand."""
    groups = [[row for row in rows if row["case"] == case] for case in dict.fromkeys(row["case"] for row in rows)]
    plans = [next(_psnr(row) for row in group if row["order"] == row["plan"]) for group in groups]
    ways = {
        "plan": plans,
        "reversed": [next(_psnr(row) for row in group if row["order"] == _reversed(row)) for group in groups],
        "any, mean": [sum(map(_psnr, group)) / len(group) for group in groups],
        "best": [max(map(_psnr, group)) for group in groups],
    }
    photographs = [str(group[0]["photograph"]) for group in groups]
    lines: list[Row] = [
        {"order": way, "PSNR": mean(values), "against the plan": _against(values, plans, photographs, seed)}
        for way, values in ways.items()
    ]
    return Table.of("Order of the legs", lines, f"n = {len(groups)} mixtures; dB, intervals over the photographs.")


def pairs(rows: Sequence[Row], seed: int = 0) -> Table:
    """What it brings to exchange two kinds, on mixtures of these two alone."""
    found: dict[str, list[tuple[str, float, float]]] = {}
    for row in rows:
        if str(row["plan"]).count(">") == 1 and row["order"] != row["plan"]:
            plan = next(_psnr(r) for r in rows if r["case"] == row["case"] and r["order"] == row["plan"])
            found.setdefault(str(row["plan"]), []).append((str(row["photograph"]), _psnr(row), plan))
    lines: list[Row] = []
    for names, each in sorted(found.items()):
        photographs, other, own = zip(*each)
        if len(each) >= FEWEST:
            lines.append({"plan": names, "n": len(each), "exchanged, dB": _against(other, own, photographs, seed)})
    return Table.of("Two kinds exchanged", lines, f"Of at least {FEWEST} mixtures; kinds: {', '.join(kinds())}.")


def _reversed(row: Row) -> str:
    return ">".join(str(row["plan"]).split(">")[::-1])


def _psnr(row: Row) -> float:
    return float(str(row["psnr"]))


def _against(values: Sequence[float], base: Sequence[float], photographs: Sequence[str], seed: int) -> str:
    apart = [value - other for value, other in zip(values, base)]
    low, high = interval(apart, photographs, seed)
    return f"{mean(apart):+.2f} ({low:+.2f} to {high:+.2f})"
