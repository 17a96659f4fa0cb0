"""Rain: streaks S of drops at several distances, B + a S (c - m B), and the mist that they break into, B t + A (1 - t)
(Garg & Nayar, IJCV 2007; Yang et al., CVPR 2017; Li, Cheong, Tan, CVPR 2019)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Factor, Factors, Kind, Measurement, Words, column, luma, uniform
from rnr.degradation.particles import Sheet, axes, dots_per_pixel, doubled, half

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

KERNEL = 61  # px, longest streak of a layer
ACROSS, ALONG = 5, 4  # px on each side: more than a streak is wide, less than it is long


class Rain(Kind):
    name = "rain"
    formation = 20
    factors = (
        Factor("density", "% of pixels", 0, 60, 0.5, "share of the picture that streaks cover"),
        Factor("length", "px", 6, 54, 2, "length of a streak"),
        Factor("angle", "degrees", -50, 50, 2, "tilt from the vertical, positive to the right at the bottom"),
        Factor("width", "px", 0.8, 4, 0.2, "width of a streak"),
        Factor("brightness", "", 0.2, 1, 0.02, "light that a streak adds"),
    )
    main = "density"
    harmless = {"density": 0}
    validation_severity = 70
    measurement = Measurement(
        "bright thin lines", "per mille", (4, 8, 13, 19, 27, 37, 50, 66, 90), "white top-hat, 5 px, mean over the luma"
    )
    words = Words(
        "rain", "falling drops drawn out during the exposure", "bright thin slanted streaks", "remove the rain"
    )
    curve = (
        (0, 0), (0.0004916, 2), (0.001326, 5), (0.002986, 10), (0.005043, 15), (0.007593, 20), (0.01076, 25),
        (0.0147, 30), (0.01962, 35), (0.0258, 40), (0.03363, 45), (0.04362, 50), (0.05653, 55), (0.0735, 60),
        (0.09635, 65), (0.1283, 70), (0.1755, 75), (0.2533, 80), (0.4225, 85), (0.5999, 87),
    )  # fmt: skip

    def sample(self, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {
            "length": uniform(count, 6, 54, generator),
            "angle": (uniform(count, -1, 1, generator) * 50) * uniform(count, 0.2, 1, generator),
            "width": 0.8 + 3.2 * uniform(count, 0, 1, generator) ** 2,
            "brightness": uniform(count, 0.25, 1, generator),
        }

    def magnitude(self, factors: Factors) -> torch.Tensor:
        return factors["density"] / 100 * factors["brightness"]

    def solve(self, magnitude: torch.Tensor, factors: Factors) -> torch.Tensor:
        return 100 * magnitude / factors["brightness"]

    def apply(self, image_BCHW: torch.Tensor, factors: Factors, seed: int) -> torch.Tensor:
        """I = (B + a S (c - m B)) t + A (1 - t): streaks (Garg & Nayar 2007; Yang 2017), then mist (Li 2019).

        Args:
            image_BCHW: B, float in [0, 1].
            factors: a is the brightness; the others shape the streaks S; (B,) each.
            seed: of the streaks, of m (0: their light adds up, 1: they cover what is behind) and of the mist.

        Returns:
            I, float in [0, 1].
        """
        generator = self.generator(seed, image_BCHW.device)
        batch = len(image_BCHW)
        streaks = streak_layers(image_BCHW.shape, factors, generator)
        cover = column(uniform(batch, 0, 1, generator))
        white = 1 - column(uniform(batch, 0, 0.25, generator)) * cover
        wet = image_BCHW + column(factors["brightness"]) * streaks * (white - cover * image_BCHW)
        thickness = uniform(batch, -1, 0.5, generator).clamp(min=0)  # for a third of the pictures
        mist = column(thickness * factors["density"] / 100 * factors["brightness"])
        return (wet + mist * (0.85 - wet)).clamp(0, 1)

    def invert(self, image_BCHW: torch.Tensor, factors: Factors) -> torch.Tensor:
        """What is bright, thin and long in the given direction is taken away: two openings, across and along."""
        darkest = image_BCHW.amin(1, keepdim=True)  # a streak adds to all channels
        level = torch.zeros_like(factors["angle"])
        thin = darkest - opening(darkest, level, rows=False, reach=ACROSS)
        slope = torch.tan(torch.deg2rad(factors["angle"]))
        return image_BCHW - opening(thin, slope, rows=True, reach=ALONG)

    def measure(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        y = luma(image_BCHW)
        opened = dilate(-dilate(-y))
        return 1000 * (y - opened).mean((1, 2, 3))


def opening(y_B1HW: torch.Tensor, slope_B: torch.Tensor, rows: bool, reach: int) -> torch.Tensor:
    """Opening by a segment of 2 * reach + 1 px: along x, or along y with `slope` px to the right for each px down."""

    def shifted(y: torch.Tensor) -> Iterator[torch.Tensor]:
        height, width = y.shape[-2:]
        far = 0 if not rows else reach * 2  # slopes of up to 63 degrees
        side, end = (far, reach) if rows else (reach, 0)
        padded = torch.nn.functional.pad(y, (side, side, end, end), mode="replicate")
        columns = torch.arange(width, device=y.device) + side
        for step in range(-reach, reach + 1):
            if rows:
                index = columns + (step * slope_B).round().long().clamp(-far, far).view(-1, 1, 1, 1)
                yield padded.narrow(2, reach + step, height).gather(3, index.expand(-1, -1, height, -1))
            else:
                yield padded.narrow(3, reach + step, width)

    eroded = torch.stack(list(shifted(y_B1HW))).amin(0)
    return torch.stack(list(shifted(eroded))).amax(0)


def dilate(y_B1HW: torch.Tensor) -> torch.Tensor:
    """Maximum over 5x5 px, rows then columns (shifted maxima: pooling is slower on a CPU)."""
    for axis in (-1, -2):
        padded = torch.nn.functional.pad(y_B1HW, (2, 2, 0, 0) if axis == -1 else (0, 0, 2, 2), mode="replicate")
        windows = [padded.narrow(axis, shift, y_B1HW.shape[axis]) for shift in range(5)]
        y_B1HW = torch.stack(windows).amax(0)
    return y_B1HW


def streak_layers(shape: torch.Size, factors: Factors, generator: torch.Generator) -> torch.Tensor:
    """Coverage map (B, 1, H, W) in 0..1: streaks as large as the factors say, smaller ones behind, larger ones before.

    Styles by chance: all of one size and direction (Rain100L, Yang 2017), many directions (Rain100H), crisp or fading
    drops; a quarter is noise that motion draws out and a level cuts, as image editors make it (Rain1400, Fu 2017).
    """
    batch, _, height, width = shape
    range_of_sizes = uniform(batch, -0.3, 1, generator).clamp(min=0)
    spread = 3 + 12 * uniform(batch, -2, 1, generator).clamp(min=0)  # degrees
    faintest, taper = uniform(batch, 0.2, 0.9, generator), uniform(batch, 0, 1, generator)
    edited = uniform(batch, 0, 1, generator) < 0.25
    coverage = factors["density"] / 100

    def mark(size: torch.Tensor) -> torch.Tensor:
        tilt = factors["angle"] + spread * torch.randn(batch, generator=generator, device=generator.device)
        return streak_kernel(factors["length"] * size, tilt, factors["width"] * size, taper)

    def layer(sheet: Sheet, share: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        area = factors["length"] * factors["width"] * size**2
        dots = sheet.dots(sheet.noise(), share * dots_per_pixel(coverage, area), faintest)
        return sheet.drawn(dots, mark(size))

    near_share = 0.4 * range_of_sizes
    sheet, lens = Sheet(batch, height, width, KERNEL, generator), half(batch, height, width, KERNEL, generator)
    sharp = sheet.seen(
        layer(sheet, (1 - near_share) * 0.6, torch.ones(batch, device=generator.device))
        + layer(sheet, (1 - near_share) * 0.4, 0.5**range_of_sizes)
    )
    near = doubled(lens.seen(layer(lens, near_share, 2**range_of_sizes / 2)), height, width)
    noise, kernel = sheet.noise(), mark(torch.ones(batch, device=generator.device))
    painted = cut(sheet.seen(sheet.drawn((noise - 0.5) * 12**0.5, unit(kernel))), coverage)
    return torch.where(column(edited), painted, (sharp + near).clamp(0, 1))


def unit(kernel_BKK: torch.Tensor) -> torch.Tensor:
    """The kernel that turns white noise of variance 1 into noise of variance 1."""
    return kernel_BKK / kernel_BKK.square().sum((1, 2), keepdim=True).sqrt()


def cut(normal_B1HW: torch.Tensor, coverage_B: torch.Tensor) -> torch.Tensor:
    """What of a normal map lies above the level that this share of it passes, 0..1."""
    level = column(math.sqrt(2) * torch.erfinv(1 - 2 * coverage_B.clamp(1e-6, 0.95)))
    return (normal_B1HW - level).clamp(0, 1)


def streak_kernel(
    length_B: torch.Tensor, angle_B: torch.Tensor, width_B: torch.Tensor, taper_B: torch.Tensor
) -> torch.Tensor:
    """(B, K, K), peak 1: a soft line, `angle` degrees from the vertical; `taper` is what fades towards its ends."""
    along, across = axes(KERNEL, angle_B)
    sigma = width_B.view(-1, 1, 1) / 2
    reach = length_B.view(-1, 1, 1) / 2
    ends = (reach - along.abs() + 0.5).clamp(0, 1)
    fading = 1 - taper_B.view(-1, 1, 1) * (along / (reach + 1)).square().clamp(max=1)
    return ends * fading * torch.exp(-0.5 * (across / sigma) ** 2)


KIND = Rain()
