"""The view that shows second moments: where a frequency sits, what noise, blur and colour do to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rnr.degradation.dct import dct_matrix
from rnr.reasoner.drawn import with_drawn
from rnr.reasoner.spectrum import BLOCK, fine_spectrum, spectrum
from rnr.reasoner.views import views_of, views_of_batch
from tests.reasoner.conftest import picture

CELL = 4  # px of a 128 px view


def cells(views_BVCHW: torch.Tensor) -> torch.Tensor:
    """(32, 32) brightness of the luma in each cell of the first picture."""
    return spectrum(views_BVCHW)[0, 0, ::CELL, ::CELL]


def test_a_wave_lights_its_own_cell_of_its_own_quadrant() -> None:
    views = torch.full((1, 3, 3, 128, 128), 0.5)
    wave = dct_matrix(BLOCK)[5][:, None] * dct_matrix(BLOCK)[9]
    views[0, 1] += 0.2 * wave.repeat(8, 8) * 4
    rich = cells(views)[:BLOCK, :BLOCK].clone()
    rich[0, 0] = 0  # the mean
    assert np.unravel_index(int(rich.argmax()), rich.shape) == (5, 9)
    power = (0.2 * 4 * 255) ** 2
    assert rich[5, 9] == pytest.approx((math.log10(power + 0.1) + 1) / 6, abs=1 / 255)
    smooth = cells(views)[:BLOCK, BLOCK:]
    assert smooth[5, 9] == 0, "a flat crop has no power but its mean"


def test_noise_lifts_the_high_frequencies_and_blur_sinks_them() -> None:
    image = torch.from_numpy(picture(160, 160)).permute(2, 0, 1)[None].float() / 255
    noisy = (image + 0.05 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    blurred = torch.nn.functional.avg_pool2d(image, 5, 1, 2)
    high = [float(cells(views_of_batch(x))[8:16, 8:16].mean()) for x in (blurred, image, noisy)]
    assert high[0] < high[1] < high[2]


def test_drawn_views_are_the_last_and_the_same_for_one_picture_and_for_many() -> None:
    pictures = np.stack([picture(128, 128, seed) for seed in range(3)])
    views = torch.from_numpy(np.stack([views_of(one) for one in pictures])).permute(0, 1, 4, 2, 3) / 255
    together = with_drawn(views)
    assert together.shape == (3, 7, 3, 128, 128) and torch.equal(together[:, :3], views)
    assert torch.equal(with_drawn(views, {"spectrum": True}), together[:, :4]), "weights of before have no fifth view"
    alone = torch.cat([with_drawn(one[None]) for one in views])
    assert (together - alone).abs().max() <= 1 / 255 + 1e-6


def test_a_blur_leaves_lines_in_the_fine_spectrum_where_its_kernel_lets_nothing_through() -> None:
    image = torch.from_numpy(picture(256, 256)).permute(2, 0, 1)[None].float() / 255
    noisy = (image + 0.1 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    box = torch.nn.functional.avg_pool2d(noisy, (1, 8), 1)  # lets nothing through at 1/8, 1/4, 3/8 cycles a pixel
    plane = fine_spectrum(views_of_batch(box))[0, 0, :64, :64].mean(0)  # of the richest crop, over the rows
    dark = plane[32 + 8], plane[32 + 16], plane[32 + 24]
    light = plane[32 + 4], plane[32 + 12], plane[32 + 20]
    assert max(dark) < min(light)
