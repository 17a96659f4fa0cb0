"""Inside a restorer: what is read is what the network wrote, and a region's change answers to the diagnosis."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnr.degradation.errors import Error
from rnr.degradation.photographs import to_uint8
from rnr.degradation.synthesize import degrade, prescribe, truths
from rnr.explain import RestorerInternals
from rnr.restorer import RestorePipeline
from rnr.restorer.bridge import BridgeScheduler
from rnr.restorer.network import RestorerNetwork
from tests.explain.conftest import Damaged


def test_the_parts_of_a_leg_make_its_end(damaged: Damaged) -> None:
    """A head that writes constants: (x + mix (inverse - x) + residual) gain + offset, with mix 0."""
    network = RestorerNetwork(widths=(8, 16), blocks=(1, 1), condition=16).eval()
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([0.04, 0.2, 0.02, -1.0]).repeat_interleave(12))
    inside = RestorerInternals(RestorePipeline(network, BridgeScheduler()))
    truth = truths(damaged.clean, damaged.clean, damaged.mixture)[0]
    (leg,) = inside.run(damaged.picture[:101, :90], truth)
    gain = float(np.exp(3 * np.tanh(0.2 / 3)))
    assert set(leg.kinds) == {"noise", "haze"} and leg.condition is not None and leg.condition.shape == (16,)
    for name, value in {"residual": 0.04, "gain": gain, "offset": 0.02, "mix": 0.0}.items():
        assert leg.parts[name].shape == (101, 90, 3) and np.allclose(leg.parts[name], value, atol=1e-5), name
    assert np.allclose(leg.end_HWC, ((leg.start_HWC + 0.04) * gain + 0.02).clip(0, 1), atol=1e-5)
    assert not network.head._forward_hooks


def test_a_built_in_expert_and_the_gradient_of_a_region(damaged: Damaged) -> None:
    inside = RestorerInternals(RestorePipeline.from_pretrained("built-in"))
    mixture = prescribe({"noise": 45}, 0)
    image = degrade(damaged.clean, mixture)
    picture, truth = to_uint8(image), truths(damaged.clean, image, mixture)[0]
    (leg,) = inside.run(picture, truth)
    assert leg.kinds == ("noise",) and leg.condition is not None and leg.parts.keys() == {"residual"}
    assert np.allclose(leg.end_HWC, (leg.start_HWC + leg.dose * leg.parts["residual"]).clip(0, 1), atol=1e-5)
    weak, strong = (inside.gradient(picture, truth.edit("noise", severity=s), (0, 0, 64, 64)) for s in (10, 60))
    assert weak["noise.severity"] > 0.1  # below what the picture shows, more is removed for each point
    assert strong["noise.severity"] == 0  # all of it is removed already


def test_other_restorers_are_refused() -> None:
    with pytest.raises(Error, match="RestorePipeline only"):
        RestorerInternals(object())
