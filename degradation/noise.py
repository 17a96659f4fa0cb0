"""Noise of the sensor: constant, or growing with the light (Foi et al., "Poissonian-Gaussian noise", TIP 2008)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Factor, Kind, Measurement, Words, choice, column, luma
from rnr.degradation.shrinkage import opponent_sigma, shrink

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

TYPES = ("gaussian", "poisson", "shot_read")
SHOT = (0.0, 1.0, 0.5)  # share of the variance that grows with the light


class Noise(Kind):
    name, formation, main = "noise", 50, "sigma"
    factors = (
        choice("type", TYPES, "how the noise depends on the light"),
        Factor("sigma", "8-bit levels", 0, 100, 1, "standard deviation at middle grey"),
        choice("colour", ("per_channel", "grey"), "independent in each channel, or the same in all"),
    )
    measurement = Measurement(
        "fine residual",
        "levels",
        (1, 2, 3.5, 5.5, 8, 12, 17, 24, 34, 48),
        "Donoho 1994: MAD of the diagonal details / 0.6745",
    )
    words = Words("noise", "too few photons, or the sensor's own electronics", "grain in flat areas", "denoise")
    curve = (
        (0, 0), (2.124, 2), (3.813, 5), (6.161, 10), (8.408, 15), (10.73, 20), (13.21, 25), (15.94, 30), (19, 35),
        (22.48, 40), (26.51, 45), (31.27, 50), (37.05, 55), (44.33, 60), (54.09, 65), (68.93, 70), (100, 74.7),
    )  # fmt: skip

    def sample(self, count, generator):
        draw = torch.rand(2, count, generator=generator, device=generator.device)
        kind = (draw[0] > 0.5).long() + (draw[0] > 0.7)
        return {"type": kind, "colour": (draw[1] > 0.8).long()}

    def magnitude(self, factors):
        return factors["sigma"]

    def solve(self, magnitude, factors):
        return magnitude

    def apply(self, image_BCHW, factors, seed):
        generator = self.generator(seed, image_BCHW.device)
        normal = torch.randn(image_BCHW.shape, generator=generator, device=image_BCHW.device)
        normal = torch.where(column(factors["colour"]) == 1, normal[:, :1], normal)
        shot_share = torch.tensor(SHOT, device=normal.device)[factors["type"].long()]
        shot = column(shot_share) * 2 * image_BCHW.clamp(min=0)
        sigma = column(factors["sigma"]) / 255
        noise = sigma * (1 - column(shot_share) + shot).sqrt() * normal
        # Few photons are skewed: the next Cornish-Fisher term of a Poisson count.
        skew = sigma**2 * column((shot_share == 1).float()) * 2 * (normal**2 - 1) / 6
        return (image_BCHW + noise + skew).clamp(0, 1)

    def invert(self, image_BCHW, factors):
        sigma_B3 = opponent_sigma(factors["sigma"] / 255, factors["colour"] == 1)
        return shrink(image_BCHW, sigma_B3, torch.tensor(SHOT, device=image_BCHW.device)[factors["type"].long()])

    def measure(self, image_BCHW):
        y = luma(image_BCHW)
        y = y[..., : y.shape[-2] // 2 * 2, : y.shape[-1] // 2 * 2]
        diagonal = (y[..., ::2, ::2] - y[..., ::2, 1::2] - y[..., 1::2, ::2] + y[..., 1::2, 1::2]) / 2
        return 255 * diagonal.abs().flatten(1).median(1).values / 0.6745


KIND = Noise()
