"""The commands as a user meets them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rnr.app.train_cli import data_app
from rnr.degradation._lazy import need
from rnr.degradation.errors import MissingExtra
from rnr.evaluation.cli import app
from rnr.evaluation.command import chosen
from rnr.evaluation.speed import measure_here, picture, table

COMMANDS = ("quality", "diagnosis", "robustness", "decoding", "steering", "order", "twin", "speed")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0 and "--out" in result.output


def test_the_commands_are_listed_without_loading_torch():
    code = "import sys, rnr.evaluation.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_file_of_predictions_is_data_and_was_a_benchmark():
    listed = CliRunner().invoke(app, ["--help"]).output
    assert "confusion" not in listed
    earlier = CliRunner().invoke(app, ["confusion", "--help"]).output
    assert "--regions" in earlier and "rnr data predictions" in earlier
    assert "--regions" in CliRunner().invoke(data_app, ["predictions", "--help"]).output


def test_an_empty_folder_is_a_message_and_not_a_traceback(tmp_path: Path):
    result = CliRunner().invoke(data_app, ["predictions", "--images", str(tmp_path), "--out", str(tmp_path / "x.json")])
    assert result.exit_code == 2 and "no photographs here" in result.output and "Traceback" not in result.output


def test_quality_wants_photographs_or_pairs(tmp_path: Path):
    result = CliRunner().invoke(app, ["quality", "--out", str(tmp_path), "--clean", str(tmp_path)])
    assert result.exit_code == 2 and "both --clean DIR and --degraded DIR" in result.output


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(MissingExtra, match=r"needs nowhere.*pip install -e '\.\[bench\]'"):
        need("nowhere.to.be.found", "bench")


def test_names_are_checked():
    assert chosen("haze, rain", ["rain", "haze"]) == ["haze", "rain"]
    with pytest.raises(ValueError, match="there is no fog; there are rain, haze"):
        chosen("fog", ["rain", "haze"])


def test_speed_of_a_small_picture(photographs: dict[str, np.ndarray], believer, idle_restorer):
    shown = picture(photographs["coffee"], 0.3)
    assert shown.dtype == np.uint8 and shown.shape[0] * shown.shape[1] == pytest.approx(0.3e6, rel=0.02)
    row = measure_here(believer, idle_restorer, photographs["coffee"], 0.05, [1, 2], ["haze", "noise"])
    assert row["megapixels"] == pytest.approx(0.05, rel=0.05)
    assert float(str(row["1 step s/MP"])) > 0 and float(str(row["2 step s/MP"])) > 0
    assert "beyond MB" in table([row]).markdown()


@pytest.mark.slow  # a server and two benchmarks, twice
def test_a_reasoner_behind_a_server_is_measured_like_one_here(folder: Path, tmp_path: Path):
    from rnr.reasoner.card import BUILT_IN
    from tests.reasoner.chat_server import running

    with running(str(BUILT_IN)) as (url, _):
        for name in ("built-in", url):
            asked = ["diagnosis", "--images", str(folder), "--limit", "1", "--mixtures", "1", "--reasoner", name]
            done = CliRunner().invoke(app, [*asked, "-o", str(tmp_path / name[:5])])
            assert done.exit_code == 0, done.output
        (tmp_path / "served.toml").write_text(f'model = "{url}"\n')
        asked = ["decoding", "--images", str(folder), "--limit", "1", "--pictures", "1"]
        asked += ["--reasoner", str(tmp_path / "served.toml")]
        done = CliRunner().invoke(app, [*asked, "-o", str(tmp_path / "decoding")])
        assert done.exit_code == 0, done.output
    figures = {row["figure"]: row for row in csv.DictReader((tmp_path / "decoding" / "decoding.csv").open())}
    assert figures["valid, %"] == {"figure": "valid, %", "kept": "100.0", "free": "100.0"}
    assert figures["tokens of an answer"]["kept"] == figures["tokens of an answer"]["free"] != ""
    assert figures["of them from the prefix cache, %"]["kept"] == "", "this server has no counters"
    here, there = ((tmp_path / name / "diagnosis_words.csv").read_text() for name in ("built", "http:"))
    assert here == there
    settings = json.loads((tmp_path / "http:" / "run.json").read_text())
    assert "tiny" in json.dumps(settings)
