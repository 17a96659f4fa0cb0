"""Runs side by side: the arithmetic by hand, and the command on records that real runs left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rnr.rl.cli import app
from rnr.rl.compare import half_interval, table
from rnr.rl.record import Log


def record(folder: Path, ends: list[tuple[float, float]], alarm: dict | None = None) -> Path:
    """A run whose evaluations had these (predicted severity, PSNR)."""
    folder.mkdir()
    log = Log(folder)
    for step, (predicted, psnr) in enumerate(ends):
        values = {"reward": 0.1, "predicted": predicted, "metrics": {"psnr": psnr}}
        log.write({"step": step, "evaluation": values, "alarm": alarm if step else None})
        log.write({"step": step + 1, "reward": 0.5})
    return folder


def test_change_and_interval_by_hand(tmp_path):
    ends = [[(50.0, 20.0), (70.0, 1.0), (40.0, 20.5)], [(40.0, 21.0), (36.0, 21.0)], [(60.0, 22.0), (51.0, 22.1)]]
    made = table([record(tmp_path / str(i), end, {"step": 1} if i else None) for i, end in enumerate(ends)])
    rows: dict[Any, Any] = {row["measure"]: row for row in made.rows}
    severity, psnr = rows["predicted"], rows["psnr"]
    assert severity["before"] == 50 and severity["after"] == pytest.approx(127 / 3)
    assert severity["%"] == pytest.approx(-15)  # -20, -10, -15: deviation 5, 4.303 * 5 / sqrt(3) = 12.42
    assert severity["± %"] == pytest.approx(12.42, abs=0.01)
    assert psnr["change"] == pytest.approx(0.2) and psnr["±"] > 0.2 and psnr["n"] == 3
    assert "3 runs" in made.note and "2 of them raised the alarm" in made.note


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_interval_is_students(count):
    stats = pytest.importorskip("scipy.stats", reason="scipy belongs to the extra bench")
    values = [(7 * i) % 5 + i / 3 for i in range(count)]
    low, high = stats.t.interval(0.95, count - 1, loc=sum(values) / count, scale=stats.sem(values))
    assert half_interval(values) == pytest.approx((high - low) / 2, rel=1e-3)


def test_one_run_has_no_interval(tmp_path):
    reward, row, _ = table([record(tmp_path / "one", [(50.0, 20.0), (40.0, 21.0)])]).rows
    assert row["%"] == -20 and row["± %"] is None is row["±"]
    assert reward["change"] == 0 and reward["%"] is None


def test_a_control_has_rows_of_its_own(tmp_path):
    log = Log(tmp_path)
    for who, error in (("policy", 8.0), ("policy", 7.0), ("supervised, same time", 6.0)):
        log.write({"step": 0, "evaluation": {"who": who, "metrics": {"severity_mae": error}}})
    rows = table([tmp_path]).rows
    assert [(row["of"], row["before"], row["after"]) for row in rows] == [
        ("policy", 8, 7),
        ("supervised, same time", 8, 6),
    ]


def test_the_command_reads_what_a_real_run_left(config):
    from rnr.rl.restoring import run

    run(config.model_copy(update={"max_steps": 1, "tasks": 2, "prompts": 1, "group": 2}))
    done = CliRunner().invoke(app, ["compare", str(config.out), "-o", str(config.out / "table")])
    assert done.exit_code == 0 and "mean over 1 runs" in done.output
    lines = (config.out / "table" / "compare.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines[1:4]] == ["reward", "predicted", "median damage"]


def test_what_is_no_finished_run_is_refused(tmp_path):
    done = CliRunner().invoke(app, ["compare", str(tmp_path)])
    assert done.exit_code == 2 and "no metrics.jsonl here" in done.output
    started = record(tmp_path / "run", [(50.0, 20.0)])
    done = CliRunner().invoke(app, ["compare", str(started)])
    assert done.exit_code == 2 and "1 evaluations; a comparison needs one before and one after" in done.output
