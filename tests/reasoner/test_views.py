"""Any picture becomes three views of one size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnr.reasoner.views import SIDE, as_uint8, views_of, views_of_batch
from tests.reasoner.conftest import picture


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 300), (32, 32), (127, 129), (128, 128), (200, 128), (321, 481), (97, 2000)]
)
def test_any_size(size: tuple[int, int]) -> None:
    views = views_of(picture(*size))
    assert views.shape == (3, SIDE, SIDE, 3) and views.dtype == np.uint8


def test_twenty_megapixels() -> None:
    """Many bands, each of `BAND` rows; `rnr bench speed --large` takes 100 megapixels."""
    views = views_of(np.zeros((1600, 12500, 3), np.uint8) + np.arange(12500, dtype=np.uint8)[None, :, None])
    assert views.shape == (3, SIDE, SIDE, 3)


def test_batch_and_single_agree() -> None:
    pictures = np.stack([picture(224, 256, seed) for seed in range(3)])
    batch = views_of_batch(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)
    single = np.stack([views_of(one) for one in pictures])
    assert np.array_equal((batch * 255).round().byte().permute(0, 1, 3, 4, 2).numpy(), single)


def test_crops_are_native_and_sit_where_edges_are_most_and_fewest() -> None:
    flat = np.full((384, 512, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    flat[128:256, 256:384] = rng.integers(0, 255, (128, 128, 3))
    flat[128:256, :128] = rng.integers(90, 110, (128, 128, 3))
    _, rich, smooth = views_of(flat)
    assert np.array_equal(rich, flat[128:256, 256:384])
    assert smooth.std() == 0


def test_crops_keep_the_block_grid_and_do_not_overlap() -> None:
    from rnr.reasoner.views import _energies_of_array, _places

    for size in [(300, 500), (1000, 3001), (5000, 257)]:
        photo = picture(*size)
        places = _places(_energies_of_array(photo, SIDE), size, SIDE)[0]
        assert (places % 8 == 0).all()
        assert (places[0] - places[1]).abs().max() >= SIDE


def test_pixel_formats() -> None:
    grey = np.array([[0, 128], [255, 7]], np.uint8)
    assert np.array_equal(as_uint8(grey), np.repeat(grey[..., None], 3, 2))
    assert as_uint8(np.full((2, 2, 3), 65535, np.uint16)).max() == 255
    assert as_uint8(np.full((2, 2, 4), 0.5, np.float32)).shape == (2, 2, 3)
    for bad in (np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5, 2), np.uint8), np.zeros((5, 5, 3), np.int64)):
        with pytest.raises(ValueError):
            as_uint8(bad)


@pytest.mark.filterwarnings("error")
def test_pictures_that_are_read_only_or_turned_are_taken_as_they_are() -> None:
    shown = picture(300, 200)
    locked, turned = shown.copy(), shown[::-1]
    locked.setflags(write=False)
    assert np.array_equal(views_of(locked), views_of(shown))
    assert np.array_equal(views_of(turned), views_of(turned.copy()))
