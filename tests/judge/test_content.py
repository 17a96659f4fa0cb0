"""The content test on photographs that it was not calibrated on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rnr.degradation.photographs import centre_crop, to_tensor, to_uint8
from rnr.degradation.synthesize import degrade, prescribe
from rnr.judge.content import PASS, WEIGHTS, same
from rnr.judge.impostors import cases


@pytest.fixture(scope="module")
def clean(photographs: dict[str, np.ndarray]) -> np.ndarray:
    return centre_crop(photographs["astronaut"], 256)


@pytest.mark.parametrize(
    "severity", [{"haze": 70}, {"low_light": 70}, {"noise": 60}, {"blur": 60}, {"rain": 60}, {"snow": 50, "noise": 30}]
)
def test_the_clean_image_of_a_damaged_one_passes(clean: np.ndarray, severity: dict[str, float]) -> None:
    damaged = to_uint8(degrade(to_tensor(clean), prescribe(severity, seed=3)))
    assert same(damaged, clean) >= PASS


def test_impostors_are_refused(photographs: dict[str, np.ndarray]) -> None:
    for case in cases([photographs["astronaut"], photographs["coffee"]], 4, seed=5):
        refused = {name: same(case.clean, image) < PASS for name, image in case.impostors.items()}
        assert all(refused.values()), refused


def test_light_that_changes_costs_nothing(clean: np.ndarray) -> None:
    x = clean / 255.0
    for relit in (x**0.45, (0.2 + 0.6 * x), (x * (1.1, 1.0, 0.7)).clip(0, 1), (x - 0.1).clip(0, 1)):
        assert same(clean, relit) >= PASS


def test_a_shift_shows_in_a_large_image_too(photographs: dict[str, np.ndarray]) -> None:
    large = np.tile(photographs["rocket"], (1, 2, 1))[:400, :1200]
    assert same(large[:, :-8], large[:, 8:]) < PASS


def test_any_depth_and_tiny_images_are_taken_and_sizes_must_agree(clean: np.ndarray) -> None:
    deep = clean.astype(np.uint16) * 257
    assert same(deep, clean / 255.0) > 0.9
    assert same(clean[:1, :1], clean[:1, :1]) == 1
    assert 0 <= same(clean[:2, :3], clean[2:4, :3]) <= 1
    with pytest.raises(ValueError, match="one size"):
        same(clean, clean[1:])


def test_the_calibration_gives_weights_of_this_form(photographs: dict[str, np.ndarray]) -> None:
    from rnr.judge.calibrate import compared, fit

    rows = [compared(case) for case in cases([photographs["coffee"]], 4, seed=1)]
    made, held = fit(rows), json.loads(WEIGHTS.read_text())
    assert {name: np.shape(value) for name, value in made.items()} == {n: np.shape(v) for n, v in held.items()}
