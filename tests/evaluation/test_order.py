"""Orders of legs: each is tried once, and the table says what another one brings."""

from __future__ import annotations

import numpy as np
import pytest

from rnr.evaluation import order
from rnr.evaluation.cases import cases
from rnr.restorer import load


def test_each_order_of_a_mixture_is_tried_and_the_plan_is_what_restoration_does(small: dict[str, np.ndarray]) -> None:
    restorer, held = load(), cases(small, 64, 4, 0, ["noise", "haze", "rain"])
    rows = order.measure(restorer, held)
    assert rows and {len(str(row["plan"]).split(">")) for row in rows} <= {2, 3}
    first = [row for row in rows if row["case"] == rows[0]["case"]]
    assert len({row["order"] for row in first}) == len(first) in (2, 6)
    case = held[int(str(rows[0]["case"]))]
    truth = order.truths(case.clean, case.damaged, case.mixture)[0]
    assert next(row["psnr"] for row in first if row["order"] == row["plan"]) == pytest.approx(
        order.restored(restorer, case, truth, truth.plan)
    )


def test_differences_are_paired() -> None:
    def of(case: int, plan: str, values: dict[str, float]) -> list[order.Row]:
        return [{"case": case, "photograph": f"{case}", "plan": plan, "order": o, "psnr": v} for o, v in values.items()]

    rows = [row for n in range(3) for row in of(n, "a>b", {"a>b": 20.0 + n, "b>a": 21.0 + n})]
    shown = {row["order"]: row["against the plan"] for row in order.table(rows).rows}
    assert shown["reversed"] == shown["best"] == "+1.00 (+1.00 to +1.00)" and str(shown["plan"]).startswith("+0.00")
    assert order.pairs(rows).rows == [{"plan": "a>b", "n": 3, "exchanged, dB": "+1.00 (+1.00 to +1.00)"}]
    assert not order.pairs(rows[:4]).rows, "two are too few"
