"""The pipeline: format, determinism, untouched pictures, any size; and that the shipped weights do their work."""

import json

import numpy as np
import pytest
import skimage.data
import torch

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord, Finding
from rnr.degradation.errors import SetupError
from rnr.degradation.measure import psnr
from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import degrade, prescribe, truths
from rnr.restorer import BridgeScheduler, Intent, RestorePipeline, RestorerNetwork, load
from rnr.restorer.export import export
from rnr.restorer.pipeline import BUILT_IN
from tests.networks import SMALL, heedful

NOTHING = Diagnosis(findings={"noise": Finding(present=False, severity=0)})


@pytest.fixture
def network() -> RestorerNetwork:
    return heedful()


@pytest.fixture(scope="module")
def pipe() -> RestorePipeline:
    return RestorePipeline.from_pretrained("built-in")


def damaged(request: dict[str, float], size: int = 160, seed: int = 3):
    clean = to_tensor(skimage.data.chelsea()[60 : 60 + size, 120 : 120 + size])
    mixture = prescribe(request, seed)
    degraded = degrade(clean, mixture)
    return clean, degraded, truths(clean, degraded, mixture)[0], mixture


def pixels(image: torch.Tensor) -> np.ndarray:
    return image[0].permute(1, 2, 0).contiguous().numpy()


def quality(result: np.ndarray, clean: torch.Tensor) -> float:
    return float(psnr(torch.from_numpy(result).permute(2, 0, 1)[None], clean))


GAINS = {
    "noise": (45, 2),
    "haze": (60, 2),
    "rain": (70, 2),
    "blur": (45, 0.5),
    "low_light": (75, 2),
    "compression": (45, 0),
    "low_resolution": (45, 0.3),
}


@pytest.mark.parametrize("kind", GAINS)
def test_each_kind_is_lessened_by_its_true_diagnosis(pipe, kind):
    severity, gain = GAINS[kind]  # dB; compression: better at all
    clean, degraded, diagnosis, _ = damaged({kind: severity})
    restored = pipe.restore(pixels(degraded), diagnosis).pixels_HWC3
    assert quality(restored, clean) > quality(pixels(degraded), clean) + gain


def test_what_is_not_diagnosed_stays(pipe):
    clean, degraded, diagnosis, mixture = damaged({"haze": 60, "noise": 45})
    keep = {"haze": torch.tensor([True]), "noise": torch.tensor([False])}
    hazy = degrade(clean, mixture, keep)
    only_noise = pipe.restore(pixels(degraded), diagnosis, Intent(kinds=["noise"])).pixels_HWC3
    assert quality(only_noise, hazy) > quality(pixels(degraded), hazy) + 1, "the noise goes"
    assert quality(only_noise, hazy) > quality(only_noise, clean) + 3, "the haze stays"


def test_nothing_found_returns_the_same_picture(pipe):
    picture = np.random.default_rng(0).random((33, 47, 3), dtype=np.float32)
    result = pipe.restore(picture, NOTHING)
    assert result.untouched and result.pixels_HWC3 is picture
    noisy = Diagnosis(findings={"noise": Finding(present=True, severity=30)}, plan=["noise"])
    assert pipe.restore(picture, noisy, Intent(kinds=["haze"])).pixels_HWC3 is picture


def test_a_record_without_a_diagnosis_is_refused_with_its_reason(pipe):
    with pytest.raises(ValueError, match="blank page"):
        pipe.restore(np.zeros((32, 32, 3), np.float32), DiagnosisRecord(diagnosis=None, error="blank page"))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (15, 17), (64, 65)])
def test_any_size(pipe, size):
    _, _, diagnosis, _ = damaged({"noise": 40})
    picture = np.full((*size, 3), 0.5, np.float32)
    result = pipe.restore(picture, diagnosis)
    assert result.pixels_HWC3.shape == picture.shape and np.isfinite(result.pixels_HWC3).all()


def test_same_input_same_output_and_the_seed_matters_only_with_noise(pipe):
    _, degraded, diagnosis, _ = damaged({"noise": 40}, size=64)
    x = pixels(degraded)

    def run(**options) -> np.ndarray:
        return pipe.restore(x, diagnosis, num_inference_steps=2, **options).pixels_HWC3

    assert np.array_equal(run(seed=1), run(seed=2))
    assert np.array_equal(run(seed=1, eta=1.0), run(seed=1, eta=1.0))
    assert not np.array_equal(run(seed=1, eta=1.0), run(seed=2, eta=1.0))


def test_every_step_is_reported(pipe):
    _, degraded, diagnosis, _ = damaged({"noise": 40}, size=64)
    seen = []
    pipe.restore(
        pixels(degraded),
        diagnosis,
        num_inference_steps=4,
        callback_on_step_end=lambda _, index, t, state: seen.append((index, t, state["sample"].shape)),
    )
    assert [(index, t) for index, t, _ in seen] == [(0, 1.0), (1, 0.75), (2, 0.5), (3, 0.25)]


def test_tiled_equals_whole(pipe):
    clean = to_tensor(np.tile(skimage.data.astronaut(), (2, 2, 1))[:700, :600])
    mixture = prescribe({"haze": 50, "noise": 40}, 5)
    degraded = degrade(clean, mixture)
    diagnosis = truths(clean, degraded, mixture)[0]
    whole = pipe.restore(pixels(degraded), diagnosis, tile=4096).pixels_HWC3
    error = np.abs(pipe.restore(pixels(degraded), diagnosis, tile=256).pixels_HWC3 - whole)
    assert error.max() < 1 / 255 and error.mean() < 0.1 / 255


