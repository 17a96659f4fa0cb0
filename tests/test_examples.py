"""The scripts behind `make demo` and the README's pictures."""

from __future__ import annotations

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


def test_a_strip_holds_the_pictures_side_by_side(tmp_path: Path) -> None:
    paths = [tmp_path / f"{shade}.png" for shade in (0, 100, 200)]
    for path in paths:
        Image.new("RGB", (30, 20), (int(path.stem),) * 3).save(path)
    assert run("strip.py", *paths, "-o", tmp_path / "strip.png").returncode == 0
    strip = np.asarray(Image.open(tmp_path / "strip.png"))
    assert strip.shape == (20, 106, 3)
    assert [int(strip[10, column, 0]) for column in (15, 34, 53, 91)] == [0, 255, 100, 200]
    Image.new("RGB", (31, 20)).save(paths[1])
    refused = run("strip.py", *paths, "-o", tmp_path / "other.png")
    assert refused.returncode == 2 and "differ in size" in refused.stderr
