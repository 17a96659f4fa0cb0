"""What the pair does to undamaged images: the counting by hand, and the command on the built-in pair."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rnr.evaluation import unfamiliar
from rnr.evaluation.cli import app
from rnr.evaluation.tables import Row
from rnr.evaluation.unfamiliar import DRAWN, graphics, harm_table, medium_table


def row(group: str, found: str, left: str, psnr: float | None) -> dict:
    return {"group": group, "image": "x", "found": found, "left alone": left, "psnr": psnr}


def test_an_image_is_kept_if_it_comes_back_as_it_was_or_near_it():
    rows = [row("a", "", "", None), row("a", "haze", "haze", None), row("a", "rain", "", 45.0)]
    rows += [row("a", "haze rain", "rain", 20.0), row("b", "noise", "", 50.0)]
    a, b = harm_table(rows).rows
    assert (a["n"], a["findings %"], a["as it was %"], a["kept %"], a["worst dB"]) == (4, 75, 50, 75, 20)
    assert a["acted on"] == "haze 1, rain 1" and b["acted on"] == "noise 1" and b["kept %"] == 100


def test_calibration_of_the_medium_by_hand():
    rows: list[Row] = [{"group": "a", "graphic": 0.25}, {"group": "a", "graphic": None}]
    rows += [{"group": "other", "graphic": 1.0}, {"group": DRAWN, "graphic": 0.75}, {"group": DRAWN, "graphic": 0.75}]
    clean, damaged, drawn, everything = medium_table(rows, ["a"], [0.75, None]).rows
    assert (clean["n"], clean["ECE"], clean["Brier"]) == (1, 0.25, 0.0625)
    assert (damaged["n"], damaged["graphic %"], damaged["Brier"]) == (1, 100, 0.5625)
    assert (drawn["n"], drawn["ECE"]) == (2, 0.25)
    assert everything["n"] == 4 and everything["Brier"] == pytest.approx((0.0625 * 3 + 0.5625) / 4)
    assert everything["ECE"] == pytest.approx((0.25 + 3 * abs(0.75 - 2 / 3)) / 4)


def test_drawn_graphics_follow_their_seed():
    first, again, other = graphics(6, 3), graphics(6, 3), graphics(6, 4)
    assert list(first) == ["3", "4", "5", "6", "7", "8"] and len({image.shape for image in first.values()}) == 5
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["3"], other["4"])


@pytest.fixture
def folder(photographs: dict[str, np.ndarray], tmp_path: Path) -> Path:
    from PIL import Image

    (tmp_path / "photographs").mkdir()
    Image.fromarray(photographs["coffee"][:160, :200]).save(tmp_path / "photographs" / "coffee.png")
    return tmp_path / "photographs"


def test_the_command_measures_harm_and_recall_and_resumes(folder: Path, tmp_path: Path):
    asked = ["unfamiliar", "--images", str(folder), "--drawings", "2", "--mixtures", "1", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    images = tmp_path / "out" / "unfamiliar_images.csv"
    before = images.read_text()
    assert [line["group"] for line in csv.DictReader(before.splitlines())] == ["photographs"] + ["drawn graphics"] * 2
    harm = list(csv.DictReader((tmp_path / "out" / "unfamiliar_harm.csv").open()))
    assert [line["n"] for line in harm] == ["1", "2"]
    recall = list(csv.DictReader((tmp_path / "out" / "unfamiliar_recall.csv").open()))
    counts = {
        severity: sum(int(line["n"]) for line in recall if line["severity"] == severity and line["kind"] != "all")
        for severity in (">= 20", "< 20")
    }
    wholes = [line for line in recall if line["kind"] == "all"]
    assert all(str(counts[line["severity"]]) == line["n"] for line in wholes) and sum(counts.values()) > 0
    medium = {line["images"]: line for line in csv.DictReader((tmp_path / "out" / "unfamiliar_medium.csv").open())}
    assert medium["undamaged photographs"]["n"] == "1" and medium[DRAWN]["n"] == "2"
    assert int(medium["all"]["n"]) == 3 + int(medium["damaged photographs"]["n"]) > 3
    assert 0 <= float(medium["all"]["Brier"]) <= 1
    again = CliRunner().invoke(app, [*asked, "--resume"])
    assert again.exit_code == 0 and images.read_text() == before
    other = CliRunner().invoke(app, [*asked[:-1], str(tmp_path / "out"), "--resume", "--seed", "2"])
    assert other.exit_code == 2 and "another seed" in other.output


def test_what_is_measured_is_what_restore_does(folder: Path, tmp_path: Path, photographs: dict[str, np.ndarray]):
    """A dark photograph: the restored image of the row is the one that rnr.restore gives."""
    import rnr
    from rnr import reasoner, restorer

    dark = (photographs["coffee"][:160, :200] * 0.12).astype(np.uint8)
    seen = unfamiliar._seen(reasoner.load("built-in"), restorer.load("built-in"), dark)
    result = rnr.restore(dark)
    restored = np.asarray(result.image, dtype=float)
    assert "low_light" in str(seen["found"])
    assert seen["psnr"] == pytest.approx(-10 * np.log10(((restored - dark) ** 2).mean() / 255**2), abs=0.2)
