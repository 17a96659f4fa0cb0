"""The quality adapter: nothing changes before it is trained or where nobody asks; then the picture goes by it."""

from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.degradation.errors import SetupError
from rnr.quality.loading import load_clip
from rnr.restorer import Intent, load_bridge
from rnr.restorer.bridge import BridgeScheduler
from rnr.restorer.expert import ExpertNetwork, Experts
from rnr.restorer.expert_train import grown
from rnr.restorer.latent import QualityAdapter, load_adapter
from rnr.restorer.latent.quality_adapter import FILE, conditioned, save_adapter
from rnr.restorer.latent.quality_adapter_train import AdapterObjective, AdapterRun, train_adapter
from rnr.restorer.pipeline import RestorePipeline
from rnr.work.models import Models

CAT = skimage.data.chelsea()
PIXELS = np.ascontiguousarray(CAT[:64, :80], np.float32) / 255
SHAPES: dict[str, dict[str, Any]] = {
    "noise": {"widths": (8, 16), "blocks": (1, 1)},
    "haze": {"widths": (), "blocks": (), "overview": True},
}


def of(*kinds: str) -> Diagnosis:
    return Diagnosis(findings={kind: Finding(present=True, severity=50) for kind in kinds}, plan=list(kinds))


def tiny_experts() -> Experts:
    """Of two kinds, a U-Net and an overview; they do something, as trained ones do."""
    torch.manual_seed(0)
    experts = Experts({kind: ExpertNetwork(kind, **shape) for kind, shape in SHAPES.items()})
    for parameter in experts.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return experts.eval()


def tiny_pipe() -> RestorePipeline:
    return RestorePipeline(None, BridgeScheduler(), tiny_experts())


@pytest.fixture(scope="module")
def scorer():
    return load_clip()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, scorer):
    """A folder of experts, and an adapter that was trained on them for a few steps."""
    folder = tmp_path_factory.mktemp("adapter")
    (folder / "photographs").mkdir()
    Image.fromarray(CAT).save(folder / "photographs" / "cat.png")
    tiny_pipe().save_pretrained(folder / "experts")
    run = AdapterRun(out=folder / "run", samples=16 * 6, rate=0.02, warm_up=1, ema=0.1, precision="fp32")
    path = train_adapter(folder / "photographs", run, scorer, folder / "experts", folder / "photographs")
    return folder / "experts", path


def test_an_untrained_adapter_changes_no_bit_of_the_built_in_experts(tmp_path):
    pipe, source = load_bridge(), of("noise", "blur", "haze")
    before = pipe.restore(PIXELS, source).pixels_HWC3
    path = save_adapter(QualityAdapter(conditioned(load_bridge().experts)), tmp_path / FILE, {})
    load_adapter(path, pipe)
    for quality in (0, 37.5, 100):
        assert np.array_equal(pipe.restore(PIXELS, source, Intent(quality=quality)).pixels_HWC3, before)


def test_gradient_reaches_the_adapter_and_not_the_experts(scorer):
    networks = conditioned(tiny_experts())
    adapter = QualityAdapter(networks)
    objective = AdapterObjective(adapter, networks, scorer, [CAT])
    for seed, kind in enumerate(objective.kinds):
        batch, count = objective.batch(0.0, seed)
        objective.loss(batch, 0.0, seed).backward()
        assert batch[0] == kind and count == 16 and 0 <= batch[2].min() <= batch[2].max() <= 100
    assert all(film.weight.grad.abs().sum() > 0 for films in adapter.films.values() for film in films)
    own = {id(parameter) for parameter in adapter.parameters()}
    weights = [p for network in networks.values() for p in network.parameters()]
    assert all(p.grad is None for p in weights if id(p) not in own)
    torch.nn.init.ones_(adapter.films["noise"][0].weight)
    objective.loss(objective.batch(0.0, 0)[0], 0.0, 0).backward()
    assert adapter.embedding.layers[0].weight.grad.abs().sum() > 0


