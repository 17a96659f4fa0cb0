"""What a quality model sees: native crops on the grid, an overview, measurements that mean what they say."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import degrade, prescribe
from rnr.quality.views import CELL, CHANNELS, GRID, Views, basis, grid_steps, measured, smooth


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (96, 96), (97, 211), (640, 480)])
def test_any_size_gives_views(size: tuple[int, int]) -> None:
    views = Views().of(torch.rand(3, *size))
    assert views.shape[1:] == (CHANNELS, 96 // CELL, 96 // CELL) and views.isfinite().all()


def test_crops_lie_on_the_grid_and_reach_from_edge_to_edge() -> None:
    places = Views().places(505, 1000)
    assert len(places) == 12 and all(top % GRID == left % GRID == 0 for top, left in places)
    assert min(places) == (0, 0) and max(places)[0] >= 505 - 96 - GRID and max(places)[1] >= 1000 - 96 - GRID


def test_pixels_of_native_crops_are_the_pictures_own() -> None:
    picture = torch.rand(3, 200, 300)
    views = Views(measures=False).of(picture)
    top, left = Views().places(200, 300)[1]
    assert torch.equal(views[1], picture[:, top : top + 96, left : left + 96])


def test_smooth_is_a_mean_over_a_square() -> None:
    x = torch.rand(1, 1, 20, 20)
    assert smooth(x, 5)[0, 0, 10, 10] == pytest.approx(float(x[0, 0, 8:13, 8:13].mean()), abs=1e-6)


def test_the_transform_is_orthonormal() -> None:
    assert torch.allclose(basis() @ basis().T, torch.eye(8), atol=1e-6)


def test_blocks_of_compression_show_in_the_steps_across_the_grid(photographs: dict[str, np.ndarray]) -> None:
    stored = io.BytesIO()  # a file's own grid begins at its corner, that of the kind anywhere
    Image.fromarray(photographs["chelsea"][:96, :96]).save(stored, "JPEG", quality=8)
    clean, blocky = (to_tensor(np.asarray(x)) for x in (photographs["chelsea"][:96, :96], Image.open(stored)))
    before, after = (grid_steps(x.mean(1, keepdim=True))[0].mean() for x in (clean, blocky))
    assert after > before + 0.3


def test_noise_raises_the_highest_frequencies(photographs: dict[str, np.ndarray]) -> None:
    clean = to_tensor(photographs["chelsea"][:96, :96])
    noisy = degrade(clean, prescribe({"noise": 40}, seed=0))
    before, after = (measured(x, torch.zeros(1))[0, 63].mean() for x in (clean, noisy))
    assert after > before + 1  # a decade


def test_channels_are_standardised_over_the_pictures_they_were_fitted_to() -> None:
    pictures = [torch.rand(3, 128, 128) ** (1 + i) for i in range(4)]
    views = Views().fitted(pictures)
    x = torch.cat([views.of(picture) for picture in pictures])
    assert x.mean((0, 2, 3)).abs().max() < 0.2 and x.abs().max() <= 6
