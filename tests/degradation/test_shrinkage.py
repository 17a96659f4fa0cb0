"""Shrinkage of sliding DCT blocks: the inverse of noise and of compression."""

import pytest
import skimage.data
import torch

from rnr.degradation.kind import kinds
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import to_tensor
from rnr.degradation.shrinkage import opponent_sigma, shrink

CLEAN = to_tensor(skimage.data.astronaut()[:160, 100:260])
NONE = torch.zeros(1)


@pytest.mark.parametrize("type_", [0, 1, 2], ids=["gaussian", "poisson", "shot_read"])
@pytest.mark.parametrize("colour", [0, 1], ids=["per_channel", "grey"])
def test_most_noise_goes(type_, colour):
    factors = {"sigma": NONE + 25, "type": NONE + type_, "colour": NONE + colour}
    noisy = kinds()["noise"].apply(CLEAN, factors, seed=1)
    gain = 9 if colour == 0 else 6  # dB; grey noise and a grey picture have the same colour
    assert psnr(kinds()["noise"].invert(noisy, factors), CLEAN) > psnr(noisy, CLEAN) + gain


@pytest.mark.parametrize("quality", [10, 40])
def test_blocks_are_smoothed(quality):
    factors = {"quality": NONE + quality, "subsampling": NONE + 2}
    saved = kinds()["compression"].apply(CLEAN, factors, seed=1)
    assert psnr(kinds()["compression"].invert(saved, factors), CLEAN) > psnr(saved, CLEAN) + 0.3


def test_without_noise_nothing_changes():
    assert torch.allclose(shrink(CLEAN, torch.zeros(1, 3)), CLEAN, atol=1e-4)


def test_shot_noise_is_taken_from_the_light_and_left_in_the_dark():
    stripes = torch.cat([torch.full((1, 3, 64, 64), level) for level in (0.02, 0.9)], 3)
    noisy = stripes + 0.02 * torch.randn(stripes.shape, generator=torch.Generator().manual_seed(0))
    sigma = opponent_sigma(NONE + 0.02, NONE > 0)
    left = (shrink(noisy, sigma, shot_B=NONE + 1) - stripes).std((0, 1, 2))
    assert left[8:56].mean() > 2 * left[72:120].mean()


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 9), (20, 33)])
def test_any_size(size):
    result = shrink(torch.rand(2, 3, *size), torch.full((2, 3), 0.1))
    assert result.shape == (2, 3, *size) and torch.isfinite(result).all()