def test_a_batch_follows_from_its_seed(scorer):
    networks = conditioned(tiny_experts())
    objective = AdapterObjective(QualityAdapter(networks), networks, scorer, [CAT])
    (_, leg, score), (_, again, same) = (objective.batch(0.0, 4)[0] for _ in range(2))
    assert torch.equal(leg.end, again.end) and torch.equal(score, same)
    assert not torch.equal(objective.batch(0.0, 6)[0][1].end, leg.end)


def test_the_picture_goes_by_the_score_and_the_record_names_the_adapter(trained):
    folder, path = trained
    plain, pipe = load_bridge(folder), load_bridge(folder)
    load_adapter(path, pipe)
    for kind in SHAPES:
        low, high = (pipe.restore(PIXELS, of(kind), Intent(quality=quality)) for quality in (0, 100))
        assert not np.array_equal(low.pixels_HWC3, high.pixels_HWC3)
        unasked = pipe.restore(PIXELS, of(kind))
        assert np.array_equal(unasked.pixels_HWC3, plain.restore(PIXELS, of(kind)).pixels_HWC3)
        assert "quality_adapter" not in unasked.settings and high.settings["quality"] == 100
        named = high.settings["quality_adapter"]
        assert str(path) in named["model"] and len(named["model_hash"]) == 16


def test_it_is_plugged_in_by_name(trained):
    folder, path = trained
    models = Models(restorer=str(folder), device="cpu", quality_adapter=str(path))
    assert models.pipeline.restore(PIXELS, of("noise"), Intent(quality=90)).settings["quality"] == 90
    assert models.asked["quality_adapter"] == str(path) and "quality_adapter" not in Models().asked
    with pytest.raises(SetupError, match="a quality lies in 0..100"):
        models.pipeline.restore(PIXELS, of("noise"), Intent(quality=101))


def test_in_bf16_only_the_u_net_is(trained):
    folder, path = trained
    pipe = Models(restorer=str(folder), device="cpu", dtype="bf16", quality_adapter=str(path)).pipeline
    assert isinstance(pipe, RestorePipeline)
    assert pipe.experts["noise"].middle[0].film.weight.dtype == torch.bfloat16
    assert pipe.experts["haze"].glance.film.weight.dtype == torch.float32
    low, high = (pipe.restore(PIXELS, of("noise"), Intent(quality=quality)).pixels_HWC3 for quality in (0, 100))
    assert low.dtype == np.float32 and not np.array_equal(low, high)


def test_what_does_not_fit_is_named_and_leaves_the_restorer_as_it_was(tmp_path, trained):
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    other = conditioned(Experts({"noise": ExpertNetwork("noise", widths=(8, 24), blocks=(1, 1))}))
    save_adapter(QualityAdapter(other), tmp_path / "other.safetensors", {})
    pipe = tiny_pipe()
    before = dict(pipe.experts.networks.items())
    for name in ("broken", "missing", "other"):
        with pytest.raises(OSError, match=f"{name}.safetensors: no quality adapter for this restorer.*train one on"):
            load_adapter(tmp_path / f"{name}.safetensors", pipe)
    assert dict(pipe.experts.networks.items()) == before
    with pytest.raises(SetupError, match="no dial of quality.*--quality-adapter"):
        pipe.restore(PIXELS, of("noise"), Intent(quality=90))
    with pytest.raises(SetupError, match="missing.safetensors: no quality adapter"):
        _ = Models(restorer=str(trained[0]), quality_adapter=str(tmp_path / "missing.safetensors")).pipeline


def test_experts_that_are_conditioned_already_are_refused():
    with pytest.raises(ValueError, match="noise conditioned already"):
        conditioned(Experts({"noise": grown(tiny_experts()["noise"], (), hidden=64)}))
    for nothing in (None, Experts()):
        with pytest.raises(ValueError, match="no experts"):
            conditioned(nothing)


def test_a_scorer_without_a_technical_score_is_refused(scorer):
    class Silent:
        identity = {"model": "silent"}

        def score(self, images):
            return [type("Scored", (), {"technical": None})() for _ in images]

    networks = conditioned(tiny_experts())
    objective = AdapterObjective(QualityAdapter(networks), networks, Silent(), [CAT])
    with pytest.raises(ValueError, match="silent: gives no technical score"):
        objective.batch(0.0, 0)
