"""Scene labels on pictures whose label is plain to see."""

from __future__ import annotations

import colorsys

import pytest
import torch

from rnr.degradation.scene import COLOURS, LAYOUT, LIGHTING, TEXTURE, scene_labels


def flat(red: float, green: float, blue: float) -> torch.Tensor:
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(1, 3, 80, 120).clone()


def label(picture: torch.Tensor, name: str) -> str:
    index = int(scene_labels(picture)[name].flatten()[0])
    return {"lighting": LIGHTING, "colours": COLOURS, "texture": TEXTURE, "layout": LAYOUT}[name][index]


@pytest.mark.parametrize(("grey", "lighting"), [(0.05, "dark"), (0.35, "dim"), (0.45, "medium"), (0.9, "bright")])
def test_lighting(grey: float, lighting: str) -> None:
    assert label(flat(grey, grey, grey), "lighting") == lighting


HUES = {"red": 0, "orange": 30, "yellow": 58, "green": 120, "cyan": 180, "blue": 235, "violet": 290}


@pytest.mark.parametrize("name", HUES)
def test_the_most_frequent_colour(name: str) -> None:
    assert label(flat(*colorsys.hsv_to_rgb(HUES[name] / 360, 0.8, 0.7)), "colours") == name


def test_two_colours_in_the_order_of_their_share() -> None:
    picture = flat(0.1, 0.7, 0.1)
    picture[..., :30] = 0.5
    assert [COLOURS[i] for i in scene_labels(picture)["colours"][0]] == ["green", "grey"]
    assert label(flat(0.99, 0.02, 0.1), "colours") == "red"  # red lies at both ends of the circle


def test_layout() -> None:
    def half(rows: slice, columns: slice, brightness: float = 0.8) -> str:
        picture = flat(0.4, 0.4, 0.4)
        picture[..., rows, columns] = brightness
        return label(picture, "layout")

    everything = slice(None)
    assert half(everything, slice(0, 60)) == "brighter_left"
    assert half(everything, slice(60, 120)) == "brighter_right"
    assert half(slice(0, 40), everything) == "brighter_top"
    assert half(slice(40, 80), everything) == "brighter_bottom"
    assert half(slice(20, 60), slice(30, 90)) == "bright_centre"
    assert half(slice(20, 60), slice(30, 90), 0.1) == "dark_centre"
    assert half(everything, everything) == "balanced"


def test_texture_goes_from_smooth_to_very_busy() -> None:
    noise = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    labels = [label((0.5 + strength * noise).expand(1, 3, 64, 64), "texture") for strength in (0, 0.025, 0.04, 0.1)]
    assert labels == list(TEXTURE)


def test_labels_hardly_depend_on_the_size_of_the_picture(clean: torch.Tensor) -> None:
    large = torch.nn.functional.interpolate(clean, scale_factor=3, mode="bicubic").clamp(0, 1)
    small, big = scene_labels(clean), scene_labels(large)
    assert torch.equal(small["lighting"], big["lighting"]) and torch.equal(small["layout"], big["layout"])
    assert torch.equal(small["colours"][:, 0], big["colours"][:, 0])
