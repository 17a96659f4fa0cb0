"""The reader of a blur's point spread function, and the expert that restores by what it read."""

from __future__ import annotations

import pytest
import skimage.data
import torch
from PIL import Image

from rnr.degradation.kind import kind_named
from rnr.degradation.log_spectrum import log_spectrum
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import rounded, to_tensor
from rnr.restorer import RestorePipeline, point_spread_train
from rnr.restorer.expert import ExpertNetwork, Experts, load_expert
from rnr.restorer.expert_train import train_expert
from rnr.restorer.point_spread import PointSpreadReader, loss
from rnr.training import Run
from tests.restorer.tiles import assert_tiles_agree, randomised

CLEAN = to_tensor(skimage.data.astronaut()[:256, 96:352])
BLUR = kind_named("blur")
MOTION = {"type": torch.tensor([2]), "width": torch.tensor([4.33]), "angle": torch.tensor([40.0])}


def reads_motion(network: ExpertNetwork) -> ExpertNetwork:
    """The network, whose reader sees MOTION in every picture."""
    assert network.reader is not None
    with torch.no_grad():
        network.reader.out.weight.zero_()
        for place in (2, 4 + 8, 4 + 36 + 18):  # type, 40 degrees, about 4.3 px
            network.reader.out.bias[place] = 50
    return network


def test_a_picture_mirrored_has_its_spectrum_mirrored():
    seen, mirrored = log_spectrum(CLEAN), log_spectrum(CLEAN.flip(-1))
    torch.testing.assert_close(mirrored, seen.flip(-1).roll(1, -1), atol=1e-4, rtol=0)


def test_a_picture_smaller_than_a_window_shows_nothing():
    blurred, factors = PointSpreadReader().read(torch.rand(2, 3, 63, 200))
    assert blurred.tolist() == [False, False] and len(factors["width"]) == 2


def test_the_loss_is_least_for_what_is_true():
    blurred = torch.tensor([True])
    right = [torch.zeros(1, 4), torch.zeros(1, 36), torch.zeros(1, 24)]
    for logits, place in zip(right, (2, 8, 18)):
        logits[0, place] = 3
    wrong = [*right[:1], right[1].roll(9, 1), right[2]]
    assert loss(tuple(right), blurred, MOTION) < loss(tuple(wrong), blurred, MOTION)
    still = loss(tuple(right), ~blurred, MOTION), loss(tuple(wrong), ~blurred, MOTION)
    assert still[0] == still[1], "a picture that is not blurred has no angle"


def test_physics_undoes_what_was_read_and_leaves_what_is_not_blurred():
    network = reads_motion(ExpertNetwork("blur", (8, 8), (1, 1), spread=True))
    blurred = rounded(BLUR.apply(CLEAN, MOTION, 3))
    assert network.reader is not None
    undone = network.undo(blurred, network.reader.read(blurred)).clamp(0, 1)
    assert psnr(undone, CLEAN) > psnr(blurred, CLEAN) + 1.5
    nothing = (torch.tensor([False]), MOTION)
    assert network.undo(blurred, nothing) is blurred


def test_it_begins_as_the_network_without_a_reader():
    torch.manual_seed(0)
    network = ExpertNetwork("blur", (8, 8), (1, 1))
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.1)
    larger = ExpertNetwork("blur", (8, 8), (1, 1), spread=True)
    larger.load_state_dict(network.state_dict(), strict=False)
    one = torch.ones(1)
    with torch.no_grad():
        assert torch.equal(network(CLEAN, CLEAN, one), reads_motion(larger)(CLEAN, CLEAN, one))


def test_a_reader_is_trained_alone_and_the_network_after_it(tmp_path):
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "a.png")
    run = Run(out=tmp_path / "a", samples=600, precision="fp32")
    path = train_expert("blur", tmp_path, run, spread=True, val=tmp_path)
    alone, card = load_expert(path)
    assert "--point-spread" in card["command"] and 0 <= card["figures"]["clean"] <= 1
    assert not alone.head.weight.any(), "the rest stands still"
    longer = train_expert("blur", tmp_path, run.model_copy(update={"out": tmp_path / "b", "samples": 48}), init=path)
    both, _ = load_expert(longer)
    assert alone.reader and both.reader and both.mix
    assert all(torch.equal(p, q) for p, q in zip(alone.reader.parameters(), both.reader.parameters()))
    assert both.mix.weight.any(), "the inverse is used"


def test_a_share_of_what_the_reader_sees_went_through_the_experts_before_it(monkeypatch):
    monkeypatch.setattr(point_spread_train, "BATCH", 8)
    before, seen = ExpertNetwork("noise", (8, 8), (1, 1)), []
    before.register_forward_hook(lambda network, given, out: seen.append(len(given[0])))
    network = ExpertNetwork("blur", (8, 8), (1, 1), spread=True)
    objective = point_spread_train.PointSpreadObjective(
        network, [skimage.data.astronaut()], experts=Experts({"noise": before})
    )
    batches = [objective.batch(0.5, seed)[0] for seed in range(12)]
    assert all(spectra.isfinite().all() and len(spectra) == 8 for spectra, _, _ in batches)
    assert 1 <= len(seen) <= 6 and sum(seen) < 8 * len(seen), "only what was noisy goes through noise's expert"


def test_tiles_restore_by_what_the_whole_picture_shows(tmp_path):
    network = reads_motion(randomised(ExpertNetwork("blur", (8, 8), (1, 1), spread=True)))
    assert_tiles_agree(network, CLEAN, 50, tmp_path, atol=1e-5)


@pytest.mark.parametrize("name, width, gain", [("gaussian", 2.0, 1.5), ("defocus", 1.5, 1.5), ("motion", 4.33, 1.0)])
def test_the_built_in_expert_reads_the_blur_and_undoes_it(name, width, gain, photographs):
    pipe = RestorePipeline.from_pretrained("built-in")
    clean = torch.cat([to_tensor(photographs[p][:256, :256]) for p in ("astronaut", "chelsea", "coffee")])
    factors = {"type": torch.full((3,), ("gaussian", "defocus", "motion").index(name))}
    factors |= {"width": torch.full((3,), width), "angle": torch.tensor([20.0, 75.0, 130.0])}
    blurred = rounded(BLUR.apply(clean, factors, 3))
    expert = pipe.experts["blur"]
    found, read = expert.reader.read(blurred)
    assert found.all() and (read["type"] == factors["type"]).sum() >= 2
    with torch.no_grad():
        restored = (blurred + expert(blurred, blurred, torch.ones(3))).clamp(0, 1)
    assert psnr(restored, clean).mean() > psnr(blurred, clean).mean() + gain
