"""`--instruct` with the built-in models: what is read decides which legs run, all else changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import rnr
from rnr.app.cli import app
from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.degradation.errors import SetupError
from rnr.work.instructing import wish_of

DAMAGE = {"noise": Finding(present=True, severity=40), "haze": Finding(present=True, severity=50)}
DIAGNOSIS = Diagnosis(findings=DAMAGE, plan=["noise", "haze"])


@pytest.fixture
def picture(tmp_path: Path, photographs: dict[str, np.ndarray]) -> Path:
    Image.fromarray(photographs["chelsea"][:128, :128]).save(tmp_path / "cat.png")
    (tmp_path / "found.json").write_text(DIAGNOSIS.to_json())
    return tmp_path / "cat.png"


def restored(picture: Path, *options: str) -> tuple[int, str, Path]:
    """Exit code, what was printed, and the output folder."""
    out, given = picture.parent / "out", picture.parent / "found.json"
    arguments = ["restore", str(picture), "-o", str(out), "--diagnosis", str(given), "--no-report", "--device", "cpu"]
    done = CliRunner().invoke(app, [*arguments, *options])
    return done.exit_code, " ".join(done.output.split()), out


def test_only_the_leg_that_is_wished_runs(picture: Path) -> None:
    code, said, out = restored(picture, "--instruct", "only remove the noise, keep the mist")
    record = json.loads((out / "cat.diagnosis.json").read_text(encoding="utf-8"))
    assert code == 0 and "read as: remove noise (certainty" in said
    assert [leg["kinds"] for leg in record["restoration"]["legs"]] == [["noise"]]
    wish = record["restoration"]["wish"]
    assert wish["remove"] == ["noise"] and not wish["unknown"] and wish["certainty"] > 0.999
    assert record["request"]["instruct"] == wish["words"] == "only remove the noise, keep the mist"
    assert record["explanation"] == "read in the instruction: noise to go, haze to stay"


def test_a_wish_that_is_not_in_the_picture_leaves_the_same_bytes(picture: Path) -> None:
    code, _, out = restored(picture, "--instruct", "remove the rain")
    assert code == 0 and (out / "cat.png").read_bytes() == picture.read_bytes()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("turn it into a cartoon", "asks for something else than removing damage. Name what is to go with --only KIND"),
        ("remove the rainbow", "is not sure what is meant. If --only rain is meant, say so"),
        ("entferne den Regen", "is not sure what is meant"),
        ("leave it as it is", "names nothing to be removed"),
        (" ", "the instruction is empty"),
    ],
)
def test_what_is_not_understood_is_refused_before_any_picture(picture: Path, words: str, problem: str) -> None:
    code, said, out = restored(picture, "--instruct", words)
    assert code == 2 and problem in said and not out.exists()


def test_only_limits_what_the_words_ask_for(picture: Path) -> None:
    result = rnr.restore(picture, DIAGNOSIS, instruct="remove the noise and the haze", only="haze", device="cpu")
    assert [leg["kinds"] for leg in result.settings["legs"]] == [("haze",)]


def test_python_takes_the_same_words(picture: Path) -> None:
    result = rnr.restore(picture, DIAGNOSIS, instruct="get rid of the haze", device="cpu")
    by_name = rnr.restore(picture, DIAGNOSIS, only="haze", device="cpu")
    assert np.array_equal(result.pixels_HWC3, by_name.pixels_HWC3) and result.settings["wish"]["remove"] == ["haze"]
    everything = rnr.restore(picture, DIAGNOSIS, instruct="restore this photo", device="cpu")
    assert np.array_equal(everything.pixels_HWC3, rnr.restore(picture, DIAGNOSIS, device="cpu").pixels_HWC3)
    with pytest.raises(SetupError, match="cartoon"):
        rnr.restore(picture, DIAGNOSIS, instruct="turn it into a cartoon", device="cpu")


def test_a_part_that_is_unknown_is_said() -> None:
    wish = wish_of("remove the rain and add a dog")
    assert wish.remove == ("rain",) and wish.unknown


def test_training_needs_no_photographs(tmp_path: Path) -> None:
    arguments = ["train", "instructions", "-o", str(tmp_path), "--samples", "64", "--device", "cpu"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0 and (tmp_path / "weights" / "reader.safetensors").is_file()
