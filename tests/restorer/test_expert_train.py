"""`rnr train expert` end to end, small."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.restorer.estimates import estimate_of
from rnr.restorer.expert import ExpertNetwork, Experts, load_expert, save_expert
from rnr.restorer.expert_train import ExpertObjective, train_expert
from rnr.restorer.reading import fit
from rnr.training import Run


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("chelsea", "astronaut"):
        Image.fromarray(getattr(skimage.data, name)()).save(folder / f"{name}.png")
    return folder


def test_an_expert_learns_is_written_and_goes_on_from_its_file(tmp_path, photographs):
    torch.manual_seed(0)
    fresh = ExpertNetwork("noise", widths=(32, 48, 64), blocks=(1, 1, 1))  # the built-in ones are wider
    save_expert(fresh, tmp_path / "noise.safetensors", {})
    run = Run(out=tmp_path / "a", samples=1200, rate=4e-3, precision="fp32", ema=0.9)
    path = train_expert("noise", photographs, run, val=photographs, init=tmp_path / "noise.safetensors")
    card = load_expert(path)[1]
    figures = card["figures"]
    untrained = ExpertObjective(fresh, [], [skimage.data.chelsea(), skimage.data.astronaut()])
    before = untrained.validate(fresh)
    assert figures["noise 45"] > before["noise 45"] + 1 and card["samples"] >= 1200
    more = run.model_copy(update={"out": tmp_path / "b", "samples": 16})
    longer = train_expert("noise", photographs, more, init=path)
    assert load_expert(longer)[1]["samples"] >= 1200 + 16


def test_an_expert_that_reads_severity_reads_by_its_new_features_after_training(tmp_path, photographs, monkeypatch):
    monkeypatch.setattr("rnr.restorer.reading.COUNT", 80)
    network = fit(ExpertNetwork("noise", blocks=(1, 1, 1)).eval(), [skimage.data.astronaut()])
    save_expert(network, tmp_path / "noise.safetensors", {})
    run = Run(out=tmp_path / "a", samples=32, precision="fp32")
    longer, _ = load_expert(train_expert("noise", photographs, run, init=tmp_path / "noise.safetensors"))
    assert longer.config["reads"] and longer.reading is not None and network.reading is not None
    assert not torch.allclose(longer.reading.weight, network.reading.weight, atol=1e-3)


def test_what_cannot_be_trained_is_named(tmp_path, photographs):
    run = Run(out=tmp_path, samples=16, precision="fp32")
    with pytest.raises(ValueError, match="unknown kind"):
        train_expert("dust", photographs, run)
    with pytest.raises(ValueError, match="no photographs"):
        train_expert("noise", tmp_path, run)


def test_a_blind_expert_sees_neither_time_nor_finding(tmp_path, photographs):
    """Where another has learned from the bridge's states, its weights for them are still zero."""
    trained = {}
    for blind in (True, False):
        small = ExpertNetwork("rain", widths=(8, 16, 32))
        save_expert(small, tmp_path / "rain.safetensors", {})
        run = Run(out=tmp_path / str(blind), samples=64, precision="fp32")
        path = train_expert(
            "rain", photographs, run, init=tmp_path / "rain.safetensors", residue=Experts(), blind=blind
        )
        trained[blind], card = load_expert(path)
        assert ("--blind" in card["command"]) is blind and "--residue RESTORER" in card["command"]
    assert not trained[True].state.weight.any() and trained[False].state.weight.any()
    image = torch.rand(1, 3, 64, 64)
    weak, strong = (
        estimate_of(trained[True], Diagnosis(findings={"rain": Finding(present=True, severity=s)}), 64)(image, image, 1)
        for s in (10, 80)
    )
    assert torch.equal(weak, strong) and not torch.equal(weak, image)


@pytest.mark.parametrize("shape", [{"physics": True}, {"finding": True}, {"spread": True}])
def test_a_blind_expert_cannot_be_given_the_finding(tmp_path, photographs, shape):
    run = Run(out=tmp_path, samples=16, precision="fp32")
    with pytest.raises(ValueError, match="--blind sees nothing of the finding; leave out"):
        train_expert("blur", photographs, run, blind=True, **shape)


def test_later_crops_are_larger_and_count_for_more():
    objective = ExpertObjective(ExpertNetwork("noise"), [np.zeros((256, 256, 3), np.uint8)])
    (early, few), (late, many) = objective.batch(0.0, 1), objective.batch(0.9, 1)
    assert early.start.shape[-1] == 64 and few == 16 and late.start.shape[-1] == 128 and many == 24
