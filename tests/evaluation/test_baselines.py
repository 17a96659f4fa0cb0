"""Each classical baseline improves the damage that it is meant for, and leaves shape and range alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnr.degradation.measure import psnr
from rnr.degradation.photographs import to_tensor
from rnr.degradation.synthesize import degrade
from rnr.evaluation.baselines import BASELINES, apply, guided_filter, noise_level
from rnr.evaluation.recipes import TASKS, Task, build, task_named

pytest.importorskip("skimage", reason="scikit-image belongs to the extra bench")

OWN = {
    "noise 25": ["wavelet", "nlm", "tv"],
    "haze": ["dark_channel", "auto_levels"],
    "rain": ["opening", "median"],
    "blur 2": ["unsharp", "wiener", "richardson_lucy"],
    "low light": ["auto_levels", "gamma", "clahe"],
    "jpeg 10": ["tv", "bilateral"],
}


@pytest.fixture(scope="module")
def clean(photographs: dict[str, np.ndarray]) -> torch.Tensor:
    return to_tensor(photographs["coffee"][100:292, 200:392])


def gain(clean: torch.Tensor, task: Task, chain: tuple[str, ...]) -> float:
    """PSNR in dB over the damaged input."""
    damaged = degrade(clean, build(task.recipe, 3))
    restored = apply(chain, damaged[0].permute(1, 2, 0).contiguous().numpy())
    return float(psnr(torch.from_numpy(restored).permute(2, 0, 1)[None], clean) - psnr(damaged, clean))


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, names in OWN.items() for name in names])
def test_a_baseline_improves_its_own_task(clean: torch.Tensor, task: str, name: str):
    assert gain(clean, task_named(task), (name,)) > 0.05


def test_chains_beat_half_of_themselves(clean: torch.Tensor):
    task = task_named("haze+noise")
    assert gain(clean, task, ("wavelet", "dark_channel")) > gain(clean, task, ("wavelet",)) + 1


@pytest.mark.parametrize("name", BASELINES)
def test_shape_and_range_stay(name: str):
    image = np.random.default_rng(0).uniform(0, 1, (45, 61, 3)).astype(np.float32)
    for picture in (image, np.zeros_like(image), np.ones_like(image)):
        result = apply((name,), picture)
        assert result.shape == picture.shape and result.dtype == np.float32
        assert np.isfinite(result).all() and result.min() >= 0 and result.max() <= 1


def test_the_noise_level_is_found():
    noise = np.random.default_rng(0).normal(0.5, 0.08, (128, 128, 3)).astype(np.float32)
    assert noise_level(noise) == pytest.approx(0.08, rel=0.05)


def test_the_guided_filter_keeps_the_edges_of_its_guide():
    guide = np.zeros((60, 60), np.float32)
    guide[:, 30:] = 1
    noisy = guide + np.random.default_rng(0).normal(0, 0.2, guide.shape).astype(np.float32)
    smooth = guided_filter(guide, noisy, 8, 1e-3)
    assert np.abs(smooth - guide).mean() < 0.2 * np.abs(noisy - guide).mean()
    assert smooth[:, 31].mean() - smooth[:, 28].mean() > 0.9


def test_every_task_names_known_baselines_and_builds():
    for task in TASKS:
        assert all(name in BASELINES for chain in task.baselines for name in chain)
        assert len(build(task.recipe, 0).steps) == len(task.recipe)


def test_factors_are_exactly_the_recipe_s():
    step = build(task_named("noise 25").recipe, 0).steps[0]
    assert float(step.factors["sigma"]) == 25
    low, high = 0.3, 0.7
    drawn = [float(build(task_named("haze").recipe, seed).steps[0].factors["transmission"]) for seed in range(20)]
    assert low <= min(drawn) < max(drawn) <= high


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"noise": {"sigma": 25.0}}, "names each factor once"),
        ({"noise": {"type": "pink", "sigma": 25.0, "colour": "grey"}}, "type must be one of"),
        ({"fog": {}}, "unknown kind"),
    ],
)
def test_a_wrong_recipe_says_why(recipe, message: str):
    with pytest.raises(ValueError, match=message):
        build(recipe, 0)
