"""Qwen-Image-Edit through the restorer's protocol, on tiny random components of the same classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from rnr.degradation.diagnosis import Diagnosis, Finding
from rnr.degradation.errors import SetupError
from rnr.degradation.intent import Intent
from rnr.restorer import edit_flow
from rnr.restorer.edit_flow import flow_step, look, sigmas_of, start, working_size
from rnr.restorer.loading import load, load_bridge
from rnr.restorer.other_models import DiffusersRestorer
from rnr.restorer.pipeline import RestorePipeline
from rnr.restorer.qwen_edit import QwenEditRestorer, edit_prompt
from tests.restorer.tiny_qwen import tiny_pipeline

AREA = 64 * 64
NOISY = Diagnosis(
    findings={"noise": Finding(present=True, severity=30), "haze": Finding(present=True, severity=50)},
    plan=["noise", "haze"],
)
PICTURE = np.random.default_rng(0).random((50, 70, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("qwen")
    tiny_pipeline().save_pretrained(path)
    return path


@pytest.fixture
def restorer(folder) -> QwenEditRestorer:
    return load(folder, area=AREA, num_inference_steps=3)  # type: ignore[return-value]


def test_it_is_chosen_by_what_the_folder_holds(restorer, folder) -> None:
    assert isinstance(restorer, QwenEditRestorer)
    assert isinstance(load("built-in"), RestorePipeline)
    with pytest.raises(SetupError, match="no-such"):
        load("no-such/model")
    with pytest.raises(SetupError, match="steam"):
        load("built-in", steam=True)
    with pytest.raises(SetupError, match="steam.*spelt right"):
        load(folder, steam=True)
    with pytest.raises(SetupError, match="needs the bridge's weights"):
        load_bridge(folder)


def test_a_full_gpu_names_what_to_turn(restorer, folder, monkeypatch) -> None:
    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(restorer, "rollout", full)
    with pytest.raises(MemoryError, match="offload"):
        restorer.restore(PICTURE, NOISY)
    monkeypatch.setattr(type(restorer.pipe), "to", full)
    for home in (QwenEditRestorer, DiffusersRestorer):
        with pytest.raises(MemoryError, match="offload"):
            home.from_pretrained(folder)


def test_the_original_size_comes_back_and_the_record_tells(restorer) -> None:
    result = restorer.restore(PICTURE, NOISY)
    assert result.pixels_HWC3.shape == PICTURE.shape and result.pixels_HWC3.dtype == np.float32
    assert result.settings["resize"]["from"] == [70, 50] and result.settings["resize"]["to"] == [64, 64]
    assert result.settings["prompt_version"] == "2" and "Dehaze" in result.settings["text"]
    assert result.settings["num_inference_steps"] == 3
    again = restorer.restore(PICTURE, NOISY)
    assert np.array_equal(result.pixels_HWC3, again.pixels_HWC3)
    assert not np.array_equal(result.pixels_HWC3, restorer.restore(PICTURE, NOISY, seed=1).pixels_HWC3)


def test_the_diagnosis_matters(restorer) -> None:
    weaker = NOISY.model_copy(update={"findings": NOISY.findings | {"noise": Finding(present=True, severity=90)}})
    one, other = (restorer.restore(PICTURE, diagnosis).pixels_HWC3 for diagnosis in (NOISY, weaker))
    assert not np.array_equal(one, other)


def test_nothing_found_is_left_alone(restorer) -> None:
    clean = Diagnosis(findings={"noise": Finding(present=False, severity=0)})
    assert restorer.restore(PICTURE, clean).pixels_HWC3 is PICTURE
    assert restorer.restore(PICTURE, NOISY, Intent(kinds=["rain"])).untouched


def test_the_prompt_names_what_is_wanted() -> None:
    assert "ehaze" not in edit_prompt(NOISY, Intent(kinds=["noise"]))
    assert "Warmer." in edit_prompt(NOISY, Intent(instruction="Warmer."))
    by_hand = NOISY.model_copy(update={"plan": []})
    assert edit_prompt(by_hand) == edit_prompt(NOISY), "a plan that was not written follows from the findings"
    assert "whatever damage" in edit_prompt(None)


def test_without_noise_it_is_the_pipelines_own_call(restorer, monkeypatch) -> None:
    module = "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus"
    monkeypatch.setattr(f"{module}.VAE_IMAGE_SIZE", AREA)
    monkeypatch.setattr(f"{module}.CONDITION_IMAGE_SIZE", AREA)
    monkeypatch.setattr(edit_flow, "CONDITION_IMAGE_SIZE", AREA)
    image = Image.fromarray((PICTURE * 255).round().astype(np.uint8))
    width, height = working_size(*image.size, AREA)
    theirs = restorer.pipe(
        image, edit_prompt(NOISY), " ", true_cfg_scale=4.0, height=height, width=width, num_inference_steps=3,
        generator=torch.Generator().manual_seed(5), output_type="latent",
    ).images  # fmt: skip
    ours = restorer.rollout(PICTURE, NOISY, None, 3, seeds=(5,), eta=0.0).samples[-1]
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_paths_are_scored_as_they_were_drawn(restorer) -> None:
    paths = restorer.rollout(PICTURE, NOISY, num_inference_steps=4, seeds=(1, 2), eta=0.7)
    assert paths.log_probs.shape == (3, 2) and len(paths.samples) == 5
    for index in range(3):
        assert torch.allclose(restorer.log_prob(paths, index), paths.log_probs[index], atol=1e-5)
    assert not torch.equal(paths.samples[-1][0], paths.samples[-1][1])
    assert restorer.decode(paths.samples[-1], paths).shape == (2, 50, 70, 3)
    with pytest.raises(ValueError, match="not stochastic"):
        restorer.log_prob(paths, 3)
    alone = restorer.rollout(PICTURE, NOISY, num_inference_steps=4, seeds=(2,), eta=0.7)
    assert torch.allclose(alone.samples[-1][0], paths.samples[-1][1], atol=1e-5), "a path depends on its seed alone"
    some = restorer.rollout(PICTURE, NOISY, num_inference_steps=4, eta=0.7, window=[1])
    assert some.log_probs.shape == (1, 1)
    with pytest.raises(ValueError, match=r"not stochastic; these are: \[1\]"):
        restorer.log_prob(some, 0)
    with pytest.raises(ValueError, match="two steps"):
        restorer.rollout(PICTURE, NOISY, num_inference_steps=1, eta=0.7)


def test_a_score_has_gradients(restorer) -> None:
    paths = restorer.rollout(PICTURE, NOISY, num_inference_steps=2, eta=0.7)
    restorer.log_prob(paths, 0).sum().backward()
    assert sum(float(p.grad.abs().sum()) for p in restorer.pipe.transformer.parameters() if p.grad is not None) > 0


def test_the_stochastic_step_keeps_the_marginals() -> None:
    """On gaussian data the velocity is known: x = sigma noise + (1 - sigma) clean, both standard normal."""
    generator = torch.Generator().manual_seed(0)
    sigmas = torch.linspace(1, 0, 101)
    sample = torch.randn(4000, 4, 1, generator=generator)
    for index in range(100):
        s = float(sigmas[index])
        speed = sample * (2 * s - 1) / (s**2 + (1 - s) ** 2)
        sample = flow_step(speed, sample, sigmas, index, 0.7, generator).prev_sample
    assert float(sample.std()) == pytest.approx(1, abs=0.05) and float(sample.mean()) == pytest.approx(0, abs=0.05)


def test_sigmas_go_down_to_zero(restorer) -> None:
    reported = look(restorer.pipe, Image.new("RGB", (64, 64)), "p", AREA)
    tokens = start(restorer.pipe, reported, 1, torch.Generator().manual_seed(0)).shape[1]
    sigmas = sigmas_of(restorer.pipe, 5, tokens)
    assert sigmas[0] == 1 and sigmas[-1] == 0 and (sigmas.diff() < 0).all()
    with pytest.raises(ValueError, match="1..1000"):
        sigmas_of(restorer.pipe, 0, tokens)


class Invert:
    """An image-to-image pipeline of another family."""

    def __call__(self, image, prompt, num_inference_steps=1, generator=None, strength=0.5):
        from types import SimpleNamespace

        self.seen = (prompt, strength)
        return SimpleNamespace(images=[Image.eval(image.resize((32, 32)), lambda v: 255 - v)])

    def set_progress_bar_config(self, **options) -> None:
        pass


def test_any_image_to_image_pipeline() -> None:
    pipe = Invert()
    result = DiffusersRestorer(pipe, "invert", call={"strength": 0.3}).restore(PICTURE, NOISY)
    assert result.pixels_HWC3.shape == PICTURE.shape and pipe.seen[1] == 0.3 and "Dehaze" in pipe.seen[0]
    assert result.settings["resize"]["to"] == [32, 32]
    with pytest.raises(ValueError, match="loudness"):
        DiffusersRestorer(pipe, call={"loudness": 11})
