"""What is left in a restored picture: nothing, all, a half; and that the stream says it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import degrade, prescribe
from rnr.restorer import load
from rnr.work.joint import SHARE, WithRestored, left, remaining

KINDS = {"haze": 50.0, "noise": 60.0}


@pytest.fixture
def crops(photographs: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [np.ascontiguousarray(p[:256, :256]) for p in photographs.values()]


@pytest.fixture
def clean(crops):
    return torch.cat([to_tensor(crop[:128, :128]) for crop in crops[:2]])


def test_all_none_and_half_of_the_damage(clean):
    mixture = prescribe(KINDS, 4, batch=2)
    degraded = degrade(clean, mixture)
    for restored, share in ((degraded, 1.0), (clean, 0.0), ((clean + degraded) / 2, 0.5)):
        for name, found in left(restored, degraded, clean, mixture).items():
            assert found.tolist() == pytest.approx([share] * 2, abs=0.1), name


def test_a_kind_that_was_removed_is_told_from_one_that_stayed(clean):
    mixture = prescribe(KINDS, 4, batch=2)
    degraded, gone = degrade(clean, mixture), torch.zeros(2, dtype=torch.bool)
    without = degrade(clean, mixture, {"haze": ~gone, "noise": gone})
    shares = left(without, degraded, clean, mixture)
    assert (shares["haze"] > 0.9).all() and (shares["noise"] < 0.1).all()
    remains, reported = remaining(mixture, shares)
    assert reported.all()
    assert remains.severity("noise").tolist() == [0, 0]
    assert remains.severity("haze").tolist() == pytest.approx([50, 50], abs=4)


def test_what_factors_cannot_say_is_not_said():
    """A gamma that stays darkens by itself: no exposure makes such a picture a little dark."""
    mixture = prescribe({"low_light": 60.0}, 1)
    step = mixture.steps[0]
    step.factors["gamma"] = torch.tensor([2.6])
    step.factors = step.kind.with_severity(torch.tensor([60.0]), step.factors)
    assert not remaining(mixture, {"low_light": torch.tensor([0.2])})[1].any()
    assert remaining(mixture, {"low_light": torch.tensor([0.0])})[1].all()


def test_a_share_of_the_stream_is_restored_and_repeats(crops):
    damage = WithRestored(load())
    images, diagnoses = damage(crops, 0, 3, 1.0, 8)
    again, reported = damage(crops, 0, 3, 1.0, 8)
    assert len(images) == len(diagnoses) == 8 and torch.equal(images, again) and diagnoses == reported
    assert round(SHARE * 8) == 2
    assert torch.equal((images * 255).round() / 255, images), "as a file would hold it"
