"""What is written to outputs that cannot spell every letter, or that nobody reads, costs no work."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rnr.work.console import Terminal, json_stdout, stages, tolerant
from rnr.work.diagnosing import fixed

from .conftest import CHECKOUT

NAME = "写真 \N{GRINNING FACE} é"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8", "utf-16"])
def test_json_is_json_in_every_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    tolerant()
    json_stdout({"file": NAME})
    assert json.loads(raw.getvalue().decode(encoding)) == {"file": NAME}


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_table_of_letters_that_cannot_be_spelt(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    tolerant()
    Terminal().print(f"{NAME} 40 → 8", markup=False)
    sys.stdout.flush()
    assert raw.getvalue().decode(encoding).startswith("\\u5199\\u771f \\U0001f600")


def test_a_windows_pipe_gets_its_rows(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.png").touch()
    done = subprocess.run(
        [sys.executable, "-m", "rnr", "diagnose", tmp_path / f"{NAME}.png", "--jsonl"],
        env=os.environ | {"PYTHONIOENCODING": "cp1252"}, cwd=CHECKOUT, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 1 and b"Traceback" not in done.stderr and b"the file is empty" in done.stderr
    assert Path(json.loads(done.stdout.decode("cp1252"))["file"]).name == f"{NAME}.png"


@pytest.mark.parametrize("command", [["--json"], []])
def test_an_output_of_few_letters_gets_its_rows(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (tmp_path / f"{NAME}.png").touch()
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "cp1252", write_through=True))
    code, _, said = cli("diagnose", tmp_path / f"{NAME}.png", *command)
    assert code == 1 and "Traceback" not in said and "the file is empty" in said
    if command:
        assert Path(json.loads(raw.getvalue().decode("cp1252"))[0]["file"]).name == f"{NAME}.png"


def test_a_closed_pipe_ends_no_batch(tmp_path: Path, nothing_found: Path) -> None:
    from PIL import Image

    for number in range(3):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("RGB", (64, 64)).save(tmp_path / "in" / f"{number}.png")
    command = f'"{sys.executable}" -m rnr restore "{tmp_path}/in" -o "{tmp_path}/out" --diagnosis "{nothing_found}"'
    done = subprocess.run(["bash", "-c", f"{command} 2>&1 | true"], cwd=CHECKOUT, timeout=300)
    assert done.returncode == 0 and len(list((tmp_path / "out").glob("*.png"))) == 3
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_failed_row_has_the_types_of_the_others(tmp_path: Path) -> None:
    from datasets import Dataset

    from rnr.degradation import Diagnosis, DiagnosisRecord, Finding

    def row(number: int, severity: float) -> dict:
        noise = Finding(present=True, severity=20, factors={"sigma": severity, "type": "gaussian"})
        diagnosis = Diagnosis(findings={"noise": noise}, plan=["noise"])
        return fixed({"file": f"{number}.png", **DiagnosisRecord(diagnosis=diagnosis).model_dump(mode="json")})

    rows = [row(number, 13 if number % 2 else 13.5) for number in range(2000)]
    failed = DiagnosisRecord(diagnosis=None, error="the file is empty").model_dump(mode="json")
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps(each) for each in [*rows, fixed({"file": "bad.png", **failed})]]
    path.write_text("\n".join(lines))
    size = 1 << 16  # small blocks: the failed row is in one whose types are inferred alone
    held = Dataset.from_json(str(path), cache_dir=str(tmp_path / "cache"), chunksize=size)
    assert len(held) == 2001 and held[2000]["error"] == "the file is empty" and held[0]["error"] == ""
    assert all(isinstance(each["error"], str) for each in (rows[0], json.loads(lines[-1])))
    import pandas

    assert len(pandas.read_json(path, lines=True)) == 2001


def test_every_command_and_option_is_described_in_sentences() -> None:
    import typer

    from rnr.app.cli import app

    wrong: list[str] = []
    waiting = [("rnr", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        waiting += [(f"{name} {key}", each) for key, each in getattr(command, "commands", {}).items()]
        said = [command.help, *(getattr(parameter, "help", None) for parameter in command.params)]
        first = [text.strip().partition("\n\n")[0] for text in said if text and " completion " not in text]
        wrong += [f"{name}: {text}" for text in first if not text.endswith((".", "?", "..."))]
    assert wrong == []


def test_the_line_of_a_picture_names_what_was_left_alone() -> None:
    from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord, Finding
    from rnr.report.plain import Entry

    sides = {"before": 40, "after": 4}
    data: dict[str, Any] = {
        side: DiagnosisRecord(
            diagnosis=Diagnosis(findings={"haze": Finding(present=True, severity=severity)}, plan=["haze"])
        ).model_dump(mode="json")
        for side, severity in sides.items()
    }
    doubt = "the reasoner is not sure: blur (probability 0.71) left alone; --force restores it"
    assert Entry("photo.jpg", "restored", data=data | {"explanation": doubt}).headline == f"haze 40 → 4; {doubt}"
    assert Entry("photo.jpg", "restored", data=data).headline == "haze 40 → 4"


def test_stages_are_shown_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (True, False):
        stderr = io.StringIO()
        monkeypatch.setattr("rnr.work.console.err", Terminal(file=stderr, force_terminal=terminal, width=80))
        with stages("loading [the] models") as tell:
            tell("diagnosing")
        assert ("diagnosing" in stderr.getvalue()) == terminal
