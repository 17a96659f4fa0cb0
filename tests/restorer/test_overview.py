"""Experts that look at the whole picture."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from rnr.degradation.kind import kind_named
from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import degrade, prescribe, truths
from rnr.restorer import BridgeScheduler, Experts, RestorePipeline
from rnr.restorer.expert import ExpertNetwork, load_expert, save_expert
from rnr.restorer.expert_data import retoned
from rnr.restorer.expert_train import train_expert
from rnr.restorer.overview import Tones, toned
from rnr.training import Run
from tests.restorer.tiles import assert_tiles_agree, randomised

CLEAN = to_tensor(skimage.data.chelsea()[:256, :384])


def test_the_formula_undoes_haze_and_darkness():
    t, veil, gamma = 0.4, 0.8, 2.0
    ones = torch.ones(1, 3)
    hazy = CLEAN * t + veil * (1 - t)
    light = torch.full((1, 6, 16, 16), -float(np.log(t)))
    rows = (0, 256, 256)
    torch.testing.assert_close(toned(hazy, Tones(light, veil * ones, ones), rows), CLEAN, atol=1e-4, rtol=0)
    dark = t * CLEAN.clamp(min=0.02) ** gamma
    torch.testing.assert_close(
        toned(dark, Tones(light, 0 * ones, ones / gamma), rows), CLEAN.clamp(min=0.02), atol=2e-2, rtol=0
    )


def test_bands_of_rows_are_the_whole(monkeypatch):
    network = ExpertNetwork("haze", (), (), overview=True)
    torch.nn.init.normal_(network.glance.numbers.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = network.glance.undo(CLEAN)
        monkeypatch.setattr("rnr.restorer.overview.BAND", 50)
        torch.testing.assert_close(network.glance.undo(CLEAN), whole, atol=1e-6, rtol=0)
    assert (whole - CLEAN).abs().mean() > 1e-3


def test_an_overview_is_trained_alone_and_a_u_net_is_added_to_it(tmp_path):
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "a.png")
    run = Run(out=tmp_path / "a", samples=48, precision="fp32")
    path = train_expert("haze", tmp_path, run, overview=True)
    alone, card = load_expert(path)
    assert alone.config["widths"] == [] and card["samples"] == 48
    longer = train_expert("haze", tmp_path, run.model_copy(update={"out": tmp_path / "b", "samples": 24}), init=path)
    both, _ = load_expert(longer)
    assert both.config["widths"] and alone.glance and both.glance
    assert all(torch.equal(p, q) for p, q in zip(alone.glance.parameters(), both.glance.parameters()))


@pytest.mark.parametrize("widths", [(), (8, 8)])
def test_the_pipeline_shows_it_the_whole_picture_whatever_the_tiles(tmp_path, widths):
    network = randomised(ExpertNetwork("haze", widths, (1,) * len(widths), overview=True))
    assert_tiles_agree(network, CLEAN, 60, tmp_path, atol=1e-4)


def test_the_built_in_haze_expert_undoes_haze():
    pipe = RestorePipeline.from_pretrained("built-in")
    mixture = prescribe({"haze": 55}, seed=3)
    hazy = degrade(CLEAN, mixture)
    restored = pipe(hazy, truths(CLEAN, hazy, mixture), output_type="pt").images
    error, before = (float(((x - CLEAN) ** 2).mean()) for x in (restored, hazy))
    assert error < 0.3 * before


def test_an_overview_that_takes_physics_begins_as_its_inverse_and_corrects_it_both_ways():
    network = ExpertNetwork("haze", (), (), physics=True, overview=True)
    start, inverse = 0.5 * CLEAN + 0.4, CLEAN.clamp(1e-3, 1)
    one = torch.ones(1)
    with torch.no_grad():
        undone = network.glance.undo(start, inverse)
        assert torch.allclose(start + network(start, start, one, undone), inverse, atol=1e-5)
        assert torch.allclose(start + network(start, start, one), start, atol=1e-5), "nothing known: the picture itself"
        for bias, brighter in ((0.5, True), (-0.5, False)):
            network.glance.numbers.bias.copy_(torch.tensor([0, 0, 0, 0, bias, bias, bias]))
            assert bool(network.glance.undo(start, inverse).mean() > inverse.mean()) == brighter


def test_the_pipeline_gives_it_the_inverse_by_the_diagnosis(tmp_path):
    save_expert(ExpertNetwork("low_light", (), (), physics=True, overview=True), tmp_path / "low_light.safetensors", {})
    pipe = RestorePipeline(None, BridgeScheduler(), experts=Experts.from_pretrained(tmp_path))
    mixture = prescribe({"low_light": 50}, 3)
    dark = degrade(CLEAN, mixture)
    (truth,) = truths(CLEAN, dark, mixture)
    kind = kind_named("low_light")
    expected = kind.invert(dark, kind.values(truth.findings["low_light"].factors)).clamp(1e-3, 1)
    given = pipe.restore(dark[0].permute(1, 2, 0).numpy(), truth, tile=64).pixels_HWC3
    torch.testing.assert_close(torch.from_numpy(given).permute(2, 0, 1), expected[0], atol=0.01, rtol=0)


def test_photographs_in_other_tones_are_the_same_photographs():
    batch = CLEAN.expand(4, -1, -1, -1)
    other, again = (retoned(batch, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(other, again) and float(other.min()) >= 0 and float(other.max()) <= 1
    means = other.mean((2, 3))
    assert float(means.std(0).min()) > 0.01, "each has tones of its own"
    order = CLEAN[0, 0].flatten()[::97].argsort()
    assert (other[1, 0].flatten()[::97][order].diff() >= 0).all(), "what is brighter stays brighter"