def test_save_and_load_give_the_same_picture(pipe, network, tmp_path):
    card = {"data": "d", "training": "t", "samples": 1, "samples_before": 0, "command": "c", "figures": "f"}
    first = RestorePipeline.from_pretrained(export(network, tmp_path / "w", card))
    first.save_pretrained(tmp_path / "v")
    again = RestorePipeline.from_pretrained(export(first.network, tmp_path / "v", card))
    _, degraded, diagnosis, _ = damaged({"rain": 60}, size=64)
    x, alone = pixels(degraded), RestorePipeline(network, pipe.scheduler)
    for source in (diagnosis, None):  # one network restores without a diagnosis, too
        one, two, three = (each.restore(x, source).pixels_HWC3 for each in (again, first, alone))
        assert np.array_equal(one, two) and np.allclose(one, three, atol=1e-6)
    assert again.identity["model_hash"] == first.identity["model_hash"] != pipe.identity["model_hash"]


def test_module_paths_are_the_file_format(tmp_path):
    RestorePipeline(RestorerNetwork(**SMALL), BridgeScheduler()).save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["network"] == ["rnr.restorer.network", "RestorerNetwork"]
    assert index["scheduler"] == ["rnr.restorer.bridge", "BridgeScheduler"]


def test_a_folder_with_the_module_paths_of_before_is_read(tmp_path):
    pipe = RestorePipeline(RestorerNetwork(**SMALL), BridgeScheduler())
    pipe.save_pretrained(tmp_path)
    path = tmp_path / "model_index.json"
    index = json.loads(path.read_text())
    index |= {name: [index[name][0].removeprefix("rnr."), index[name][1]] for name in ("network", "scheduler")}
    assert index["network"][0] == "restorer.network" and index["scheduler"][0] == "restorer.bridge"
    path.write_text(json.dumps(index))
    again = RestorePipeline.from_pretrained(tmp_path)
    assert type(again.network) is RestorerNetwork and type(again.scheduler) is BridgeScheduler
    kept, read = pipe.network.state_dict(), again.network.state_dict()
    assert kept.keys() == read.keys() and all(torch.equal(kept[name], read[name]) for name in kept)


def test_shipped_weights_are_small_and_safe():
    folder = BUILT_IN
    assert not list(folder.rglob("*.bin")) and not list(folder.rglob("*.pt"))
    assert sum(path.stat().st_size for path in folder.rglob("*.safetensors")) < 80e6  # of 90 MB in all


def test_bf16_is_repeatable_and_next_to_float32(pipe):
    half = load("built-in", dtype="bf16")
    assert half.identity == pipe.identity | {"dtype": "bfloat16"}
    for kind in ("noise", "blur", "low_light"):  # dense, with a reader, with an overview
        _, degraded, diagnosis, _ = damaged({kind: 45})
        once, again, exact = (each.restore(pixels(degraded), diagnosis).pixels_HWC3 for each in (half, half, pipe))
        assert once.dtype == np.float32 and np.array_equal(once, again)
        assert 0 < 255 * np.abs(once - exact).mean() < 0.5, "measured: 0.03 to 0.12"  # the whole range is 255
    with pytest.raises(SetupError, match="dtype is float32, bfloat16 or float16, not 'half'"):
        load("built-in", dtype="half")
    with pytest.raises(SetupError, match="fp16 is for GPUs.*take bf16"):
        load("built-in", dtype="fp16")


def test_in_bf16_a_whole_picture_is_still_read_in_float32():
    half = load("built-in", dtype="bf16").experts
    assert half["blur"].head.weight.dtype == half["noise"].head.weight.dtype == torch.bfloat16
    assert half["blur"].reader.out.weight.dtype == half["haze"].glance.numbers.weight.dtype == torch.float32


def test_the_built_in_one_needs_a_diagnosis_or_a_reasoner(pipe):
    picture = np.full((64, 64, 3), 0.5, np.float32)
    assert pipe.network is None
    with pytest.raises(ValueError, match=r"rnr.diagnose\(image\), or set pipe.diagnoser"):
        pipe(picture)
    with pytest.raises(ValueError, match="experts restore by a diagnosis: make one"):
        pipe.restore(picture, None)


def test_missing_and_broken_weights_are_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        RestorePipeline.from_pretrained(tmp_path / "nowhere")
    RestorePipeline(RestorerNetwork(**SMALL), BridgeScheduler()).save_pretrained(tmp_path / "broken")
    weights = next((tmp_path / "broken" / "network").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(OSError, match="broken"):
        RestorePipeline.from_pretrained(tmp_path / "broken")


def test_one_step_sees_the_picture_upside_down_too(network):
    pipe = RestorePipeline(network, BridgeScheduler())  # experts look once
    _, degraded, diagnosis, _ = damaged({"low_light": 50})
    upright = pixels(degraded)
    reversed_ = np.ascontiguousarray(upright[::-1, ::-1])

    def apart(steps: int) -> float:
        one, other = (pipe.restore(x, diagnosis, num_inference_steps=steps).pixels_HWC3 for x in (upright, reversed_))
        return float(np.abs(one - other[::-1, ::-1]).max())

    assert apart(1) < 1e-4 < apart(2), "more steps are for texture and look once"
