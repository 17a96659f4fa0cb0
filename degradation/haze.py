"""Haze: I = J t + A (1 - t), t = exp(-beta d) (Koschmieder 1924; Narasimhan & Nayar, IJCV 2002)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.depth import scene_depth
from rnr.degradation.kind import Factor, Factors, Kind, Measurement, Words, column, uniform

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")


class Haze(Kind):
    name = "haze"
    formation = 30
    factors = (
        Factor("transmission", "", 0.1, 1.0, 0.01, "mean share of the scene's light that arrives"),
        Factor("airlight", "", 0.6, 1.0, 0.01, "brightness of the veil"),
    )
    main = "transmission"
    harmless = {"transmission": 1}
    validation_severity = 55
    measurement = Measurement(
        "dark channel", "%", (4, 8, 13, 19, 26, 34, 43, 53, 65), "He, Sun, Tang, CVPR 2009: patch minimum over colours"
    )
    words = Words("haze", "light scattered by droplets or dust in the air", "a pale veil and lost contrast", "dehaze")
    curve = (
        (0, 0), (0.04748, 2), (0.07991, 5), (0.1223, 10), (0.161, 15), (0.1996, 20), (0.2396, 25), (0.2823, 30),
        (0.3285, 35), (0.3794, 40), (0.436, 45), (0.4999, 50), (0.5729, 55), (0.6579, 60), (0.7589, 65), (0.8829, 70),
        (1.043, 75), (1.27, 80), (1.688, 85), (2.302, 87.4),
    )  # fmt: skip

    def sample(self, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"airlight": uniform(count, 0.65, 1.0, generator)}

    def magnitude(self, factors: Factors) -> torch.Tensor:
        # A brighter veil hides more than its share: fitted with the severity curve.
        return -torch.log(factors["transmission"]) * (0.4 + 0.6 * factors["airlight"])

    def solve(self, magnitude: torch.Tensor, factors: Factors) -> torch.Tensor:
        return torch.exp(-magnitude / (0.4 + 0.6 * factors["airlight"]))

    def apply(self, image_BCHW: torch.Tensor, factors: Factors, seed: int) -> torch.Tensor:
        """I = J t + A (1 - t), t = exp(-beta d) (Koschmieder 1924), d from `depth.scene_depth`.

        Args:
            image_BCHW: J, float in [0, 1].
            factors: transmission (the mean of t) and airlight (the brightness of A), (B,) each.
            seed: of the depth and of the colour of A.

        Returns:
            I, float in [0, 1].
        """
        generator = self.generator(seed, image_BCHW.device)
        depth = scene_depth(image_BCHW, generator)
        transmission = torch.exp(-column(scattering(depth, factors["transmission"])) * depth)
        airlight = (column(factors["airlight"]) * tint(len(depth), generator)).clamp(0, 1)
        return image_BCHW * transmission + airlight * (1 - transmission)

    def invert(self, image_BCHW: torch.Tensor, factors: Factors) -> torch.Tensor:
        """The same veil everywhere: depth is not known here."""
        transmission, airlight = column(factors["transmission"]), column(factors["airlight"])
        return (image_BCHW - airlight * (1 - transmission)) / transmission.clamp(min=0.1)

    def measure(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        darkest = image_BCHW.amin(1, keepdim=True)
        patch = max(3, min(15, min(image_BCHW.shape[-2:]) // 8) | 1)
        return 100 * -torch.nn.functional.max_pool2d(-darkest, patch, patch // 2).mean((1, 2, 3))


def tint(count: int, generator: torch.Generator) -> torch.Tensor:
    """(B, 3, 1, 1) around 1: nearly grey; now and then a veil of dust, smoke or dusk, warm or blue."""
    device = generator.device
    grey = 0.015 * torch.randn(count, 3, 1, 1, generator=generator, device=device)
    warmth = column(uniform(count, -0.3, 1, generator).clamp(min=0.7) - 0.7)  # 0, or up to 0.3 for 23%
    sign = column((uniform(count, 0, 1, generator) > 0.4).float() * 2 - 1)
    return 1 + grey - warmth * sign * torch.tensor([-0.3, 0.1, 0.7], device=device).view(1, 3, 1, 1)


def scattering(depth_B1HW: torch.Tensor, transmission_B: torch.Tensor) -> torch.Tensor:
    """The coefficient beta (B,) with mean(exp(-beta d)) = transmission, by bisection on a small copy of the depth."""
    small = torch.nn.functional.adaptive_avg_pool2d(depth_B1HW, (24, 24)).flatten(1)
    low, high = torch.zeros_like(transmission_B), torch.full_like(transmission_B, 40.0)
    for _ in range(24):
        middle = (low + high) / 2
        too_clear = torch.exp(-middle[:, None] * small).mean(1) > transmission_B
        low, high = torch.where(too_clear, middle, low), torch.where(too_clear, high, middle)
    return (low + high) / 2


KIND = Haze()
