"""Rain: layers of drawn-out drops, B + a S (1 - m B), S = seeds * streak (Garg & Nayar 2007; Yang et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Factor, Kind, Measurement, Words, column, luma, uniform

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

KERNEL = 61  # px, longest streak
ACROSS, ALONG = 5, 4  # px on each side: more than a streak is wide, less than it is long


class Rain(Kind):
    name, formation, main = "rain", 20, "density"
    factors = (
        Factor("density", "% of pixels", 0, 60, 0.5, "share of the picture that streaks cover"),
        Factor("length", "px", 6, 54, 2, "length of a streak"),
        Factor("angle", "degrees", -50, 50, 2, "tilt from the vertical, positive to the right at the bottom"),
        Factor("width", "px", 0.8, 4, 0.2, "width of a streak"),
        Factor("brightness", "", 0.2, 1, 0.02, "light that a streak adds"),
    )
    measurement = Measurement(
        "bright thin lines", "per mille", (4, 8, 13, 19, 27, 37, 50, 66, 90), "white top-hat, 5 px, mean over the luma"
    )
    words = Words(
        "rain", "falling drops drawn out during the exposure", "bright thin slanted streaks", "remove the rain"
    )
    curve = (
        (0, 0), (0.0002461, 2), (0.0007054, 5), (0.001669, 10), (0.00291, 15), (0.00449, 20), (0.006494, 25),
        (0.009035, 30), (0.01226, 35), (0.01637, 40), (0.02164, 45), (0.02844, 50), (0.03732, 55), (0.04906, 60),
        (0.06492, 65), (0.08699, 70), (0.1192, 75), (0.17, 80), (0.2648, 85), (0.6, 89.9),
    )  # fmt: skip

    def sample(self, count, generator):
        return {
            "length": uniform(count, 6, 54, generator),
            "angle": (uniform(count, -1, 1, generator) * 50) * uniform(count, 0.2, 1, generator),
            "width": 0.8 + 3.2 * uniform(count, 0, 1, generator) ** 2,
            "brightness": uniform(count, 0.25, 1, generator),
        }

    def magnitude(self, factors):
        return factors["density"] / 100 * factors["brightness"]

    def solve(self, magnitude, factors):
        return 100 * magnitude / factors["brightness"]

    def apply(self, image_BCHW, factors, seed):
        generator = self.generator(seed, image_BCHW.device)
        streaks = streak_layers(image_BCHW.shape, factors, generator)
        mix = column(uniform(len(image_BCHW), 0, 1, generator))  # 0: light adds up; 1: drops cover what is behind
        light = column(factors["brightness"]) * streaks
        return (image_BCHW + light * (1 - mix * image_BCHW)).clamp(0, 1)

    def invert(self, image_BCHW, factors):
        """What is bright, thin and long in the told direction is taken away: two openings, across and along."""
        darkest = image_BCHW.amin(1, keepdim=True)  # a streak adds to all channels
        level = torch.zeros_like(factors["angle"])
        thin = darkest - opening(darkest, level, rows=False, reach=ACROSS)
        slope = torch.tan(torch.deg2rad(factors["angle"]))
        return image_BCHW - opening(thin, slope, rows=True, reach=ALONG)

    def measure(self, image_BCHW):
        y = luma(image_BCHW)
        opened = dilate(-dilate(-y))
        return 1000 * (y - opened).mean((1, 2, 3))


def opening(y_B1HW, slope_B, rows, reach):
    """Opening by a segment of 2 * reach + 1 px: along x, or along y with `slope` px to the right for each px down."""

    def shifted(y):
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


def dilate(y_B1HW):
    """Maximum over 5x5 px, rows then columns (shifted maxima: pooling is slower on a CPU)."""
    for axis in (-1, -2):
        padded = torch.nn.functional.pad(y_B1HW, (2, 2, 0, 0) if axis == -1 else (0, 0, 2, 2), mode="replicate")
        windows = [padded.narrow(axis, shift, y_B1HW.shape[axis]) for shift in range(5)]
        y_B1HW = torch.stack(windows).amax(0)
    return y_B1HW


def streak_layers(shape, factors, generator):
    """Coverage map (B, 1, H, W) in 0..1: three layers that differ a little in angle, length and width."""
    batch, _, height, width = shape
    device = generator.device
    area = factors["length"] * factors["width"]
    per_pixel = -torch.log1p(-factors["density"].clamp(max=95) / 100) / area / 3
    size = (height + KERNEL - 1, width + KERNEL - 1)
    total = torch.zeros(batch, size[0], size[1] // 2 + 1, dtype=torch.complex64, device=device)
    for scale in (1.15, 1.0, 0.85):
        seeds = torch.rand(batch, *size, generator=generator, device=device)
        tilt = factors["angle"] + 4 * torch.randn(batch, generator=generator, device=device)
        drops = (seeds < per_pixel.view(-1, 1, 1)) * (
            0.5 + 0.5 * torch.rand(seeds.shape, generator=generator, device=device)
        )
        kernel = streak_kernel(factors["length"] * scale, tilt, factors["width"] * scale)
        total += torch.fft.rfft2(drops) * torch.fft.rfft2(kernel, s=size)
    full = torch.fft.irfft2(total, s=size)[:, None, KERNEL - 1 :, KERNEL - 1 :]
    return full.clamp(0, 1)


def streak_kernel(length_B, angle_B, width_B):
    """(B, K, K), peak 1: a soft line, `angle` degrees from the vertical."""
    axis = torch.arange(KERNEL, device=length_B.device) - KERNEL // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    angle = torch.deg2rad(angle_B).view(-1, 1, 1)
    along = x * torch.sin(angle) + y * torch.cos(angle)
    across = x * torch.cos(angle) - y * torch.sin(angle)
    sigma = width_B.view(-1, 1, 1) / 2
    ends = (length_B.view(-1, 1, 1) / 2 - along.abs() + 0.5).clamp(0, 1)
    return ends * torch.exp(-0.5 * (across / sigma) ** 2)


KIND = Rain()
