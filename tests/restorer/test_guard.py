"""New weights may not lose more than half a decibel: what the shipped ones reached, by the true diagnosis."""

import numpy as np
import pytest
import skimage.data
import torch

from rnr.degradation.measure import psnr
from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import degrade, prescribe, truths
from rnr.restorer import RestorePipeline

SIZE, SEED, LOSS = 128, 11, 0.5  # px; of the degradations; dB
PLACES = {"chelsea": (60, 120), "coffee": (120, 180), "astronaut": (20, 160)}
# Severities, and the mean PSNR (dB) over the places as restored by the weights of 2026-11-30: a failure prints it anew.
REACHED: dict[str, tuple[dict[str, float], float]] = {
    "noise": ({"noise": 45}, 28.93),
    "haze": ({"haze": 60}, 31.59),
    "rain": ({"rain": 60}, 29.15),
    "snow": ({"snow": 60}, 26.47),
    "blur": ({"blur": 45}, 28.78),
    "low_light": ({"low_light": 70}, 34.77),
    "compression": ({"compression": 45}, 24.75),
    "low_resolution": ({"low_resolution": 45}, 22.71),
    "haze and noise": ({"haze": 50, "noise": 30}, 26.80),
    "rain and blur": ({"rain": 50, "blur": 30}, 26.98),
}


@pytest.fixture(scope="module")
def pipe() -> RestorePipeline:
    return RestorePipeline.from_pretrained("built-in")


@pytest.mark.parametrize("name", REACHED)
def test_the_weights_restore_as_well_as_those_before(pipe, name):
    severities, reached = REACHED[name]
    found = np.mean([restored(pipe, severities, place) for place in PLACES])
    assert found > reached - LOSS, f"{name}: {found:.2f} dB, {reached} before"


def restored(pipe: RestorePipeline, severities: dict[str, float], photograph: str) -> float:
    """PSNR in dB of a damaged region, restored by its true diagnosis."""
    top, left = PLACES[photograph]
    clean = to_tensor(getattr(skimage.data, photograph)()[top : top + SIZE, left : left + SIZE])
    mixture = prescribe(severities, SEED)
    degraded = degrade(clean, mixture)
    diagnosis = truths(clean, degraded, mixture)[0]
    result = pipe.restore(degraded[0].permute(1, 2, 0).contiguous().numpy(), diagnosis).pixels_HWC3
    return float(psnr(torch.from_numpy(result).permute(2, 0, 1)[None], clean))
