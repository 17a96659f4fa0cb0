"""The measures, against cases worked out by hand and against scikit-image."""

from __future__ import annotations

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rnr.degradation.kind import luma
from rnr.degradation.measure import (
    damage_left,
    loss_of_severity,
    ms_ssim,
    psnr,
    severity_of_loss,
    ssim,
    technical_quality,
)


@pytest.fixture(scope="module")
def noisy(clean: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return (clean + 0.05 * torch.arange(1, 5).view(-1, 1, 1, 1) * noise).clamp(0, 1)


def test_psnr(clean: torch.Tensor, noisy: torch.Tensor) -> None:
    assert psnr(torch.full((1, 3, 4, 4), 0.6), torch.full((1, 3, 4, 4), 0.5)).item() == pytest.approx(20, abs=1e-4)
    assert psnr(clean, clean).tolist() == [float("inf")] * 4
    theirs = [peak_signal_noise_ratio(c.numpy(), n.numpy(), data_range=1) for c, n in zip(clean, noisy)]
    assert psnr(noisy, clean).tolist() == pytest.approx(theirs, abs=1e-3)


def test_ssim_is_that_of_scikit_image(clean: torch.Tensor, noisy: torch.Tensor) -> None:
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    pairs = zip(luma(clean)[:, 0].numpy(), luma(noisy)[:, 0].numpy())
    theirs = [structural_similarity(a, b, **settings) for a, b in pairs]
    assert ssim(noisy, clean).tolist() == pytest.approx(theirs, abs=1e-3)


def test_ms_ssim_falls_with_damage_and_takes_small_pictures(clean: torch.Tensor, noisy: torch.Tensor) -> None:
    assert ms_ssim(clean, clean).tolist() == pytest.approx([1] * 4, abs=1e-5)
    for size in (96, 40, 12, 5):
        a, b, c = clean[..., :size, :size], noisy[..., :size, :size], noisy.flip(0)[..., :size, :size]
        assert (ms_ssim(b, a) < 1).all() and ms_ssim(c[3:], a[3:]).isfinite().all()
    stronger = (clean + 3 * (noisy - clean)).clamp(0, 1)
    assert (ms_ssim(stronger, clean) < ms_ssim(noisy, clean)).all()


def test_severity_is_the_logarithm_of_the_loss() -> None:
    severity = torch.linspace(0, 100, 101)
    assert torch.allclose(severity_of_loss(loss_of_severity(severity)), severity, atol=1e-2)
    assert severity_of_loss(torch.tensor([0.0, 1.0, 7.0])).tolist() == pytest.approx([0, 100, 100], abs=1e-4)
    assert (loss_of_severity(severity).diff() > 0).all()


def test_technical_quality_is_100_for_the_clean_picture(clean: torch.Tensor, noisy: torch.Tensor) -> None:
    assert technical_quality(clean, clean).tolist() == pytest.approx([100] * 4, abs=0.01)
    assert (technical_quality(noisy, clean) < 90).all()


def test_damage_left_by_hand(clean: torch.Tensor, noisy: torch.Tensor) -> None:
    def squared(restored: torch.Tensor) -> list[float]:
        return damage_left(restored, noisy, clean)["squared"].tolist()

    assert squared(clean) == [0] * 4 and squared(noisy) == [1] * 4
    assert squared((clean + noisy) / 2) == pytest.approx([0.25] * 4, rel=1e-3)  # half the error, a quarter squared
    assert squared(clean + 2 * (noisy - clean)) == pytest.approx([4] * 4, rel=1e-3)


def test_structural_damage_left(clean: torch.Tensor, noisy: torch.Tensor) -> None:
    def structural(restored: torch.Tensor) -> torch.Tensor:
        return damage_left(restored, noisy, clean)["structural"]

    assert structural(clean).tolist() == pytest.approx([0] * 4, abs=1e-5) and structural(noisy).tolist() == [1] * 4
    half = structural((clean + noisy) / 2)
    assert ((half > 0) & (half < 0.8)).all()
    assert (structural((clean + 2 * (noisy - clean)).clamp(0, 1)) > 1).all()


def test_nothing_can_be_said_where_nothing_was_damaged(clean: torch.Tensor, noisy: torch.Tensor) -> None:
    left = damage_left(clean, clean, clean)
    assert left["squared"].isnan().all() and left["structural"].isnan().all()
