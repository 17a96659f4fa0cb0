"""Noise of the sensor: constant, or growing with the light (Foi et al., "Poissonian-Gaussian noise", TIP 2008)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Factor, Factors, Kind, Measurement, Words, choice, column, luma, optional, uniform
from rnr.degradation.shrinkage import opponent_sigma, shrink

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

TYPES = ("gaussian", "poisson", "shot_read")
SHOT = (0.0, 1.0, 0.5)  # share of the variance that grows with the light
GRAIN = Factor("grain", "px", 1, 4, 0.5, "width of a grain: 1 where pixels are independent", since=2)
REACH = 5  # px on each side of the largest grain


class Noise(Kind):
    name = "noise"
    formation = 50
    factors = (
        choice("type", TYPES, "how the noise depends on the light"),
        Factor("sigma", "8-bit levels", 0, 100, 1, "standard deviation at middle grey"),
        choice("colour", ("per_channel", "grey"), "independent in each channel, or the same in all"),
        GRAIN,
    )
    main = "sigma"
    harmless = {"sigma": 0}
    validation_severity = 42
    measurement = Measurement(
        "fine residual",
        "levels",
        (1, 2, 3.5, 5.5, 8, 12, 17, 24, 34, 48),
        "Donoho 1994: MAD of the diagonal details / 0.6745",
    )
    words = Words("noise", "too few photons, or the sensor's own electronics", "grain in flat areas", "denoise")
    curve = (
        (0, 0), (1.43, 2), (2.812, 5), (4.888, 10), (6.985, 15), (9.229, 20), (11.7, 25), (14.47, 30), (17.61, 35),
        (21.21, 40), (25.38, 45), (30.27, 50), (36.08, 55), (43.06, 60), (51.65, 65), (62.52, 70), (76.91, 75),
        (97.5, 80), (132.8, 85), (199.9, 88.6),
    )  # fmt: skip

    def sample(self, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        draw = torch.rand(2, count, generator=generator, device=generator.device)
        kind = (draw[0] > 0.5).long() + (draw[0] > 0.7)
        grain = 1 + uniform(count, -5, 3, generator).clamp(min=0)  # coarser than a pixel for three of eight
        return {"type": kind, "colour": (draw[1] > 0.8).long(), "grain": grain}

    def magnitude(self, factors: Factors) -> torch.Tensor:
        return factors["sigma"] * self._coarseness(factors)

    def solve(self, magnitude: torch.Tensor, factors: Factors) -> torch.Tensor:
        return magnitude / self._coarseness(factors)

    def _coarseness(self, factors: Factors) -> torch.Tensor:
        # Coarse grains reach the coarser scales, too: fitted with the severity curve.
        return optional(factors, GRAIN) ** 0.5

    def apply(self, image_BCHW: torch.Tensor, factors: Factors, seed: int) -> torch.Tensor:
        """I = J + sigma sqrt(1 - s + 2 s J) n (Foi 2008); n is normal, and smoothed where the grain is coarse, as
        interpolation of the sensor's mosaic and denoising leave it (Park et al., "noise correlation", TIP 2009).

        Args:
            image_BCHW: J, float in [0, 1].
            factors: sigma (8-bit levels), grain (px), and the indices of type (gives s) and colour, (B,) each.
            seed: of n.

        Returns:
            I, float in [0, 1].
        """
        generator = self.generator(seed, image_BCHW.device)
        normal = torch.randn(image_BCHW.shape, generator=generator, device=image_BCHW.device)
        normal = torch.where(column(factors["colour"]) == 1, normal[:, :1], normal)
        normal = coarsened(normal, optional(factors, GRAIN))
        shot_share = torch.tensor(SHOT, device=normal.device)[factors["type"].long()]
        shot = column(shot_share) * 2 * image_BCHW.clamp(min=0)
        sigma = column(factors["sigma"]) / 255
        noise = sigma * (1 - column(shot_share) + shot).sqrt() * normal
        # Few photons are skewed: the next Cornish-Fisher term of a Poisson count.
        skew = sigma**2 * column((shot_share == 1).float()) * 2 * (normal**2 - 1) / 6
        return (image_BCHW + noise + skew).clamp(0, 1)

    def invert(self, image_BCHW: torch.Tensor, factors: Factors) -> torch.Tensor:
        """Shrinkage that takes the noise for white (see shrinkage.py)."""
        sigma_B3 = opponent_sigma(factors["sigma"] / 255, factors["colour"] == 1)
        return shrink(image_BCHW, sigma_B3, torch.tensor(SHOT, device=image_BCHW.device)[factors["type"].long()])

    def measure(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        y = luma(image_BCHW)
        y = y[..., : y.shape[-2] // 2 * 2, : y.shape[-1] // 2 * 2]
        diagonal = (y[..., ::2, ::2] - y[..., ::2, 1::2] - y[..., 1::2, ::2] + y[..., 1::2, 1::2]) / 2
        return 255 * diagonal.abs().flatten(1).median(1).values / 0.6745


def coarsened(normal_BCHW: torch.Tensor, grain_B: torch.Tensor) -> torch.Tensor:
    """The noise with grains of this width at half maximum, its variance still 1 (at the border about that)."""
    rows = (grain_B > 1.01).nonzero()[:, 0]
    if len(rows) == 0:
        return normal_BCHW
    spread = (grain_B[rows] ** 2 - 1).clamp(min=0).sqrt().view(-1, 1) / 2.355
    axis = torch.arange(-REACH, REACH + 1, device=grain_B.device)
    weights = torch.exp(-0.5 * (axis / spread) ** 2)
    weights = weights / (weights**2).sum(1, keepdim=True).sqrt()
    smooth = normal_BCHW[rows]
    for dim in (-1, -2):
        smooth = convolved(smooth, weights, dim)
    return normal_BCHW.index_copy(0, rows, smooth)


def convolved(x_BCHW: torch.Tensor, weights_BK: torch.Tensor, dim: int) -> torch.Tensor:
    """Each picture with its own kernel along one axis, as if it went on in a circle."""
    taps = weights_BK.shape[1]
    shifted = (column(weights_BK[:, k]) * x_BCHW.roll(k - taps // 2, dim) for k in range(taps))
    return functools.reduce(torch.add, shifted)


KIND = Noise()
