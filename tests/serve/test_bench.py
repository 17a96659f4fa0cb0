"""The table of the load drill, from answers made by hand."""

from __future__ import annotations

import pytest

from rnr.serve.bench import Ended, Phase, results


def phase(workers: int, answers: int) -> Phase:
    """A minute with so many diagnoses of half a megapixel; the last one came after its end."""
    ended = [Ended(at, "diagnose", 0.5, 200, 2.0) for at in range(answers)]
    ended += [Ended(1, "hostile", 0.0, 422, 0.1), Ended(2, "diagnose", 0.5, 429, 0.1), Ended(61, "restore", 4, 200, 9)]
    return Phase(workers, seconds=60, ended=ended)


def test_throughput_is_compared_with_one_worker_once_there_is_one() -> None:
    assert "one worker" not in results([phase(2, 30)]).note
    table = results([phase(2, 30), phase(1, 20)])
    assert "1.50 times the answers" in table.note
    rows = {row[""]: row for row in table.rows}
    assert (rows["answers a minute"]["2"], rows["MP a minute"]["1"]) == (30, 10)
    assert (rows["hostile"]["2"], rows["429"]["2"], rows["200"]["2"], rows["wrong"]["1"]) == (1, 1, 31, 0)
    assert rows["diagnose p50 s"]["2"] == pytest.approx(2)
