"""Haze: I = J t + A (1 - t), t = exp(-beta d) (Koschmieder 1924; Narasimhan & Nayar, IJCV 2002)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Factor, Kind, Measurement, Words, column, luma, uniform

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")


class Haze(Kind):
    name, formation, main = "haze", 30, "transmission"
    factors = (
        Factor("transmission", "", 0.1, 1.0, 0.01, "mean share of the scene's light that arrives"),
        Factor("airlight", "", 0.6, 1.0, 0.01, "brightness of the veil"),
    )
    measurement = Measurement(
        "dark channel", "%", (4, 8, 13, 19, 26, 34, 43, 53, 65), "He, Sun, Tang, CVPR 2009: patch minimum over colours"
    )
    words = Words("haze", "light scattered by droplets or dust in the air", "a pale veil and lost contrast", "dehaze")
    curve = (
        (0, 0), (0.04648, 2), (0.07873, 5), (0.1211, 10), (0.16, 15), (0.1988, 20), (0.2392, 25), (0.2822, 30),
        (0.329, 35), (0.3803, 40), (0.4376, 45), (0.5021, 50), (0.5757, 55), (0.6611, 60), (0.7621, 65), (0.8849, 70),
        (1.041, 75), (1.254, 80), (1.604, 85), (2.303, 88.7),
    )  # fmt: skip

    def sample(self, count, generator):
        return {"airlight": uniform(count, 0.65, 1.0, generator)}

    def magnitude(self, factors):
        # A brighter veil hides more than its share: fitted with the severity curve.
        return -torch.log(factors["transmission"]) * (0.4 + 0.6 * factors["airlight"])

    def solve(self, magnitude, factors):
        return torch.exp(-magnitude / (0.4 + 0.6 * factors["airlight"]))

    def apply(self, image_BCHW, factors, seed):
        generator = self.generator(seed, image_BCHW.device)
        depth = depth_map(image_BCHW, generator)
        transmission = torch.exp(-column(scattering(depth, factors["transmission"])) * depth)
        tint = 1 + 0.03 * torch.randn(len(depth), 3, 1, 1, generator=generator, device=depth.device)
        airlight = (column(factors["airlight"]) * tint).clamp(0, 1)
        return image_BCHW * transmission + airlight * (1 - transmission)

    def invert(self, image_BCHW, factors):
        """The same veil everywhere: depth is not known here."""
        transmission, airlight = column(factors["transmission"]), column(factors["airlight"])
        return (image_BCHW - airlight * (1 - transmission)) / transmission.clamp(min=0.1)

    def measure(self, image_BCHW):
        darkest = image_BCHW.amin(1, keepdim=True)
        patch = max(3, min(15, min(image_BCHW.shape[-2:]) // 8) | 1)
        return 100 * -torch.nn.functional.max_pool2d(-darkest, patch, patch // 2).mean((1, 2, 3))


def depth_map(image_BCHW, generator):
    """Smooth random depth (B, 1, H, W) of mean 1: plane, blobs and, now and then, the picture's own brightness."""
    batch, _, height, width = image_BCHW.shape
    device = image_BCHW.device

    def draw(low, high):
        return column(uniform(batch, low, high, generator))

    y = torch.linspace(1, -1, height, device=device).view(1, 1, -1, 1)  # the top is far
    x = torch.linspace(-1, 1, width, device=device).view(1, 1, 1, -1)
    grid = torch.randn(batch, 1, 4, 4, generator=generator, device=device)
    blobs = torch.nn.functional.interpolate(grid, (height, width), mode="bicubic", align_corners=True)
    plane = draw(-0.3, 1) * y + draw(-0.6, 0.6) * x
    small = torch.nn.functional.adaptive_avg_pool2d(luma(image_BCHW), (8, 8))
    bright = torch.nn.functional.interpolate(small, (height, width), mode="bilinear") - 0.5
    relief = plane + draw(0, 0.7) * blobs + 2 * (draw(-2, 1)).clamp(min=0) * bright
    relief = (relief - relief.mean((2, 3), keepdim=True)) * draw(0, 0.8)
    depth = torch.nn.functional.softplus(1 + 2 * relief)
    return depth / depth.mean((2, 3), keepdim=True)


def scattering(depth_B1HW, transmission_B):
    """The coefficient beta (B,) with mean(exp(-beta d)) = transmission, by bisection on a small copy of the depth."""
    small = torch.nn.functional.adaptive_avg_pool2d(depth_B1HW, (24, 24)).flatten(1)
    low, high = torch.zeros_like(transmission_B), torch.full_like(transmission_B, 40.0)
    for _ in range(24):
        middle = (low + high) / 2
        too_clear = torch.exp(-middle[:, None] * small).mean(1) > transmission_B
        low, high = torch.where(too_clear, middle, low), torch.where(too_clear, high, middle)
    return (low + high) / 2


KIND = Haze()
