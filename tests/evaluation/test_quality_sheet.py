"""The sheet of real pictures before and after, and the table that eyes fill in."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rnr.app.cli import app

RUN = CliRunner()


def test_pictures_before_and_after_on_one_sheet(photographs: dict[str, np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    grain = np.random.default_rng(0).normal(0, 40, (120, 160, 3))
    noisy = (photographs["chelsea"][:120, :160] + grain).clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "real" / "cat.png")
    command = ["bench", "quality-sheet", "--images", str(tmp_path / "real"), "-o", str(tmp_path / "out")]
    done = RUN.invoke(app, command)
    assert done.exit_code == 0, done.stderr
    with Image.open(tmp_path / "out" / "quality_sheet.jpg") as sheet:
        left, right = np.asarray(sheet, float)[40:120, 20:140], np.asarray(sheet, float)[40:120, 188:308]
    assert np.abs(np.diff(left, axis=0)).mean() > 1.3 * np.abs(np.diff(right, axis=0)).mean(), "right: less noise"
    with (tmp_path / "out" / "quality_sheet.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["picture"] == "cat.png" and float(row["after"]) > float(row["before"]) and row["eye"] == ""


def filled(folder: Path, *words: str) -> list[str]:
    lines = [f"{i}.png,noise,40,50,{10 - 5 * i},{word}" for i, word in enumerate(words)]
    (folder / "sheet.csv").write_text("\n".join(["picture,removed,before,after,gain,eye", *lines]) + "\n")
    return ["bench", "quality-sheet", "--judged", str(folder / "sheet.csv"), "-o", str(folder / "eye")]


def test_scores_are_compared_with_the_eye(tmp_path: Path) -> None:
    command = filled(tmp_path, "better", "better", "equal", "better", "worse")  # gains 10, 5, 0, -5, -10
    assert RUN.invoke(app, command).exit_code == 0
    with (tmp_path / "eye" / "quality_eye.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["agree %"]) == 75 and (row["better"], row["equal"], row["worse"]) == ("3", "1", "1")


@pytest.mark.parametrize("words", [("",), ("nicer",)])
def test_a_table_that_is_not_filled_in_says_how(words: tuple[str], tmp_path: Path) -> None:
    done = RUN.invoke(app, filled(tmp_path, *words))
    assert done.exit_code == 2 and "fill in its column eye with better, equal, worse" in done.stderr
