"""`rnr bench order`: does the order of the legs matter? The plan (last formed, first undone) against all other orders.

Mixtures of two or three kinds are restored by their true diagnosis, its plan in every order. A difference is paired:
the same damage, the same diagnosis, another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

from rnr.degradation.kind import kinds
from rnr.degradation.measure import psnr
from rnr.degradation.synthesize import truths
from rnr.evaluation.cases import Case, Report, by_diagnosis, interval
from rnr.evaluation.tables import Row, Table, as_number, mean

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
    made = by_diagnosis(restorer, case, truth.model_copy(update={"plan": list(order)}))
    return float(psnr(made, case.clean).clamp(max=60))


@dataclass(frozen=True)
class Tried:
    """One mixture: its plan, and the PSNR of each order."""

    photograph: str
    plan: tuple[str, ...]
    psnr: dict[tuple[str, ...], float]


def tried(rows: Sequence[Row]) -> list[Tried]:
    """The rows of `measure` by mixture."""
    found: dict[object, Tried] = {}
    for row in rows:
        plan, order = (tuple(str(row[name]).split(">")) for name in ("plan", "order"))
        mixture = found.setdefault(row["case"], Tried(str(row["photograph"]), plan, {}))
        mixture.psnr[order] = as_number(row, "psnr")
    return list(found.values())


def table(rows: Sequence[Row], seed: int = 0) -> Table:
    """The plan, its reverse, the mean over the orders, and the best of them, which nobody can know beforehand."""
    mixtures = tried(rows)
    plans = [each.psnr[each.plan] for each in mixtures]
    ways = {
        "plan": plans,
        "reversed": [each.psnr[each.plan[::-1]] for each in mixtures],
        "any, mean": [sum(each.psnr.values()) / len(each.psnr) for each in mixtures],
        "best": [max(each.psnr.values()) for each in mixtures],
    }
    photographs = [each.photograph for each in mixtures]
    lines: list[Row] = [
        {"order": way, "PSNR": mean(values), "against the plan": _against(values, plans, photographs, seed)}
        for way, values in ways.items()
    ]
    return Table.of("Order of the legs", lines, f"n = {len(mixtures)} mixtures; dB, intervals over the photographs.")


def pairs(rows: Sequence[Row], seed: int = 0) -> Table:
    """What it brings to exchange two kinds, on mixtures of these two alone."""
    found: dict[str, list[Tried]] = {}
    for mixture in tried(rows):
        if len(mixture.plan) == 2:
            found.setdefault(">".join(mixture.plan), []).append(mixture)
    lines: list[Row] = []
    for plan, each in sorted(found.items()):
        if len(each) >= FEWEST:
            other, own = ([one.psnr[one.plan[::step]] for one in each] for step in (-1, 1))
            apart = _against(other, own, [one.photograph for one in each], seed)
            lines.append({"plan": plan, "n": len(each), "exchanged, dB": apart})
    return Table.of("Two kinds exchanged", lines, f"Of at least {FEWEST} mixtures; kinds: {', '.join(kinds())}.")


def _against(values: Sequence[float], base: Sequence[float], photographs: Sequence[str], seed: int) -> str:
    apart = [value - other for value, other in zip(values, base)]
    low, high = interval(apart, photographs, seed)
    return f"{mean(apart):+.2f} ({low:+.2f} to {high:+.2f})"
