"""What a restoration changed: over-correction is severity, too."""

from __future__ import annotations

import numpy as np
import pytest

from rnr.degradation.kind import kind_named
from rnr.degradation.photographs import centre_crop, to_tensor, to_uint8
from rnr.evaluation.judging import best
from rnr.judge.change import JITTER, Seen, change, lost_tones, over_correction
from rnr.judge.doses import DOSES, sweep


@pytest.mark.parametrize("kind", ["haze", "low_light"])
def test_what_is_undone_too_far_is_over_corrected_and_the_clean_image_is_not(
    photographs: dict[str, np.ndarray], kind: str
) -> None:
    made = sweep(kind_named(kind), to_tensor(centre_crop(photographs["astronaut"], 256))[0], "astronaut")
    degraded = to_uint8(made.degraded_CHW)
    over = [over_correction(degraded, to_uint8(image)) for image in made.undone]
    assert over[0] == 0 and over[-1] > 30 and over[-1] >= max(over) - 5
    assert over_correction(degraded, to_uint8(made.clean_CHW)) < 10
    assert np.array_equal(to_uint8(made.undone[0]), degraded), "dose 0 changes nothing"


@pytest.mark.parametrize("how", ["black", "white", "grey", "negative"])
def test_clipped_flattened_and_inverted_tones_are_lost(photographs: dict[str, np.ndarray], how: str) -> None:
    x = centre_crop(photographs["coffee"], 192) / 255.0
    after = {"black": x - 1, "white": x + 1, "grey": np.full_like(x, 0.5), "negative": 1 - x}[how].clip(0, 1)
    assert lost_tones(x, after) > 0.8
    assert lost_tones(x, 0.1 + 0.8 * x) == 0


def test_a_change_by_hand() -> None:
    grey = np.full((64, 64, 3), 0.5)
    before = Seen(grey, {"haze": 40, "noise": 10, "blur": 5}, ["haze", "noise"])
    found = change(before, Seen(grey, {"haze": 10, "noise": 15, "blur": 15}, []))
    assert (found.removed, found.new, found.over, found.content, found.before) == (25, 10 - JITTER, 0, 1, 50)
    assert found.gain == 25 - (10 - JITTER) and found.same


def test_what_one_of_the_readings_misses_does_not_count() -> None:
    grey = np.full((64, 64, 3), 0.5)
    found = change(Seen(grey, {"haze": 40}, ["haze", "rain"]), Seen(grey, {"rain": 30}, []))
    assert (found.removed, found.new, found.before) == (0, 0, 0)


def test_a_plateau_is_an_interval_around_the_best_dose() -> None:
    values = [0, 5, 9.5, 10, 9.2, 3, 9.9, 0, 0, 0, 0]
    assert best(values, 1) == (DOSES[2], DOSES[4])
    assert best(values, 0) == (DOSES[3], DOSES[3])
