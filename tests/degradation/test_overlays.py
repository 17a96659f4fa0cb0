"""What is laid over photographs."""

import numpy as np
import pytest
import torch

from rnr.degradation.overlays import SORTS, overlaid
from rnr.reasoner.data import OVERLAID, some_overlaid

PICTURE = np.random.default_rng(0).integers(60, 180, (96, 130, 3), np.uint8)


@pytest.mark.parametrize("sort", SORTS)
def test_an_overlay_depends_on_the_seed_alone_and_leaves_some_of_the_picture(sort):
    one, again, other = (overlaid(PICTURE, seed, sort) for seed in (1, 1, 2))
    assert one.shape == PICTURE.shape and one.dtype == np.uint8
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert 0.1 < (one == PICTURE).all(-1).mean() < 1


def test_a_share_of_the_pictures_is_overlaid_and_the_others_stay():
    before = torch.full((400, 3, 32, 32), 0.4).mul(255).round().div(255)
    after = some_overlaid(before.clone(), torch.Generator().manual_seed(0))
    changed = (after - before).abs().amax((1, 2, 3)) > 1e-3
    assert 0.3 * OVERLAID < float(changed.float().mean()) < 1.6 * OVERLAID
