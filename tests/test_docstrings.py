"""The examples in docstrings run, in a folder that holds a photograph, photo.jpg."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
OURS = [path for path in ROOT.glob("*/**/*.py") if path.relative_to(ROOT).parts[0] not in ("tests", "docs", "examples")]
SKIPPED = {  # modules with examples that are only shown, and why
    "rnr.quality.loading": "is the same as the other loaders'",
    "rnr.reasoner.client": "needs a server",
    "rnr.restorer.qwen_edit": "needs a GPU and 57 GB of weights",
    "rnr.restorer.latent.restorer": "needs weights that a training makes",
    "rnr.restorer.latent.task_restorer": "needs weights that a training makes",
    "rnr.rl.chain": "takes a task from the middle of a training",
    "rnr.rl.judge": "takes a picture from the middle of a training",
    "rnr.rl.rewards": "takes pictures from the middle of a training",
}


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name if name.startswith("rnr.") else f"rnr.{name}"


TEXTS = {module_of(path): path.read_text(encoding="utf-8") for path in OURS if ".venv" not in path.parts}
MODULES = sorted(name for name, text in TEXTS.items() if ">>> " in text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, photographs: dict[str, np.ndarray]) -> Path:
    """With a noisy crop of a photograph."""
    made = tmp_path_factory.mktemp("examples")
    noise = np.random.default_rng(0).normal(0, 30, (128, 128, 3))
    noisy = (photographs["astronaut"][:128, 160:288] + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(made / "photo.jpg", quality=98)
    return made


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert (found.attempted or name in SKIPPED) and not found.failed


def test_no_other_example_is_skipped() -> None:
    assert {name for name, text in TEXTS.items() if "+SKIP" in text} <= set(SKIPPED)
