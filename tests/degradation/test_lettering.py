"""Pages and signs with known text: seeds, corners where the ink is, light, and what is refused."""

import numpy as np
import pytest

from rnr.degradation.lettering import DARKEST, SORTS, lettered


@pytest.mark.parametrize("sort", SORTS)
def test_a_picture_follows_from_its_seed(sort):
    a, b, c = (lettered(seed, (160, 200), sort) for seed in (4, 4, 5))
    assert a.picture_HWC.shape == (160, 200, 3) and a.picture_HWC.dtype == np.uint8
    assert np.array_equal(a.picture_HWC, b.picture_HWC) and not np.array_equal(a.picture_HWC, c.picture_HWC)
    assert [line.text for line in a.lines] == [line.text for line in b.lines] and a.lines


def test_the_ink_lies_between_the_corners():
    """Contrast inside a line's quadrilateral is what the page has; lines are inside the picture."""
    for seed in range(6):
        page = lettered(seed, (256, 256), "page")
        grey = page.picture_HWC.mean(2)
        for line in page.lines:
            (left, top), (right, bottom) = line.corners_42.min(0), line.corners_42.max(0)
            assert 0 <= left < right < 256 and 0 <= top < bottom < 256
            part = grey[round(top) : round(bottom) + 1, round(left) : round(right) + 1]
            assert np.ptp(part) > 40 * DARKEST and line.text.strip()


def test_another_sort_is_refused():
    with pytest.raises(ValueError, match="lettering is one of page, sign, not 'poem'"):
        lettered(0, sort="poem")
