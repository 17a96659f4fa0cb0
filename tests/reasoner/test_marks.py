"""The view that shows what lies over a scene: lines, spots and the veil, each in its place and colour."""

from __future__ import annotations

import torch

from rnr.degradation.openings import opened
from rnr.reasoner.marks import WIDE, _lowest, marks

HALF = 64  # px of a quadrant


def of(picture_HW: torch.Tensor) -> torch.Tensor:
    """Quadrant of a grey smoothest crop (3, 64, 64), which is the picture."""
    views = torch.full((1, 3, 3, 128, 128), 0.3)
    views[0, 2] = picture_HW
    return marks(views)[0, :, HALF:, HALF:]


def test_a_streak_is_a_line_and_a_flake_is_a_spot_and_a_wide_bright_thing_is_neither() -> None:
    ground = torch.full((128, 128), 0.3)
    streak, flake, wall = ground.clone(), ground.clone(), ground.clone()
    streak[40:80, 60:62] = 0.6
    flake[60:64, 60:64] = 0.6
    wall[30:90, 30:90] = 0.6
    lines, spots, narrow = of(streak)
    assert lines[30, 30] > 0.5 and spots.max() < 0.1 and narrow[30, 30] > 0.5
    lines, spots, narrow = of(flake)
    assert lines.max() < 0.1 and spots[31, 31] > 0.5 and narrow[31, 31] > 0.5
    assert of(wall).max() < 0.1


def test_a_level_line_is_no_streak() -> None:
    picture = torch.full((128, 128), 0.3)
    picture[60:62, 30:90] = 0.6
    assert of(picture)[0].max() < 0.1


def test_the_veil_is_the_darkest_value_nearby_of_each_colour() -> None:
    views = torch.rand(1, 3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    veil = marks(views)[0, :, :HALF, HALF:]
    assert veil.max() < 0.2, "something dark lies within 15 px of everything"
    hazy = marks(0.5 * views + 0.4)[0, :, :HALF, HALF:]
    torch.testing.assert_close(hazy, 0.5 * veil + 0.4)


def test_the_least_value_is_that_of_pooling() -> None:
    pool, half = torch.nn.functional.max_pool2d, WIDE // 2
    image = torch.rand(2, 3, 64, 40, generator=torch.Generator().manual_seed(2))
    assert torch.equal(_lowest(image), -pool(-image, WIDE, 1, half))


def test_gradients_are_finite_and_reach_every_view() -> None:
    views = torch.rand(1, 3, 3, 128, 128, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(marks(views).sum(), views)
    assert gradient.isfinite().all() and (gradient.abs().amax((0, 2, 3, 4)) > 0).all()


def test_an_opening_by_a_line_keeps_what_is_as_long_as_the_line() -> None:
    picture = torch.zeros(1, 1, 20, 40)
    picture[..., 5, 3:12] = 1  # 9 px
    picture[..., 10, 3:11] = 1  # 8 px
    kept = opened(picture, (0, 1), 9)
    assert kept[..., 5, 3:12].min() == 1 and kept.sum() == 9
