"""`tests/files/rl1` was written by revision 854c236, one step of loop B: it is still read, drawn and gone on with."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest

from rnr.rl.compare import table
from rnr.rl.record import Log, assessed, draw
from rnr.training.journal import rows_of
from rnr.view.sources import evaluations_of

RUN = Path(__file__).parents[1] / "files" / "rl1"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RUN, tmp_path / "run"))


def test_an_old_run_is_drawn_and_viewed(run: Path) -> None:
    draw(run)
    assert (run / "curves.png").stat().st_size > 1000 and (run / "goodhart.png").stat().st_size > 1000
    evaluations = evaluations_of(run)
    assert list(evaluations) == [0, 1] and evaluations[1][0]["metrics"]["psnr"] == 30.74868011


def test_an_old_run_goes_on_and_raises_the_alarm(run: Path) -> None:
    log = Log(run, 1)
    (before,) = (row for row in log.rows() if "evaluation" in row)
    worse = copy.deepcopy(before["pictures"])
    for picture in worse:
        picture["reward"] += 0.5
        picture["metrics"]["psnr"] -= 5
    row = assessed(log.rows(), 2, worse)
    assert row["alarm"] is not None and row["alarm"]["fallen"] == ["psnr"]
    log.write(row)
    assert [line["step"] for line in rows_of(run)] == [0, 1, 2]
    changes = {line["measure"]: line["change"] for line in table([run]).rows}
    assert changes["reward"] == pytest.approx(0.5) and changes["psnr"] == pytest.approx(-5)
