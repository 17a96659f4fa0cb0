"""`rnr bench agent`: its rows from the built-in models on one small picture, its table from rows made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnr.degradation.kind import kinds
from rnr.evaluation import agent
from rnr.evaluation.tables import Row


def test_mixtures_have_two_or_three_kinds_and_follow_the_seed() -> None:
    def drawn_of(seed: int) -> list[dict[str, float]]:
        return [agent.mixture_of(number, seed, known) for number in range(40)]

    known = [name for name in kinds() if name != "snow"]
    drawn = drawn_of(0)
    assert {len(mixture) for mixture in drawn} == {2, 3}
    assert {kind for mixture in drawn for kind in mixture} == set(known)
    assert all(severity <= kinds()[kind].top for mixture in drawn for kind, severity in mixture.items())
    assert drawn == drawn_of(0) != drawn_of(1)


def row(picture: str, way: str, psnr: float, rolled_back: int = 0) -> Row:
    fixed: Row = {"input": 20.0, "squared": 0.5, "structural": 0.5, "severity": 10.0, "severity_before": 60.0}
    reason = "one pass was made" if way == "restore" else f"little damage is left: {psnr}"
    return {"picture": picture, "way": way, "psnr": psnr, "steps": 1, "calls": 3, "rolled_back": rolled_back,
            "seconds": 2.0, "reason": reason, **fixed}  # fmt: skip


def test_the_table_holds_every_way_against_the_plain_pass() -> None:
    rows = [row("a", "restore", 22), row("a", "auto", 23), row("b", "restore", 19), row("b", "auto", 20, 1)]
    rows += [row("c", "restore", 24), row("c", "auto", 23.9)]
    plain, auto = agent.table(rows, ["restore", "auto"]).rows
    assert plain["gain"] == 0 and plain["worse than input"] == pytest.approx(100 / 3)
    assert auto["gain"] == pytest.approx(1.9 / 3) and auto["worse than input"] == 0
    assert (auto["wins"], auto["losses"]) == (pytest.approx(200 / 3), pytest.approx(100 / 3))
    assert agent.decisions(rows).rows == [{"auto ended with": "little damage is left", "pictures": 3}]


def test_a_table_with_the_former_name_of_a_column_is_read_and_continued(tmp_path: Path) -> None:
    agent.journal(tmp_path, {}, resume=False).write([row("a", "restore", 22), row("a", "auto", 23, 2)])
    path = tmp_path / "agent_pictures.csv"
    path.write_text(path.read_text().replace("rolled_back", "taken_back"))
    agent.journal(tmp_path, {}, resume=True).write([row("b", "restore", 22), row("b", "auto", 23, 1)])
    rows = agent.journal(tmp_path, {}, resume=True).rows
    assert [each["rolled_back"] for each in rows] == [0, 2, 0, 1]
    assert agent.table(rows, ["restore", "auto"]).rows[1]["rolled back"] == 1.5


def test_every_way_on_one_picture(photographs: dict[str, np.ndarray], tmp_path: Path) -> None:
    from rnr.reasoner import Reasoner
    from rnr.restorer import RestorePipeline

    reasoner, restorer = Reasoner.from_pretrained("built-in"), RestorePipeline.from_pretrained("built-in")
    bench = agent.AgentBench(reasoner, restorer, agent.WAYS, steps=2, candidates=1, seed=0)
    journal = agent.journal(tmp_path, {"seed": 0}, resume=False)
    done: list[int] = []
    bench.measure({"chelsea": photographs["chelsea"]}, 96, journal, done.append)
    rows = {str(each["way"]): each for each in journal.rows}
    assert list(rows) == list(agent.WAYS) and done == [1]
    assert len({each["input"] for each in rows.values()}) == 1
    checked, plain = rows["one-pass"], rows["restore"]
    assert checked["psnr"] == (checked["input"] if checked["rolled_back"] else plain["psnr"])
    assert all(
        float(str(each["severity"])) <= float(str(each["severity_before"]))
        for way, each in rows.items()
        if way != "restore"
    )
