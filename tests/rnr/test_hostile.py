"""Hostile files through the command: the drill is seeded, says what it saw, and would see a file opened outside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rnr.app.hostile_files import _CHILD, write_files


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    one, two, other = (
        [(what, path.relative_to(folder), path.read_bytes()) for what, path in write_files(folder, 30, seed)]
        for folder, seed in ((tmp_path / "1", 3), (tmp_path / "2", 3), (tmp_path / "3", 4))
    )
    assert one == two and one != other and len({what for what, _, _ in one}) == 15


@pytest.mark.slow  # a process that loads torch, and bombs
def test_the_drill_finds_no_fault(tmp_path: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    code, stdout, stderr = cli("bench", "hostile", "-o", tmp_path / "drill", "--count", 130, "--seed", 1)
    assert code == 0 and "130 files" in stdout and "0 faults" in stdout, stderr
    drilled = json.loads((tmp_path / "drill" / "hostile.json").read_text())
    assert sum(sum(answers.values()) for answers in drilled["answers"].values()) == 130
    assert drilled["answers"]["cut short"]["refused"] > 5


@pytest.mark.slow  # a process that loads torch
def test_the_hook_hears_of_what_is_opened_outside(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "outside.png").write_bytes(b"a secret")
    log, command = tmp_path / "in" / "log", ["restore", str(tmp_path / "outside.png"), "-o", str(tmp_path / "out")]
    child = [sys.executable, "-c", _CHILD, json.dumps([f"{tmp_path}/in/"]), str(log), json.dumps(command)]
    subprocess.run(child, capture_output=True, timeout=300)
    assert str(tmp_path / "outside.png") in log.read_text()
