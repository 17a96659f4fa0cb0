"""Undamaged pictures that are no photographs."""

import numpy as np
import pytest

from rnr.degradation.drawings import SORTS, drawing


@pytest.mark.parametrize("sort", SORTS)
def test_a_drawing_depends_on_the_seed_alone_and_has_the_size(sort):
    one, again, other = (drawing(seed, (96, 130), sort) for seed in (1, 1, 2))
    assert one.shape == (96, 130, 3) and one.dtype == np.uint8
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_all_sorts_come_and_few_are_alike():
    pictures = [drawing(seed, (32, 32)).tobytes() for seed in range(60)]
    assert len(set(pictures)) > 50
