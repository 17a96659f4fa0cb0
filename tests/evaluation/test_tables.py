"""A table comes back from its CSV as it was, and reads well in markdown; a journal goes on where it was."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from rich.console import Console

from rnr.evaluation.journal import Journal
from rnr.evaluation.tables import Row, Table, group_mean, mean, read_csv

ROWS: list[Row] = [
    {"task": "noise", "n": 3, "psnr": 28.123456789, "untouched": False, "note": None},
    {"task": "clean", "n": 2, "psnr": math.inf, "untouched": True, "note": "as it, was"},
]


def test_csv_round_trip_keeps_types_and_digits(tmp_path: Path):
    table = Table.of("Restoration", ROWS)
    table.save(tmp_path, "quality")
    back = read_csv(tmp_path / "quality.csv")
    assert (back.columns, back.rows) == (table.columns, ROWS)


def test_a_picture_called_like_a_number_stays_a_name(tmp_path: Path):
    Table.of("t", [{"picture": "0007", "psnr": 1.5}]).write_csv(tmp_path / "t.csv")
    assert read_csv(tmp_path / "t.csv", words=["picture"]).rows == [{"picture": "0007", "psnr": 1.5}]


def test_markdown_is_a_table_with_the_wanted_digits():
    lines = Table.of("Restoration", ROWS, digits={"psnr": 1}).markdown().splitlines()
    assert lines[2:4] == ["| task | n | psnr | untouched | note |", "| --- | --- | --- | --- | --- |"]
    assert lines[4] == "| noise | 3 | 28.1 | no | - |"


def test_what_could_not_be_measured_is_a_dash_and_not_nan():
    assert "nan" not in Table.of("t", [{"a": float("nan")}]).markdown()


def test_rich_prints_every_cell(capsys: pytest.CaptureFixture[str]):
    from rich.console import Console

    Console(width=120).print(Table.of("Restoration", ROWS, "a note").rich())
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("Restoration", "28.12", "as it, was", "a note"))


def test_unknown_columns_are_refused():
    with pytest.raises(ValueError, match="no column psnrr"):
        Table("t", ["psnr"]).add(psnrr=1.0)


def test_means_leave_out_what_is_missing():
    rows: list[Row] = [{"k": "a", "v": 1.0}, {"k": "a", "v": None}, {"k": "a", "v": 4.0}, {"k": "b", "v": None}]
    assert group_mean(rows, ["k"], ["v"]) == [{"k": "a", "v": 2.5, "n": 3}, {"k": "b", "v": None, "n": 1}]
    assert mean([]) is None


def test_a_journal_goes_on_and_refuses_other_settings(tmp_path: Path):
    def journal(resume: bool, seed: int = 0) -> Journal:
        return Journal(tmp_path / "rows.csv", ("task", "picture", "psnr"), ("task", "picture"), {"seed": seed}, resume)

    first = journal(resume=False)
    first.write([{"task": "noise", "picture": "007", "psnr": 28.5}])
    again = journal(resume=True)
    assert again.rows == first.rows
    assert again.done(task="noise", picture="007") and not again.done(task="noise", picture="8")
    with pytest.raises(ValueError, match="another seed"):
        journal(resume=True, seed=1)
    assert journal(resume=False).rows == []


def test_a_table_that_is_too_wide_comes_in_parts_with_its_first_column(capsys: pytest.CaptureFixture[str]):
    rows: list[Row] = [{"task": "haze+noise"} | {f"column number {i}": i + 0.5 for i in range(9)}]
    Console(width=80).print(Table.of("Wide", rows, "the note").rich(80))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and sum("haze+noise" in line for line in lines) == 3
    assert all(any(f" {i}.50 " in line for line in lines) for i in range(9))
    assert lines[0].strip() == "Wide" and lines[-1].strip() == "the note"
