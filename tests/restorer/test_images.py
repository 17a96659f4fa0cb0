"""The pipeline as users of diffusers call it."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.restorer import RestorePipeline

NOISY = Diagnosis(findings={"noise": Finding(present=True, severity=50)}, plan=["noise"])
PICTURE = skimage.data.chelsea()[:64, :80]


@pytest.fixture(scope="module")
def pipe() -> RestorePipeline:
    return RestorePipeline.from_pretrained("built-in")


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(PICTURE),
        PICTURE,
        PICTURE.astype(np.uint16) * 257,
        PICTURE[None].astype(np.float64) / 255,
        torch.from_numpy(PICTURE.copy()).permute(2, 0, 1),
        torch.from_numpy(PICTURE.copy()).permute(2, 0, 1)[None].float() / 255,
        [PICTURE],
    ],
)
def test_all_kinds_of_images_give_the_same(pipe, image):
    expected = pipe.restore(PICTURE.astype(np.float32) / 255, NOISY).pixels_HWC3
    output = pipe(image, NOISY, output_type="np")
    np.testing.assert_allclose(output.images[0], expected, atol=1e-6)
    assert output.legs[0][0].kinds == ("noise",)


def test_a_list_gives_what_single_calls_give(pipe):
    pictures = [PICTURE, skimage.data.astronaut()[:50, :50]]
    together = pipe(pictures, [NOISY, NOISY]).images
    assert [image.size for image in together] == [(80, 64), (50, 50)]
    for image, alone in zip(together, (pipe(p, NOISY).images[0] for p in pictures)):
        assert np.array_equal(np.asarray(image), np.asarray(alone))


def test_images_without_a_diagnosis_are_diagnosed_by_the_diagnoser(pipe):
    from rnr import reasoner

    noisy = (PICTURE + np.random.default_rng(0).normal(0, 30, PICTURE.shape)).clip(0, 255).astype(np.uint8)
    diagnoser = reasoner.load("built-in")
    record = diagnoser.diagnose([noisy])[0]
    expected = np.asarray(pipe(noisy, record).images[0])
    pipe.diagnoser = diagnoser
    try:
        assert "noise" in record.diagnosis.present and np.array_equal(np.asarray(pipe(noisy).images[0]), expected)
    finally:
        pipe.diagnoser = None


def test_what_cannot_be_restored_is_refused_with_its_reason(pipe):
    with pytest.raises(ValueError, match="rnr.diagnose"):
        pipe(PICTURE)
    with pytest.raises(ValueError, match="2 values that are not finite"):
        pipe(np.where(np.arange(48).reshape(4, 4, 3) < 2, np.nan, 0.5), NOISY)
    with pytest.raises(TypeError, match="str"):
        pipe("photo.jpg", NOISY)
    with pytest.raises(ValueError, match="output_type"):
        pipe(PICTURE, NOISY, output_type="jpg")


@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 0.01), (torch.float64, 1e-5)])
def test_networks_of_another_type_restore_in_float32(pipe, dtype, most):
    """What bfloat16 rounds away is noise of 2^-8 in the networks' activations; the picture's own path is exact."""
    names = ["noise", "rain", "haze"]
    every = Diagnosis(findings={name: Finding(present=True, severity=50) for name in names}, plan=names)
    expected = pipe(PICTURE, every, output_type="np").images
    for other in (
        RestorePipeline.from_pretrained("built-in", torch_dtype=dtype),
        RestorePipeline.from_pretrained("built-in").to(dtype),
    ):
        found = other(PICTURE, every, output_type="np").images
        assert found.dtype == np.float32 and np.abs(found - expected).mean() < most
