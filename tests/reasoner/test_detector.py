"""The detector: what it is given, what it learns, what is shown of it."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import save_file

from rnr.degradation.diagnosis import reasoning_order
from rnr.degradation.photographs import centre_crop, to_tensor
from rnr.degradation.synthesize import degrade, prescribe
from rnr.reasoner import detector
from rnr.reasoner.card import check_card
from rnr.reasoner.detector_network import Detector
from rnr.reasoner.detector_train import SEVERITY, DetectorObjective, DetectorRun, train_detector
from rnr.reasoner.probe import read_error
from rnr.reasoner.views import views_of_batch

PHOTOGRAPHS = [centre_crop(getattr(skimage.data, name)(), 256) for name in ("astronaut", "chelsea", "coffee")]


def damaged(**severities):
    clean = torch.cat([to_tensor(picture) for picture in PHOTOGRAPHS])
    return views_of_batch(degrade(clean, prescribe(severities, seed=3, batch=len(clean))) if severities else clean)


def found(views):
    presence = torch.cat([detector.built_in()(one[None])[1] for one in views])[:, : len(reasoning_order())].sigmoid()
    return dict(zip(reasoning_order(), presence.T))


@pytest.mark.parametrize("kind", ["noise", "compression", "blur", "haze", "rain"])
def test_strong_damage_is_found_where_it_is_and_not_elsewhere(kind):
    clean, strong = found(damaged())[kind].mean(), found(damaged(**{kind: 50}))[kind].mean()
    assert strong > clean + 0.1


def test_a_picture_is_shown_the_same_alone_in_a_batch_and_by_several_threads():
    views, threads = damaged(noise=40), torch.get_num_threads()
    together = detector.maps(views)
    assert together.shape == (3, 3, 128, 128) and together.min() >= 0 and together.max() <= 1
    try:
        torch.set_num_threads(3)
        alone = torch.cat([detector.maps(one[None]) for one in views])
    finally:
        torch.set_num_threads(threads)
    assert torch.allclose(alone, together, atol=1e-6)


def test_each_kind_has_its_tile():
    count = len(reasoning_order())
    changed, whole, each = (
        torch.zeros(1, 3, count, 16, 16),
        torch.full((1, 2 * count + 1), -20.0),
        torch.zeros(1, 3, 2 * count),
    )
    changed[0, 0, 3, 0, 0], whole[0, 3], each[..., :count] = 0.5, 20.0, -20.0
    (shown,) = detector.drawn(changed, whole, each)
    bright = (shown > 0.4).nonzero()
    assert set(bright[:, 0].tolist()) == {0}, "the overview and the presence are red"
    assert bright[:, 1].min() == 32 and bright[:, 2].min() == 64, "the fourth kind: second row, right"
    assert shown[0, 32:34, 64:66].eq(0.5).all() and shown[0, 32:48, 96:112].eq(1).all()


def test_gradients_reach_the_pixels():
    views = damaged(noise=30).requires_grad_(True)
    detector.maps(views).sum().backward()
    assert views.grad.abs().sum() > 0


def test_a_detector_learns_is_written_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("rnr.reasoner.detector_train.SETTLED", 2)
    for number, picture in enumerate(PHOTOGRAPHS):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    run = DetectorRun(out=tmp_path / "a", samples=64, precision="fp32", warm_up=16, rate=4e-3)
    path = train_detector(tmp_path, run)
    network, about = detector.load_detector(path)
    assert about["samples"] == 64 and about["kinds"] == reasoning_order()
    batch = DetectorObjective(network, PHOTOGRAPHS).batch(0.5, 9)[0]
    torch.manual_seed(0)
    untrained = DetectorObjective(Detector(reasoning_order()), PHOTOGRAPHS)
    assert DetectorObjective(network, PHOTOGRAPHS).loss(batch, 1.0, 0) < untrained.loss(batch, 1.0, 0)
    again = train_detector(tmp_path, run.model_copy(update={"out": tmp_path / "b", "samples": 16}), init=path)
    assert detector.load_detector(again)[1]["samples"] == 80


def test_severity_counts_where_a_kind_is_present():
    truth = torch.tensor([[0.0, 0.5]])
    right, wrong = torch.tensor([[-20.0, 20.0, 0.9, 0.5]]), torch.tensor([[-20.0, 20.0, 0.0, 0.9]])
    assert read_error(right, truth, SEVERITY) < 1e-3 and np.isclose(
        read_error(wrong, truth, SEVERITY), 2 * 0.4, atol=1e-3
    )


def test_what_is_no_detector_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(OSError, match="x.safetensors: no detector"):
        detector.load_detector(path)
    with pytest.raises(OSError, match="no detector"):
        detector.load_detector(tmp_path / "missing.safetensors")


def test_weights_that_learned_from_another_detector_are_refused():
    with pytest.raises(ValueError, match="this release has"):
        check_card({"detector": "0" * 16}, "reasoner x")
    check_card({"detector": detector.identity()}, "reasoner x")
