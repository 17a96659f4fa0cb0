"""Real results to look at (restored by the built-in pair, an agent's, an rl run's), and `rnr view` as people run it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.view.browsing import Open

CHECKOUT = Path(__file__).parents[2]
Serve = Callable[..., str]


def rnr(*arguments: object) -> None:
    """The command, in this process: the models' libraries load once."""
    from rnr.app.cli import app

    with pytest.raises(SystemExit) as stop:
        app([str(argument) for argument in arguments], prog_name="rnr")
    assert not stop.value.code, arguments


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory, photographs: dict[str, np.ndarray]) -> Path:
    """clean/, damaged/ (with its ground truth), run-a/ and run-b/ of them, agent/, rl/, diagnoses.jsonl."""
    import torch

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("gallery")
    (root / "clean").mkdir()
    for name, photograph in photographs.items():
        Image.fromarray(photograph[40:200, 60:252]).save(root / "clean" / f"{name}.png")
    for name, settings in {
        "astronaut": ["noise=45"],
        "chelsea": ["noise=50", "haze=30"],
        "coffee": ["blur=40"],
    }.items():
        wanted = [part for setting in settings for part in ("--set", setting)]
        rnr("degrade", root / "clean" / f"{name}.png", *wanted, "-o", root / "damaged")
    rnr("restore", root / "damaged", "-o", root / "run-a", "--device", "cpu", "--no-report")
    rnr("restore", root / "damaged", "-o", root / "run-b", "--steps", 2, "--device", "cpu", "--no-report")
    rnr("agent", root / "damaged" / "chelsea.png", "-o", root / "agent", "--device", "cpu", "--no-report")
    write_rl(root / "rl")
    write_rows(root / "diagnoses.jsonl", [as_row(path) for path in sorted((root / "run-a").glob("*.json"))])
    return root


def as_row(record: Path) -> dict[str, Any]:
    """A restored picture's first record as `rnr diagnose --jsonl` writes it."""
    data = json.loads(record.read_text(encoding="utf-8"))
    return {"file": data["source"]["file"], **data["before"]}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_rl(folder: Path) -> None:
    """Two evaluations of two held-out pictures, by the writers of rnr.rl."""
    import torch

    from rnr.rl.record import Log, assessed, draw, sheet

    folder.mkdir()
    log = Log(folder)
    for step, reward in ((0, 0.1), (10, 0.4)):
        metrics = {"damage": 0.9 - reward, "structural": 0.8, "psnr": 20.0 + reward, "ssim": 0.7, "sharpness": 1.0}
        pictures = [
            {"task": task, "reward": reward + task, "scores": {"severity": reward}, "predicted": 30.0 - task,
             "metrics": {**metrics, "naturalness": None}}
            for task in (0, 1)
        ]  # fmt: skip
        log.write(assessed(log.rows(), step, pictures))
    draw(folder)
    samples = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    sheet([list(row) for row in samples], folder / "samples" / "step-00010.png")


def write_table(path: Path, rows: list[dict[str, Any]], gallery: Path) -> Path:
    """The rows as .jsonl, .json or .parquet; parquet holds the pictures, too."""
    if path.suffix == ".jsonl":
        return write_rows(path, rows)
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
        return path
    from datasets import Dataset

    pictures = [{"bytes": (gallery / "damaged" / row["file"]).read_bytes(), "path": row["file"]} for row in rows]
    write_rows(path.with_suffix(".jsonl"), rows)
    columns = Dataset.from_json(str(path.with_suffix(".jsonl")))  # fixed types: nulls come in for what a row lacks
    columns.add_column("image", pictures).to_parquet(str(path))
    return path


def write_loop_a(folder: Path) -> None:
    """Rows of `rnr rl reasoner`: the policy and its control before and after, a row for each step of training."""
    from rnr.rl.record import Log

    folder.mkdir()
    log = Log(folder)
    for step, who, error in ((0, "policy", 20.0), (2, "policy", 15.5), (2, "supervised, same time", 17.0)):
        log.write({"step": step, "evaluation": {"who": who, "metrics": {"severity_mae": error, "f1": 0.5}}})
    for step in (1, 2):
        log.write({"step": step, "reward": step / 10, "kl": 0.01 * step, "scores": {"rewards/severity/mean": 0.1}})


@pytest.fixture(scope="session")
def serve() -> Iterator[Serve]:
    """`serve(*arguments)` starts `rnr view` on a free port and gives its address (with the key, if there is one)."""
    running = contextlib.ExitStack()

    def start(*arguments: object) -> str:
        command = [sys.executable, "-m", "rnr", "view", *map(str, arguments), "--port", "0", "--device", "cpu"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, env=environment)
        running.callback(process.wait)
        running.callback(process.terminate)
        assert process.stdout
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line
        return found[0]

    with running:
        yield start


@pytest.fixture(scope="session")
def address(serve: Serve, gallery: Path) -> str:
    """A server over everything in the gallery that is not written to."""
    parts = ("run-a", "run-b", "agent", "rl", "diagnoses.jsonl", "damaged", "clean")
    return serve(*(gallery / part for part in parts))


@pytest.fixture
def complaints() -> list[str]:
    """What the browser said of scripts, the policy and missing files."""
    return []


@pytest.fixture
def visit(browser: Browser, complaints: list[str]) -> Iterator[Open]:
    """`visit(address)` opens a page; the test fails if there are complaints at its end."""
    from tests.view.browsing import DESK, PATIENCE

    contexts: list[BrowserContext] = []

    def start(address: str, look: str = "light", size: Any = None, context: BrowserContext | None = None) -> Page:
        if context is None:
            context = browser.new_context(viewport=size or DESK, color_scheme=look)  # type: ignore[arg-type]
            context.set_default_timeout(PATIENCE)
            contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield start
    for context in contexts:
        context.close()
    assert complaints == []
