"""`rnr bench instructions`: the built-in reader on a few held-out instructions, and what the tables say of them."""

from __future__ import annotations

import pytest

from rnr.evaluation.instructions import Case, cases, tables
from rnr.reasoner.instructions import Wish, load


def test_the_built_in_reader_reads_more_than_half_right() -> None:
    held = cases(load(), 60, 0)
    found = tables(held)["instructions"]
    (all_forms,) = [row for row in found.rows if row["form"] == "every form"]
    assert all_forms["n"] == 60 and float(str(all_forms["right %"])) > 50
    assert sum(int(str(row["n"])) for row in found.rows) == 120  # each form, and all together
    assert [case.words for case in cases(load(), 5, 0)] == [case.words for case in held[:5]]


def test_shares_by_certainty() -> None:
    def case(remove: str, certainty: float) -> Case:
        return Case("words", "only", Wish(("rain",)), Wish((remove,), certainty=certainty))

    rows = tables([case("rain", 0.99995), case("rain", 0.95), case("haze", 0.95), case("haze", 0.5)])
    by_certainty = {row["certainty"]: row for row in rows["instructions_certainty"].rows}
    assert by_certainty[0.0] == {"certainty": 0.0, "sure %": 100, "right of these %": 50, "too much %": 50}
    assert by_certainty[0.9]["right of these %"] == pytest.approx(200 / 3)
    assert by_certainty[0.9999] == {"certainty": 0.9999, "sure %": 25, "right of these %": 100, "too much %": 0}
    assert rows["instructions"].rows[0]["sure %"] == 25
