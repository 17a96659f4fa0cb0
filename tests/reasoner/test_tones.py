"""The tones of a picture as numbers: extremes, order, and what a veil and darkness do to them."""

from __future__ import annotations

import torch

from rnr.degradation.kind import kinds
from rnr.reasoner.tones import quantiles, tones
from tests.reasoner.conftest import picture

PICTURE = torch.from_numpy(picture(128, 128)).permute(2, 0, 1)[None].float() / 255


def test_quantiles_run_from_the_darkest_to_the_brightest() -> None:
    found = quantiles(PICTURE)
    assert found.shape == (1, 3, 8, 8)
    assert (found.flatten(2).diff(dim=-1) >= 0).all()
    assert torch.equal(found[..., 0, 0], PICTURE.amin((2, 3))) and torch.equal(found[..., -1, -1], PICTURE.amax((2, 3)))
    wanted = torch.quantile(PICTURE.flatten(2), torch.linspace(0, 1, 64), dim=2).permute(1, 2, 0)
    assert torch.allclose(found.flatten(2), wanted, atol=1e-5)


def test_where_a_tone_sits() -> None:
    flat = torch.tensor([0.25, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 128, 128)
    shown = tones(flat)[0, :, ::8, ::8]  # one cell of each map
    logarithm = torch.log2(1 + 255 * torch.tensor([0.25, 0.5, 1.0])) / 8
    assert torch.allclose(shown[:, 0, 0], torch.tensor([0.25, 0.5, 1.0])), "quantiles"
    assert torch.allclose(shown[:, 0, 1], logarithm)
    assert torch.allclose(shown[:, 1, 0], torch.tensor([0.25, 0.75, 1.0]), atol=0.01), "dark, saturation, brightest"
    luma = 0.299 * 0.25 + 0.587 * 0.5 + 0.114 * 1.0
    assert torch.allclose(shown[:, 1, 1], torch.tensor([0.25, luma, 1.0]), atol=0.01), "blocks"


def test_a_veil_lifts_the_dark_and_darkness_lowers_the_bright() -> None:
    half = torch.tensor([0.5])
    hazy = kinds()["haze"].apply(PICTURE, {"transmission": half, "airlight": torch.tensor([0.9])}, 0)
    dark = kinds()["low_light"].apply(
        PICTURE, {"exposure": half, "gamma": torch.tensor([1.0]), "noise": torch.tensor([0.0])}, 0
    )
    assert (tones(hazy)[0, :, 0, 0] > tones(PICTURE)[0, :, 0, 0] + 0.2).all()
    assert torch.allclose(tones(dark)[0, :, 7, 7], tones(PICTURE)[0, :, 7, 7] / 2)
