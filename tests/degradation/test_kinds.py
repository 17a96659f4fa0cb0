"""What every kind promises, and the physics of each."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from rnr.degradation.blur import TYPES as BLUR_TYPES
from rnr.degradation.blur import kernel
from rnr.degradation.compression import SUBSAMPLING, save
from rnr.degradation.depth import scene_depth
from rnr.degradation.haze import scattering
from rnr.degradation.kind import Factor, Kind, Measurement, choice, kind_named, kinds
from rnr.degradation.measure import psnr
from rnr.degradation.noise import TYPES as NOISE_TYPES

KINDS = list(kinds().values())


def invertible() -> list[Kind]:
    return [kind for kind in kinds().values() if type(kind).invert is not Kind.invert]


every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(kind: Kind, severity: float, count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    return kind.draw(torch.full((count,), float(severity)), generator(seed))


def fixed(kind: Kind, count: int = 1, **values: float) -> dict[str, torch.Tensor]:
    """Factors at the given values; those not named lie in the middle of their range (a choice: the first)."""
    middle = {f.name: 0.0 if f.choices else (f.low + f.high) / 2 for f in kind.factors}
    return {name: torch.full((count,), float(value)) for name, value in {**middle, **values}.items()}


def test_the_kinds_come_in_order_of_formation() -> None:
    shipped = ["blur", "rain", "snow", "haze", "low_light", "noise", "low_resolution", "compression"]
    assert [name for name in kinds() if name in shipped] == shipped
    with pytest.raises(ValueError, match="unknown kind of degradation 'fog'; known: blur, rain"):
        kind_named("fog")


@every_kind
def test_the_seed_decides(kind: Kind, clean: torch.Tensor) -> None:
    factors = drawn(kind, 40, len(clean))
    once, again, other = (kind.apply(clean, factors, seed) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


@every_kind
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (16, 16), (33, 47)], ids=str)
def test_the_result_is_a_picture_of_the_same_shape(kind: Kind, size: tuple[int, int]) -> None:
    pictures = torch.rand(3, 3, *size, generator=generator())
    damaged = kind.apply(pictures, drawn(kind, kind.top - 5, 3), 0)
    assert damaged.shape == pictures.shape and damaged.dtype == pictures.dtype
    assert damaged.min() >= 0 and damaged.max() <= 1


@every_kind
def test_random_layers_do_not_depend_on_the_other_pictures_of_the_batch(kind: Kind, clean: torch.Tensor) -> None:
    # One picture alone draws other layers than in a batch (see Kind.apply), but its neighbours never touch it.
    factors = drawn(kind, 40, len(clean))
    neighbours = clean.clone()
    neighbours[1:] = 1 - neighbours[1:]
    assert torch.equal(kind.apply(clean, factors, 1)[0], kind.apply(neighbours, factors, 1)[0])


@every_kind
def test_severity_grows_strictly_with_the_main_factor(kind: Kind) -> None:
    main = kind.factor(kind.main)
    values = torch.linspace(main.low, main.high, 81)
    nuisances = kind.sample(16, generator())
    for row in range(16):
        factors = {name: value[row].expand(81) for name, value in nuisances.items()}
        steps = kind.severity({**factors, kind.main: values}).double().diff()
        assert (steps > 0).all() or (steps < 0).all()


@every_kind
def test_harmless_factors_have_severity_0_and_leave_the_picture(kind: Kind, clean: torch.Tensor) -> None:
    factors = kind.sample(len(clean), generator())
    factors |= {name: torch.full((len(clean),), float(value)) for name, value in kind.harmless.items()}
    assert kind.severity(factors).tolist() == [0] * len(clean)
    assert psnr(kind.apply(clean, factors, 0), clean).min() > 35


@every_kind
def test_the_top_is_reached_and_never_passed(kind: Kind) -> None:
    ends = [kind.factor(kind.main).low, kind.factor(kind.main).high]
    extremes = [{f.name: f.low for f in kind.factors}, {f.name: f.high for f in kind.factors}]
    severities = [kind.severity(fixed(kind, 1, **corner | {kind.main: end})) for corner in extremes for end in ends]
    assert max(map(float, severities)) == pytest.approx(kind.top, abs=0.1)
    assert kind.severity(drawn(kind, 100, 500)).max() <= kind.top + 1e-4


@every_kind
def test_solve_inverts_magnitude(kind: Kind) -> None:
    main = kind.factor(kind.main)
    values = torch.tensor([main.value(text) for text in main.texts])
    factors = {**kind.sample(len(values), generator()), kind.main: values}
    assert torch.allclose(kind.solve(kind.magnitude(factors), factors), values, atol=1e-3 * (main.high - main.low))


@every_kind
def test_draw_gives_the_wanted_severity_unless_the_main_factor_is_at_its_end(kind: Kind) -> None:
    wanted = 5 + (kind.top - 5) * torch.rand(4000, generator=generator(1))
    factors = kind.draw(wanted, generator(2))
    main = kind.factor(kind.main)
    hit = (kind.severity(factors) - wanted).abs() < (2.2 if kind.name == "compression" else 0.1)  # whole qualities
    at_end = (factors[kind.main] <= main.low + 1e-6) | (factors[kind.main] >= main.high - 1e-6)
    assert (hit | at_end).all()
    assert hit.float().mean() > 0.75
    for factor in kind.factors:
        assert factors[factor.name].min() >= factor.low - 1e-6 and factors[factor.name].max() <= factor.high + 5


@every_kind
def test_more_severity_costs_more_psnr(kind: Kind, clean: torch.Tensor) -> None:
    def mean_psnr(severity: float) -> float:
        results = []
        for seed in range(4):
            factors = drawn(kind, severity, len(clean), seed)
            results.append(psnr(kind.apply(clean, factors, seed), clean))
        return float(torch.cat(results).clamp(max=60).mean())

    levels = [mean_psnr(severity) for severity in (5, 20, 35, 50)]
    assert all(milder > stronger + 0.5 for milder, stronger in zip(levels, levels[1:]))


@every_kind
def test_the_evidence_grows_with_severity(kind: Kind, clean: torch.Tensor) -> None:
    def mean_bin(severity: float) -> float:
        bins = []
        for seed in range(4):
            factors = drawn(kind, severity, len(clean), seed)
            values = kind.measure(kind.apply(clean, factors, seed)).tolist()
            bins += [kind.measurement.texts.index(kind.measurement.text(value)) for value in values]
        return sum(bins) / len(bins)

    levels = [mean_bin(severity) for severity in (5, 20, 40)]
    growing = levels[::-1] if kind.measurement.falls else levels
    assert all(less < more for less, more in zip(growing, growing[1:]))


@every_kind
def test_factors_are_written_on_their_grid_and_read_back(kind: Kind) -> None:
    for factor in kind.factors:
        assert len(set(factor.texts)) == len(factor.texts) > 1
        for text in factor.texts:
            assert str(factor.written(factor.value(text))) == text
        if not factor.choices:
            assert factor.value(factor.texts[0]) == factor.low and factor.value(factor.texts[-1]) == factor.high
            for outside in (factor.low - 1, factor.high + 1, math.nan, math.inf):
                with pytest.raises(ValueError, match=f"{factor.name} must lie in"):
                    factor.value(outside)


def test_a_factor_clips_to_its_range_and_says_what_it_takes() -> None:
    sigma, colour = Factor("sigma", "levels", 0, 10, 0.5, ""), choice("colour", ("grey", "red"), "")
    assert [sigma.text(v) for v in (-3, 0.26, 3.1, 99)] == ["0.0", "0.5", "3.0", "10.0"]
    assert [sigma.written(v) for v in (3.1, 3.4)] == [3, 3.5]
    assert colour.written(1) == "red" and colour.value("red") == 1
    with pytest.raises(ValueError, match="colour must be one of grey, red, not 'blue'"):
        colour.value("blue")
    with pytest.raises(ValueError, match="sigma must be a number, not 'much'"):
        sigma.value("much")


def test_whole_number_severities_are_not_cut_short() -> None:
    noise, wanted = kind_named("noise"), torch.tensor([10, 30, 50])
    assert torch.equal(noise.draw(wanted, generator())["sigma"], noise.draw(wanted.float(), generator())["sigma"])


def test_a_measurement_falls_into_one_bin() -> None:
    level = Measurement("level", "%", (10, 20), "somebody")
    assert level.texts == ("level below 10 %", "level 10-20 %", "level above 20 %")
    assert [level.text(v) for v in (-1, 9.99, 10, 19.99, 20, 500)] == [level.texts[i] for i in (0, 0, 1, 1, 2, 2)]


# The physics of each kind


def test_haze_lets_the_asked_share_of_light_through() -> None:
    haze, black = kind_named("haze"), torch.zeros(16, 3, 96, 96)
    transmission, airlight = torch.linspace(0.15, 0.95, 16), torch.full((16,), 0.8)
    veil = haze.apply(black, {"transmission": transmission, "airlight": airlight}, 3)
    seen = 1 - veil.mean((1, 2, 3)) / 0.8
    assert (seen - transmission).abs().max() < 0.06  # the veil has a tint
    depth = scene_depth(torch.rand(4, 3, 96, 96, generator=generator()), generator())
    assert torch.allclose(depth.mean((1, 2, 3)), torch.ones(4), atol=1e-4) and depth.min() > 0
    beta = scattering(depth, torch.full((4,), 0.4))
    assert torch.allclose(torch.exp(-beta.view(-1, 1, 1, 1) * depth).mean((1, 2, 3)), torch.full((4,), 0.4), atol=0.01)


def test_rain_covers_the_asked_share_and_falls_at_the_asked_angle() -> None:
    rain, black = kind_named("rain"), torch.zeros(16, 3, 192, 192)
    factors = fixed(rain, 16, density=20, length=40, width=1.6, brightness=1)
    factors["angle"] = torch.tensor([-40.0, 40.0]).repeat_interleave(8)
    streaks = rain.apply(black, factors, 5)[:, 0]
    covered = (streaks > 0.25).float().mean((1, 2))
    assert ((covered > 0.08) & (covered < 0.35)).all() and 0.1 < covered.mean() < 0.25
    dy, dx = streaks.diff(dim=1)[:, :, :-1], streaks.diff(dim=2)[:, :-1]
    across = torch.rad2deg(0.5 * torch.atan2(2 * (dx * dy).mean((1, 2)), (dx**2 - dy**2).mean((1, 2))))
    # Gradients stand at right angles to streaks; some showers have many directions, so each angle is a median of 8.
    assert torch.allclose(across.view(2, 8).median(1).values, torch.tensor([40.0, -40.0]), atol=6)


@pytest.mark.parametrize("shape", BLUR_TYPES)
def test_blur_kernels_have_the_asked_width(shape: str) -> None:
    blur = kind_named("blur")
    factors = fixed(blur, 6, type=BLUR_TYPES.index(shape), angle=0)
    factors["width"] = torch.tensor([1.0, 1.5, 2.0, 3.0, 4.0, 5.0])
    kernel_BKK = kernel(factors, generator())
    assert torch.allclose(kernel_BKK.sum((1, 2)), torch.ones(6), atol=1e-5) and kernel_BKK.min() >= 0
    axis = torch.arange(kernel_BKK.shape[-1]) - kernel_BKK.shape[-1] // 2
    width = (kernel_BKK.sum(1) * axis**2).sum(1).sqrt()
    assert torch.allclose(width, factors["width"], rtol=0.12)


def test_blur_moves_along_the_asked_angle() -> None:
    blur = kind_named("blur")
    point = torch.zeros(1, 3, 65, 65)
    point[..., 32, 32] = 1
    smeared = blur.apply(point, fixed(blur, type=BLUR_TYPES.index("motion"), width=5, angle=90), 0)[0, 0]
    rows, columns = smeared.sum(1), smeared.sum(0)
    assert (rows > 0.01).sum() > 3 * (columns > 0.01).sum()  # 90 degrees: up and down


@pytest.mark.parametrize("type_", NOISE_TYPES)
def test_noise_has_the_asked_sigma_at_middle_grey(type_: str) -> None:
    noise, grey = kind_named("noise"), torch.full((1, 3, 256, 256), 0.5)
    residual = noise.apply(grey, fixed(noise, type=NOISE_TYPES.index(type_), sigma=12), 1) - grey
    assert float(255 * residual.std()) == pytest.approx(12, rel=0.03)
    assert float(255 * residual.mean()) == pytest.approx(0, abs=0.2)


def test_photon_noise_grows_with_the_light_and_grey_noise_is_grey() -> None:
    noise = kind_named("noise")
    poisson, gaussian = (fixed(noise, type=NOISE_TYPES.index(t), sigma=8) for t in ("poisson", "gaussian"))
    dim, bright = torch.full((1, 3, 128, 128), 0.2), torch.full((1, 3, 128, 128), 0.8)

    def spread(image: torch.Tensor, factors: dict[str, torch.Tensor]) -> float:
        return float((noise.apply(image, factors, 1) - image).std())

    assert spread(bright, poisson) / spread(dim, poisson) == pytest.approx(2, rel=0.05)  # sqrt(0.8 / 0.2)
    assert spread(bright, gaussian) / spread(dim, gaussian) == pytest.approx(1, rel=0.05)
    same = noise.apply(dim, {**gaussian, "colour": torch.ones(1)}, 1)
    assert torch.equal(same[:, 0], same[:, 1]) and torch.equal(same[:, 0], same[:, 2])


def test_low_light_is_exposure_times_the_power_of_gamma() -> None:
    low_light, grey = kind_named("low_light"), torch.full((1, 3, 64, 64), 0.5)
    quiet = low_light.apply(grey, fixed(low_light, exposure=0.3, gamma=2, noise=0), 0)
    assert torch.allclose(quiet, torch.tensor(0.3 * 0.25))
    noisy = low_light.apply(grey, fixed(low_light, exposure=0.8, gamma=1, noise=4), 0)
    assert float(255 * noisy.std()) == pytest.approx(4 * math.sqrt(0.5 + 5 * 0.4), rel=0.05)


@pytest.mark.parametrize("quality", [5, 30, 75])
@pytest.mark.parametrize("subsampling", range(3), ids=list(SUBSAMPLING))
def test_compression_is_what_another_jpeg_codec_makes(
    photographs: dict[str, np.ndarray], quality: int, subsampling: int
) -> None:
    picture = photographs["coffee"][100:196, 200:296]
    ours = save(picture, quality, subsampling, (0, 0))
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=subsampling)
    theirs = np.asarray(Image.open(file))
    assert np.abs(ours.astype(int) - theirs).mean() < 0.5
    assert np.abs(ours.astype(int) - picture).mean() > 1


def test_the_jpeg_grid_starts_anywhere(clean: torch.Tensor) -> None:
    compression = kind_named("compression")
    phases = set()
    for seed in range(12):
        damaged = compression.apply(clean[:1], fixed(compression, quality=5), seed)
        steps = damaged.mean(1)[0].diff(dim=1).abs().mean(0)
        phases.add(int(torch.stack([steps[phase::8].mean() for phase in range(8)]).argmax()))
    assert len(phases) > 3


@pytest.mark.parametrize("kind", invertible(), ids=lambda kind: kind.name)
def test_true_factors_undo_much_of_the_damage(kind: Kind, clean: torch.Tensor) -> None:
    factors = drawn(kind, 50, len(clean), seed=2)
    degraded = (kind.apply(clean, factors, 3) * 255).round() / 255
    restored = kind.invert(degraded, factors).clamp(0, 1)
    gain = psnr(restored, clean) - psnr(degraded, clean)
    assert (gain > 0).all() and gain.mean() > (0.3 if kind.name == "compression" else 1)  # dB


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (49, 30)])
@every_kind
def test_the_inverse_takes_any_size(kind: Kind, size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size, generator=generator())
    restored = kind.invert(image, drawn(kind, 40, 1))
    assert restored.shape == image.shape and restored.isfinite().all()
