"""Heads on people's ratings: from the data set as it ships to a number of `rnr quality`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import rnr
from rnr.app.cli import app
from rnr.quality.datasets import read
from rnr.quality.export import read_card
from rnr.quality.model import QualityModel

RUN = CliRunner()


@pytest.fixture(scope="module")
def ava(photographs: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures as AVA ships them, whose mean rating is 2 for noise and 9 for none."""
    folder, lines = tmp_path_factory.mktemp("ava"), []
    (folder / "images").mkdir()
    draw = np.random.default_rng(0)
    for number in range(24):
        pixels = list(photographs.values())[number % 4][: 128 + number, :128].astype(float)
        bad = number % 2 == 0
        noisy = (pixels + bad * draw.normal(0, 60, pixels.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "images" / f"{number}.jpg", quality=95)
        votes = [10 * (i == (1 if bad else 8)) for i in range(10)]
        lines.append(f"{number + 1} {number} {' '.join(map(str, votes))} 1 22 1396\n")
    (folder / "AVA.txt").write_text("".join(lines))
    return folder


def test_a_head_on_ratings_gives_the_missing_number(ava: Path, tmp_path: Path) -> None:
    command = ["train", "quality", "--head", "aesthetic", "--dataset", "ava", "--data", str(ava), "-o", str(tmp_path)]
    done = RUN.invoke(app, [*command, "--device", "cpu"])
    assert done.exit_code == 0 and f"weights: {tmp_path / 'weights'}" in done.stdout and "SRCC" in done.stderr
    shown = RUN.invoke(app, ["quality", str(ava / "images" / "1.jpg"), "--json", "--scorer", str(tmp_path / "weights")])
    (found,) = json.loads(shown.stdout)
    built_in = rnr.quality(ava / "images" / "1.jpg")
    assert found["missing"] == {} and built_in.aesthetic is None
    assert found["technical"] == pytest.approx(built_in.technical, abs=0.05), "the rest of the weights stays"
    model = QualityModel.load(tmp_path / "weights")
    clean, noisy = (model.score([read("ava", ava)[i].pixels()])[0].aesthetic or 0 for i in (1, 0))
    assert clean > noisy + 20
    card = (tmp_path / "weights" / "README.md").read_text()
    assert "by people's ratings, 19 pictures of ava" in card and "aesthetic SRCC" in card and "null" not in card
    assert read_card(tmp_path / "weights")["heads"].keys() == {"technical", "aesthetic"}


def test_features_that_are_there_are_not_computed_again(ava: Path, tmp_path: Path) -> None:
    from rnr.quality.heads import features_of

    model, rated = QualityModel.load(), read("ava", ava)[:3]
    first = features_of(model, rated, tmp_path, lambda row: None)
    (file,) = tmp_path.iterdir()
    stamp = file.stat().st_mtime_ns
    assert features_of(model, rated, tmp_path, lambda row: None).equal(first) and file.stat().st_mtime_ns == stamp
    assert features_of(model, rated[::-1], tmp_path, lambda row: None).equal(first.flip(0)), "of other pictures: anew"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--head", "aesthetic", "--dataset", "koniq10k"], "koniq10k does not rate aesthetic quality; name one of ava"),
        (["--head", "technical", "--dataset", "ava"], "ava does not rate technical quality; name one of koniq10k"),
        (["--head", "beauty", "--dataset", "ava"], "no head 'beauty'; there are technical, aesthetic"),
        (["--head", "aesthetic"], "name the ratings: --dataset ava --data DIR"),
        (["--head", "aesthetic", "--dataset", "ava", "--purify"], "--purify: go with pre-training"),
        (["--dataset", "ava", "--images", "."], "--dataset, --data: goes with --head"),
    ],
)
def test_what_does_not_go_together_is_refused(options: list[str], message: str, ava: Path, tmp_path: Path) -> None:
    done = RUN.invoke(app, ["train", "quality", *options, "--data", str(ava), "-o", str(tmp_path)])
    assert done.exit_code == 2 and message in " ".join(done.stderr.split())


def test_a_broken_picture_is_named(ava: Path) -> None:
    one = read("ava", ava)[2]
    one.path.write_bytes(one.path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"2\.jpg: no picture .* take its line out of the ratings"):
        one.pixels()
