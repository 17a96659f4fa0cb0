"""`rnr restore --instruct`, `rnr train unified` and `rnr bench unified`: options, tables, wrong usage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rnr.app.cli import app
from rnr.degradation.intent import Intent
from rnr.evaluation.tables import Table
from rnr.unified import bench
from rnr.work.request import Request

from .conftest import pair, small_pipe, small_reasoner


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["restore", "a.png", "-o", "OUT", "--unified", "x", "--engine", "ray"], "leave out --engine"),
        (["restore", "a.png", "-o", "OUT", "--unified", "x", "--reasoner", "y"], "leave out --reasoner"),
        (["train", "unified", "-o", "OUT"], "name the clean photographs"),
        (["train", "unified", "-o", "OUT", "--images", "no", "--stage", "3"], "stage: Input should be 1 or 2"),
        (["train", "unified", "-o", "OUT", "--images", "no", "--init", "no"], "no unified.json here"),
        (["bench", "unified", "--images", "no", "-o", "OUT", "--model", "folder"], "write NAME=FOLDER"),
    ],
)
def test_wrong_usage_names_the_remedy(arguments: list[str], problem: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(tmp_path) if each == "OUT" else each for each in arguments])
    assert done.exit_code == 2 and problem in " ".join(done.output.split())


def test_an_instruction_is_a_part_of_the_request() -> None:
    request = Request(instruct="only the rain", only=("haze",))
    assert request.intent == Intent(kinds=["haze"], instruction="only the rain")
    assert request.asked["instruct"] == "only the rain" and "instruct" not in Request().asked


def test_the_tables(photographs: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    model = pair()
    model.card["training"] = [{"stage": 2}]
    monkeypatch.setattr(bench, "load_reasoner", lambda *name: small_reasoner())
    monkeypatch.setattr(bench, "load_bridge", small_pipe)
    held = bench.cases({n: photographs[n] for n in ("coffee", "rocket")}, 128, 1, 0, ["noise", "haze"])
    done: list[int] = []
    tables = bench.tables({"mine": model}, "another", held, 6, 0, done.append)
    assert set(tables) == {"unified", "unified_rows", "unified_instructions", "unified_interchange"}
    assert len(done) == 4 * len(held) and all(isinstance(table, Table) for table in tables.values())
    means = {str(row["way"]): row for row in tables["unified"].rows}
    assert list(means) == [bench.APART, "mine", "mine, hidden states off", "mine, text of another"]
    assert means["mine"]["PSNR, gain"] == "+0.00 (+0.00..+0.00)"  # untrained: to the bit what they are apart
    assert tables["unified_interchange"].rows[0]["by states"] == 0
