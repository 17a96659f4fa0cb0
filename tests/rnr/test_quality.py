"""`rnr quality` and `rnr.quality`: tables, JSON, errors, and the quality in a diagnosis."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import rnr
import rnr.quality
from rnr.app.cli import app
from rnr.degradation.diagnosis import Diagnosis, Finding, Quality
from rnr.work.models import Models
from rnr.work.restoring import diagnose_pixels

RUN = CliRunner()


@pytest.fixture(scope="module")
def folder(photographs: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    Image.fromarray(photographs["chelsea"][:200, :240]).save(place / "cat.png")
    (place / "broken.png").write_bytes(b"not a picture")
    return place


def test_json_holds_all_and_a_broken_file_has_its_error(folder: Path) -> None:
    done = RUN.invoke(app, ["quality", str(folder / "cat.png"), str(folder / "broken.png"), "--json"])
    good, bad = json.loads(done.stdout)
    assert done.exit_code == 1 and good["error"] is None and 0 <= good["technical"] <= 100
    assert good["aesthetic"] is None and good["missing"]["aesthetic"] and len(good["ladder"]) == 5
    assert bad["technical"] is None and "not a picture" in bad["error"] and "broken.png" in bad["file"]


def test_the_table_says_why_a_number_is_missing(folder: Path) -> None:
    done = RUN.invoke(app, ["quality", str(folder / "cat.png")])
    assert done.exit_code == 0 and "aesthetic: no ratings" in done.stdout and "Technical" in done.stdout


def test_a_scorer_that_is_not_there_is_wrong_usage(folder: Path) -> None:
    done = RUN.invoke(app, ["quality", str(folder / "cat.png"), "--scorer", str(folder)])
    assert done.exit_code == 2 and "no weights here" in done.stderr


def test_the_room_is_also_the_function(folder: Path) -> None:
    one = rnr.quality(folder / "cat.png")
    assert one == rnr.quality([Image.open(folder / "cat.png")])[0] == rnr.api.quality(folder / "cat.png")
    with pytest.raises(rnr.PictureError, match="broken.png"):
        rnr.quality(folder / "broken.png")


def test_a_diagnosis_holds_the_quality_models_score(folder: Path) -> None:
    pixels = np.asarray(Image.open(folder / "cat.png").convert("RGB"))
    record = diagnose_pixels(Models(scorer="built-in"), pixels, "cat.png")
    found, score = record.diagnosis, rnr.quality(folder / "cat.png")
    assert found is not None
    assert found.quality.source == "quality model" and found.quality.technical == round(score.technical or -1)
    assert found.quality.aesthetic is None
    assert Diagnosis.from_json(found.to_json()) == found
    assert rnr.diagnose(folder / "cat.png").quality.source == "model", "only where a scorer is named"


def test_diagnose_takes_the_quality_models_score_where_it_is_named(folder: Path) -> None:
    done = RUN.invoke(app, ["diagnose", str(folder / "cat.png"), "--json", "--scorer", "built-in"])
    found = json.loads(done.stdout)[0]["diagnosis"]["quality"]
    assert found["source"] == "quality model"
    assert found["technical"] == round(rnr.quality(folder / "cat.png").technical or -1)


def test_experts_do_not_read_the_score(folder: Path) -> None:
    pixels = np.asarray(Image.open(folder / "cat.png").convert("RGB")).astype(np.float32)[:96, :96] / 255
    found = Diagnosis(findings={"noise": Finding(present=True, severity=40)}, plan=["noise"])
    pipeline = Models().pipeline
    made = [
        pipeline.restore(pixels, found.model_copy(update={"quality": Quality(technical=score)})).pixels_HWC3
        for score in (5, 95)
    ]
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], pixels)


def test_a_result_is_known_again_by_its_scorer() -> None:
    plain, scored = Models(), Models(scorer="built-in")
    assert plain.asked == {"reasoner": "built-in", "restorer": "built-in"}, "as in results of before"
    assert scored.asked == plain.asked | {"scorer": "built-in"} == scored.another().asked


def test_an_older_diagnosis_keeps_its_source() -> None:
    old = '{"findings":{},"quality":{"technical":48,"aesthetic":null,"words":"fair","source":"model"}}'
    assert Diagnosis.from_json(old).quality.source == "model"
