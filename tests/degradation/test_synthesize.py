"""Recipes of damage: the curriculum, repeats, partial targets, true diagnoses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnr.degradation import Diagnosis, degrade, draw_mixture, kind_named, kinds, truths
from rnr.degradation.measure import loss_of_severity, psnr, severity_of_loss
from rnr.degradation.photographs import random_crops
from rnr.degradation.synthesize import CLOSE, HOW_MANY, VISIBLE, Mixture, Stage, Step, prescribe, synthesize

STAGES: tuple[Stage, ...] = ("single", "several", "high_order")


def mixture_of(severities: list[tuple[str, float]], batch: int, seed: int = 0) -> Mixture:
    generator = torch.Generator().manual_seed(seed)
    steps = []
    for position, (name, severity) in enumerate(severities):
        kind = kind_named(name)
        factors = kind.draw(torch.full((batch,), severity), generator)
        steps.append(Step(kind, torch.ones(batch, dtype=torch.bool), factors, seed + position))
    return Mixture(steps, batch)


def names(mixture: Mixture) -> list[str]:
    return [step.kind.name for step in mixture.steps]


def test_a_photograph_that_is_too_small_for_a_crop_is_drawn_again() -> None:
    small, large = np.zeros((40, 90, 3), np.uint8), np.full((64, 96, 3), 255, np.uint8)
    crops = random_crops([small, large, large, large], 32, (60, 80), torch.Generator().manual_seed(0))
    assert crops.shape == (32, 3, 60, 80) and crops.min() == 1
    only = random_crops([small], 2, (60, 80), torch.Generator().manual_seed(0))
    assert only.shape == (2, 3, 60, 80), "mirrored up where there is no other"


def test_upright_crops_are_not_turned() -> None:
    sky = np.repeat(np.linspace(255, 0, 64).astype(np.uint8)[:, None, None], 64, 1).repeat(3, 2)
    generator = torch.Generator().manual_seed(0)
    upright = random_crops([sky], 16, (32, 32), generator, upright=True)
    assert (upright[:, :, 0] > upright[:, :, -1]).all()
    turned = random_crops([sky], 16, (32, 32), generator)
    assert not (turned[:, :, 0] > turned[:, :, -1]).all()


@pytest.mark.parametrize("stage", STAGES)
def test_the_same_seed_gives_the_same_pictures_and_labels(stage: Stage, clean: torch.Tensor) -> None:
    first, second, other = (synthesize(clean, seed, stage) for seed in (3, 3, 4))
    assert torch.equal(first[0], second[0])
    assert [d.to_json() for d in first[1]] == [d.to_json() for d in second[1]]
    assert not torch.equal(first[0], other[0])
    assert torch.equal(first[0], (first[0] * 255).round() / 255)  # eight bits, as a file would hold it


def test_the_curriculum_goes_from_single_to_several_to_repeated_in_any_order() -> None:
    generator = torch.Generator().manual_seed(0)
    usual = list(kinds())
    drawn = {stage: [draw_mixture(64, generator, stage) for _ in range(12)] for stage in STAGES}

    def most_at_once(stage: Stage) -> int:
        counts = [torch.stack([m.severity(name) > 0 for name in usual]).sum(0).max() for m in drawn[stage]]
        return int(max(counts))

    assert most_at_once("single") == 1
    assert most_at_once("several") == len(HOW_MANY["several"]) - 1 < most_at_once("high_order")
    assert all(names(m) == usual for m in drawn["single"])
    assert 0 < sum(names(m) != usual for m in drawn["several"]) < 12
    assert all(len(names(m)) > len(usual) for m in drawn["high_order"])


def test_severities_are_spread_over_what_each_kind_can_reach() -> None:
    mixture = draw_mixture(4000, torch.Generator().manual_seed(0), "single", ["noise"], (20, 50))
    hit = mixture.steps[0].mask_B
    severities = mixture.severity("noise")
    assert float(hit.float().mean()) == pytest.approx(HOW_MANY["single"][1], abs=0.03)
    assert severities[~hit].max() == 0 and severities[hit].min() > 19.9 and severities[hit].max() < 50.1
    assert float(severities[hit].mean()) == pytest.approx(35, abs=1)


def test_repeats_add_up_as_losses_do() -> None:
    twice = mixture_of([("noise", 30), ("haze", 20), ("noise", 40)], 3)
    twice.steps[2].mask_B = torch.tensor([True, False, True])
    left = (1 - loss_of_severity(torch.tensor(30.0))) * (1 - loss_of_severity(torch.tensor(40.0)))
    both = float(severity_of_loss(1 - left))
    assert twice.severity("noise").tolist() == pytest.approx([both, 30, both], abs=0.1)
    assert 40 < both < 100
    strongest = twice.factors("noise")["sigma"]
    expected = [
        twice.steps[2].factors["sigma"][0],
        twice.steps[0].factors["sigma"][1],
        twice.steps[2].factors["sigma"][2],
    ]
    assert strongest.tolist() == [float(sigma) for sigma in expected]
    assert twice.severity("rain").tolist() == [0, 0, 0] and twice.factors("rain") == {}


def test_what_nobody_can_see_is_absent(clean: torch.Tensor) -> None:
    faint = mixture_of([("noise", VISIBLE - 1)], len(clean))
    assert faint.severity("noise").tolist() == [0] * len(clean)
    assert all(d.state("noise") == "absent" for d in truths(clean, degrade(clean, faint), faint))


@pytest.mark.parametrize("stage", STAGES)
def test_partial_targets_leave_out_what_is_not_kept_bit_for_bit(stage: Stage, clean: torch.Tensor) -> None:
    mixture = draw_mixture(len(clean), torch.Generator().manual_seed(5), stage)
    everything, nothing = ({name: torch.full((len(clean),), kept) for name in kinds()} for kept in (True, False))
    assert torch.equal(degrade(clean, mixture, everything), degrade(clean, mixture))
    assert torch.equal(degrade(clean, mixture, nothing), clean)


def test_a_partial_target_is_the_picture_without_the_removed_kind(clean: torch.Tensor) -> None:
    mixture = mixture_of([("blur", 30), ("haze", 50), ("noise", 40)], len(clean))
    keep = {name: torch.ones(len(clean), dtype=torch.bool) for name in ("blur", "haze", "noise")}
    keep["noise"] = torch.tensor([False, True, False, True])
    target = degrade(clean, mixture, keep)
    without = degrade(clean, Mixture(mixture.steps[:2], len(clean)))
    whole = degrade(clean, mixture)
    assert torch.equal(target[::2], without[::2]) and torch.equal(target[1::2], whole[1::2])
    assert not torch.equal(without, whole)


def test_steps_hit_only_the_pictures_under_their_mask(clean: torch.Tensor) -> None:
    mixture = mixture_of([("low_light", 60), ("rain", 50)], len(clean))
    mixture.steps[0].mask_B = torch.tensor([True, False, False, True])
    mixture.steps[1].mask_B = torch.tensor([False, False, True, True])
    quality = psnr(degrade(clean, mixture), clean)
    assert quality[1] == float("inf") and (quality[[0, 2, 3]] < 40).all()


def test_true_diagnoses_say_what_the_recipe_did(clean: torch.Tensor) -> None:
    mixture = mixture_of([("haze", 40), ("noise", 25)], len(clean))
    found = truths(clean, degrade(clean, mixture), mixture)
    for row, diagnosis in enumerate(found):
        assert diagnosis.present == diagnosis.plan == ["noise", "haze"]
        assert diagnosis.findings["noise"].severity == 25 and diagnosis.findings["haze"].severity == 40
        sigma, written = mixture.steps[1].factors["sigma"][row], diagnosis.findings["noise"].factors["sigma"]
        assert written == round(float(sigma))
        assert list(diagnosis.findings["haze"].factors) == [f.name for f in kind_named("haze").factors]
        assert diagnosis.findings["rain"].factors == {} and diagnosis.state("rain") == "absent"
        assert diagnosis.quality.technical is not None and diagnosis.quality.technical < 60
        assert Diagnosis.from_json(diagnosis.to_json()) == diagnosis


def test_an_undamaged_picture_is_excellent(clean: torch.Tensor) -> None:
    untouched = Mixture([], len(clean))
    assert torch.equal(degrade(clean, untouched), clean)
    for diagnosis in truths(clean, clean, untouched):
        assert diagnosis.present == diagnosis.plan == []
        assert (diagnosis.quality.technical, diagnosis.quality.words) == (100, "excellent")
        assert set(diagnosis.findings) == set(kinds())


@pytest.mark.parametrize("name", list(kinds()))
def test_a_prescribed_severity_is_met_over_the_whole_range(name: str) -> None:
    kind = kind_named(name)
    for severity in (3, 5, 10, 20, 35, 50, kind.top - 0.5, kind.top):
        (step,) = prescribe({name: severity}, 7, batch=32).steps
        assert (kind.severity(step.factors) - severity).abs().max() < CLOSE


def test_a_prescription_names_its_limits() -> None:
    assert names(prescribe({"noise": 20, "haze": 30}, 0)) == ["haze", "noise"]
    for severity in (0, -5, 90, float("nan")):
        with pytest.raises(ValueError, match=f"noise: severity must lie in 1..{kind_named('noise').top:g}, not"):
            prescribe({"noise": severity}, 0)
    with pytest.raises(ValueError, match="unknown kind of degradation fog; known: blur"):
        prescribe({"fog": 20}, 0)
