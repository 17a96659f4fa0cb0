"""What a training spares in the vision tower gives the features and gradients of transformers' own passes."""

from __future__ import annotations

import copy

import pytest
import torch

from rnr.reasoner.tower import attend_together, distinct, look_once


def pixels(views: int) -> torch.Tensor:
    """Rows of patches of this many views of 128 px; the second and the last are one grey, the third is another."""
    shown = torch.rand(views, 64, 1536, generator=torch.Generator().manual_seed(0)) * 2 - 1
    shown[[1, -1]] = 0.004
    shown[2] = 0.5
    return shown


def features(model, shown: torch.Tensor, grid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the text sees of the views, and the gradient of the first layer's weights."""
    model.zero_grad()
    seen = model.model.visual(shown.flatten(0, 1), grid_thw=grid)
    both = torch.cat([seen.pooler_output, *seen.deepstack_features])
    both.square().sum().backward()
    return both.detach(), model.model.visual.blocks[0].attn.qkv.weight.grad.clone()


def test_views_of_one_colour_are_one() -> None:
    kept, place = distinct(pixels(6).flatten(1))
    assert sorted(kept.tolist()) == [0, 1, 2, 3, 4]
    assert place[1] == place[5] and len(set(place.tolist())) == 5
    assert kept[place].tolist() == [0, 1, 2, 3, 4, 1]


@pytest.mark.parametrize("spare", [look_once, attend_together])
@pytest.mark.parametrize("grid", [[[1, 8, 8]] * 6, [[1, 8, 8]] * 4 + [[1, 8, 16]]], ids=["one size", "two sizes"])
def test_features_and_gradients_are_those_of_all_views(small_model, spare, grid) -> None:
    spared = copy.deepcopy(small_model)
    spare(spared)
    shown, places = pixels(6), torch.tensor(grid)
    for mine, theirs in zip(features(spared, shown, places), features(small_model, shown, places), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_the_tower_looks_at_five_of_six(small_model) -> None:
    looked: list[int] = []
    block = small_model.model.visual.blocks[0]
    block.register_forward_hook(lambda module, inputs, output: looked.append(len(output) // 64))
    look_once(small_model)
    small_model.model.visual(pixels(6).flatten(0, 1), grid_thw=torch.tensor([[1, 8, 8]] * 6))
    assert looked == [5]
