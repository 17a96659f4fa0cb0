"""The scripts behind `make demo` and the README's pictures."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_photograph_is_that_of_scikit_image(tmp_path: Path, photographs: dict[str, np.ndarray]) -> None:
    out = tmp_path / "new" / "photograph.png"
    assert run("photograph.py", out, "--name", "chelsea").returncode == 0
    assert np.array_equal(np.asarray(Image.open(out)), photographs["chelsea"])


def test_the_strip_shows_what_the_models_do(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    shutil.copy(EXAMPLES / "photographs" / "noise.jpg", tmp_path / "photographs")
    done = run("strip.py", "--photographs", tmp_path / "photographs", "-o", tmp_path / "strip.jpg")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("noise of severity 45; written: ") and "PSNR" in done.stdout
    assert Image.open(tmp_path / "strip.jpg").size == (360, 2 * 270 + 62)


def test_the_strip_of_the_readme_is_small_and_its_photographs_have_licences() -> None:
    assert (EXAMPLES.parent / "docs/images/before-after.jpg").stat().st_size <= 300_000
    listed = (EXAMPLES / "photographs" / "README.md").read_text(encoding="utf-8")
    assert all(path.name in listed for path in (EXAMPLES / "photographs").glob("*.jpg"))
