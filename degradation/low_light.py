"""Low light: I = g J^gamma + shot and read noise (a short exposure, the response of the camera; Wei et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Factor, Factors, Kind, Measurement, Words, column, luma, uniform
from rnr.degradation.shrinkage import opponent_sigma, shrink

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")


class LowLight(Kind):
    name = "low_light"
    formation = 40
    factors = (
        Factor("exposure", "", 0.05, 1, 0.01, "share of the light that was gathered"),
        Factor("gamma", "", 1, 2.6, 0.1, "exponent that darkens the mid-tones further"),
        Factor("noise", "8-bit levels", 0, 8, 0.5, "standard deviation of the noise that comes with it"),
    )
    main = "exposure"
    harmless = {"exposure": 1, "gamma": 1, "noise": 0}
    validation_severity = 75
    said_alone = True  # dark photographs exist: an expert that judged by itself lost 4 dB (docs/lab-log.md, 2026-11-29)
    measurement = Measurement(
        "bright level",
        "%",
        (8, 15, 23, 32, 42, 53, 65, 78, 90),
        "95th percentile of the luma, every second pixel",
        falls=True,
    )
    words = Words(
        "low light", "too short an exposure for the light there was", "a dark picture without bright tones", "relight"
    )
    curve = (
        (0, 0), (0.03987, 2), (0.07208, 5), (0.1169, 10), (0.1598, 15), (0.2038, 20), (0.2506, 25), (0.3015, 30),
        (0.3576, 35), (0.4201, 40), (0.4905, 45), (0.5706, 50), (0.6625, 55), (0.7694, 60), (0.8952, 65), (1.046, 70),
        (1.232, 75), (1.471, 80), (1.798, 85), (2.319, 90), (3.636, 94.6),
    )  # fmt: skip

    def sample(self, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        gamma = 1 + (1.6 * uniform(count, -0.4, 1, generator)).clamp(min=0)
        return {"gamma": gamma, "noise": (8 * uniform(count, -0.4, 1, generator)).clamp(min=0)}

    def magnitude(self, factors: Factors) -> torch.Tensor:
        return -torch.log(factors["exposure"]) + 0.4 * (factors["gamma"] - 1)

    def solve(self, magnitude: torch.Tensor, factors: Factors) -> torch.Tensor:
        return torch.exp(0.4 * (factors["gamma"] - 1) - magnitude)

    def apply(self, image_BCHW: torch.Tensor, factors: Factors, seed: int) -> torch.Tensor:
        """I = D + sigma sqrt(0.5 + 5 D) n with D = g J^gamma (Wei et al., BMVC 2018; noise: Foi et al., TIP 2008).

        Args:
            image_BCHW: J, float in [0, 1].
            factors: exposure g, gamma, and noise sigma (8-bit levels), (B,) each.
            seed: of n.

        Returns:
            I, float in [0, 1].
        """
        generator = self.generator(seed, image_BCHW.device)
        dark = column(factors["exposure"]) * image_BCHW.clamp(min=0) ** column(factors["gamma"])
        normal = torch.randn(image_BCHW.shape, generator=generator, device=image_BCHW.device)
        return (dark + column(factors["noise"]) / 255 * (0.5 + 5 * dark).sqrt() * normal).clamp(0, 1)

    def invert(self, image_BCHW: torch.Tensor, factors: Factors) -> torch.Tensor:
        # The noise of `apply`, as a part that is constant and one that grows with the light.
        sigma_B3 = opponent_sigma(3**0.5 * factors["noise"] / 255, torch.zeros_like(factors["noise"]) > 0)
        image_BCHW = shrink(image_BCHW, sigma_B3, torch.full_like(factors["noise"], 5 / 6))
        return (image_BCHW.clamp(min=0) / column(factors["exposure"])) ** (1 / column(factors["gamma"]))

    def measure(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        pixels = luma(image_BCHW)[..., ::2, ::2].flatten(1)
        return 100 * pixels.kthvalue(max(1, round(0.95 * pixels.shape[1])), dim=1).values


KIND = LowLight()
