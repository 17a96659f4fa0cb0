"""Doses searched by the judge at equal calls, and the rank correlation of reward and ground truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rnr.evaluation.tables import Row, read_csv
from rnr.restorer.loading import load_bridge
from rnr.rl import agreement, refine
from rnr.rl.cli import app
from rnr.rl.tasks import Tasks

LEGS = ["noise", "haze"]


class Table(refine.Tried):
    """Pictures that are never restored: the score is read off the doses."""

    legs = LEGS  # type: ignore[assignment]

    def restored(self, doses):
        return doses


def near(wanted: dict[str, float]):
    return lambda doses: 1 - sum(abs(doses[kind] - wanted[kind]) for kind in wanted)


def test_the_search_finds_the_doses_that_the_judge_likes_within_its_calls() -> None:
    score = near({"noise": 0.6, "haze": 0.2})
    doses, value, made = refine.search(Table(None, None), score, "legs", 40)  # type: ignore[arg-type]
    assert doses == pytest.approx({"noise": 0.6, "haze": 0.2}) and value == pytest.approx(1) and made < 40
    few = refine.search(Table(None, None), score, "legs", 3)  # type: ignore[arg-type]
    assert few[2] == 3 and (few[1] or 9) < 1
    drawn, best, made = refine.search(Table(None, None), score, "draws", 12, seed=1)  # type: ignore[arg-type]
    assert made == 12 and score(dict.fromkeys(LEGS, 1.0)) < (best or 0) <= 1
    assert refine.search(Table(None, None), score, "draws", 12, seed=1)[0] == drawn  # type: ignore[arg-type]
    assert refine.search(Table(None, None), score, "plain", 40)[::2] == (dict.fromkeys(LEGS, 1.0), 1)  # type: ignore[arg-type]


def test_where_nothing_pays_the_input_is_kept_but_not_by_a_plain_pass() -> None:
    def worse(doses):
        return -sum(doses.values())

    ways = {way: refine.search(Table(None, None), worse, way, 9)[0] for way in refine.WAYS}  # type: ignore[arg-type]
    assert ways["legs"] == ways["draws"] == dict.fromkeys(LEGS, 0.0) and ways["plain"] == dict.fromkeys(LEGS, 1.0)
    unscored = refine.search(Table(None, None), lambda doses: None, "legs", 9)  # type: ignore[arg-type]
    assert unscored[:2] == (dict.fromkeys(LEGS, 1.0), None)


def row(picture: str, restorer: str, way: str, psnr: float, severity: float | None = 30.0) -> Row:
    return {"picture": picture, "restorer": restorer, "way": way, "input": 20.0, "psnr": psnr, "damage": 0.5,
            "ms_ssim": 0.9, "severity": severity, "calls": 17 if way == "legs" else 2}  # fmt: skip


def test_the_table_compares_with_the_first_row_picture_by_picture() -> None:
    rows = [row(str(n), "built-in", "legs", 22 + n) for n in range(4)]
    rows += [row(str(n), "mine", "plain", 22.5 + n, None if n else 20.0) for n in range(4)]
    rows += [row(str(n), "worse", "plain", 19) for n in range(4)]
    first, mine, worse = refine.table(rows).rows
    assert (first["psnr to first"], mine["psnr to first"]) == (None, "+0.50 (+0.50 to +0.50)")
    assert mine["severity to first"] is None, "one picture is no interval"
    assert (first["calls"], mine["calls"]) == (17, 2)
    assert worse["worse than input"] == "100.0 (100.0 to 100.0)" and str(first["worse than input"]).startswith("0.0")


def test_calls_that_are_too_few_for_a_candidate_are_refused(judge) -> None:
    with pytest.raises(ValueError, match="2 calls: 1 views need 3"):
        refine.Refining({}, judge, lambda a, b: None, ["legs"], 2)


def test_correlations_are_those_of_scipy_and_leave_out_what_was_not_scored() -> None:
    rows: list[Row] = []
    for picture in range(5):
        for place in range(4):
            reward = place if picture else -place
            rows.append({"picture": str(picture), "reward": reward, "squared": place + picture, "structural": place})
    rows.append({"picture": "9", "reward": None, "squared": 100, "structural": 100})
    made = agreement.table(rows)
    values = {(str(r["damage removed by"]), str(r["over"])): r for r in made.rows}
    assert values["structural", "within pictures"]["rank correlation"] == pytest.approx(3 / 5)
    pooled = values["structural", "all rollouts"]
    assert float(str(pooled["low"])) < float(str(pooled["rank correlation"])) < float(str(pooled["high"]))
    assert "20 scored rollouts of 5 pictures (21 rollouts of 6" in made.note


def test_doses_of_rollouts_end_with_the_full_ones() -> None:
    shared = agreement.doses_of(LEGS, 4, per_leg=False, seed=0)
    assert [doses["noise"] for doses in shared] == [0.25, 0.5, 0.75, 1.0] == [doses["haze"] for doses in shared]
    apart = agreement.doses_of(LEGS, 4, per_leg=True, seed=0)
    assert apart[-1] == shared[-1] and apart[0]["noise"] != apart[0]["haze"]


def test_restorations_are_those_of_the_restorer_and_a_picture_without_a_diagnosis_stays(tasks, crops) -> None:
    restorer, task = load_bridge(), tasks[0]
    tried = refine.Tried(restorer, task)
    made = tried.restored(dict.fromkeys(tried.legs, 1.0)).permute(1, 2, 0).numpy()
    plain = restorer.restore(task.degraded.permute(1, 2, 0).numpy(), task.source).pixels_HWC3
    np.testing.assert_array_equal(made, plain)
    blind = refine.Tried(restorer, Tasks(crops, 1, 64, seed=3, conditioned_on="blind")[0])
    assert blind.legs == [] and refine.search(blind, lambda p: 1.0, "legs", 9) == ({}, None, 0)


def test_both_commands_on_the_built_in_pair(folder: Path, tmp_path: Path) -> None:
    shown = ["--images", str(folder), "--limit", "2", "--size", "96", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, ["refine", *shown, "--ways", "legs,plain", "--calls", "7"])
    assert done.exit_code == 0, done.output
    rows = read_csv(tmp_path / "refine_pictures.csv", words=["picture", "doses"]).rows
    assert [r["way"] for r in rows] == ["legs", "plain"] * 2
    assert all(int(str(r["calls"])) <= (7 if r["way"] == "legs" else 2) for r in rows)
    again = CliRunner().invoke(app, ["refine", *shown, "--ways", "legs,plain", "--calls", "7", "--resume"])
    assert again.exit_code == 0, again.output
    done = CliRunner().invoke(app, ["agreement", *shown, "--rollouts", "3"])
    assert done.exit_code == 0, done.output
    assert "Reward and ground truth" in (tmp_path / "agreement.md").read_text()
