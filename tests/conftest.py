"""What all rooms' tests share: no network, photographs, and a kind of degradation that nobody has seen."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = "/usr/bin/chromium"  # Debian's

STRIPES = '''"""Stripes: rows of a broken sensor, I = J (1 - a) on every second row (a test's own kind)."""

from __future__ import annotations

import torch

from rnr.degradation.kind import Factor, Kind, Measurement, Words, column, luma, uniform


class Stripes(Kind):
    name = "stripes"
    formation = 57
    factors = (
        Factor("loss", "%", 0, 90, 1, "light that the dark rows lose"),
        Factor("tint", "", 0, 1, 0.1, "how much more of the blue they lose"),
    )
    main = "loss"
    harmless = {"loss": 0}
    validation_severity = 40
    measurement = Measurement("row contrast", "%", (2, 5, 10, 20, 40), "mean step between neighbouring rows")
    words = Words("stripes", "a sensor that reads every second row too weakly", "thin dark rows", "even out the rows")
    curve = ((0, 0), (0.1, 30), (0.9, 80))

    def sample(self, count, generator):
        return {"tint": uniform(count, 0, 1, generator)}

    def magnitude(self, factors):
        return factors["loss"] / 100

    def solve(self, magnitude, factors):
        return 100 * magnitude

    def apply(self, image_BCHW, factors, seed):
        image = image_BCHW.clone()
        tint = torch.tensor([0.0, 0.0, 1.0], device=image.device).view(1, 3, 1, 1) * column(factors["tint"])
        image[:, :, seed % 2 :: 2] *= (1 - column(factors["loss"]) / 100 * (1 + 0.1 * tint)).clamp(min=0)
        return image

    def measure(self, image_BCHW):
        return 100 * luma(image_BCHW).diff(dim=-2).abs().mean((1, 2, 3))


KIND = Stripes()
'''


@pytest.fixture(scope="session")
def photographs() -> dict[str, np.ndarray]:
    """uint8 HWC photographs that come with scikit-image, by name."""
    import skimage.data

    return {
        name: np.ascontiguousarray(getattr(skimage.data, name)())
        for name in ("astronaut", "chelsea", "coffee", "rocket")
    }


@pytest.fixture
def new_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Adds the kind `stripes` as anybody would: one file in `degradation/` (here a folder on its path)."""
    from rnr import degradation

    (tmp_path / "stripes.py").write_text(STRIPES, encoding="utf-8")
    monkeypatch.setattr(degradation, "__path__", [*degradation.__path__, str(tmp_path)])
    yield "stripes"
    sys.modules.pop("rnr.degradation.stripes", None)
    vars(degradation).pop("stripes", None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests: two at a time cannot be driven from one thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # CI runs as root
        yield browser
        browser.close()
