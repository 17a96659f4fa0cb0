"""Things that fall through a picture: marks strewn at random over a layer, as a convolution of dots with one mark.

Layers lie at different distances: `NEAR` ones are larger, out of focus and drawn at half the resolution, which is also
what makes large marks cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule

if TYPE_CHECKING:
    import torch
    from torch.nn import functional
else:
    torch, functional = LazyModule("torch"), LazyModule("torch.nn.functional")


class Sheet:
    """A canvas (B, height, width) that marks of at most `reach` px are strewn on."""

    def __init__(self, batch: int, height: int, width: int, reach: int, generator: torch.Generator) -> None:
        self.batch, self.height, self.width, self.reach = batch, height, width, reach
        self.size = (quick(height + reach - 1), quick(width + reach - 1))
        self.generator = generator

    def noise(self) -> torch.Tensor:
        """Uniform in 0..1, with a border from which marks reach in."""
        return torch.rand(self.batch, *self.size, generator=self.generator, device=self.generator.device)

    def dots(self, noise: torch.Tensor, per_pixel_B: torch.Tensor, faintest_B: torch.Tensor) -> torch.Tensor:
        """Poisson dots from a noise: so many a pixel, with strengths between `faintest` and 1."""
        share = per_pixel_B.clamp(1e-9, 1).view(-1, 1, 1)
        strength = 1 - (1 - faintest_B.view(-1, 1, 1)) * noise / share
        return strength * (noise < share)

    def drawn(self, dots: torch.Tensor, mark_BKK: torch.Tensor) -> torch.Tensor:
        """The spectrum of the dots, each replaced by the mark; spectra of one sheet add up."""
        return torch.fft.rfft2(dots) * torch.fft.rfft2(mark_BKK, s=self.size)

    def seen(self, spectrum: torch.Tensor) -> torch.Tensor:
        """(B, 1, height, width) of a spectrum."""
        border = self.reach - 1
        full = torch.fft.irfft2(spectrum, s=self.size)[:, None]
        return full[..., border : border + self.height, border : border + self.width]


def half(batch: int, height: int, width: int, reach: int, generator: torch.Generator) -> Sheet:
    """A sheet of half the resolution, for marks of up to twice the reach."""
    return Sheet(batch, -(-height // 2), -(-width // 2), reach, generator)


def doubled(map_B1HW: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A map of a half sheet at full resolution."""
    return functional.interpolate(map_B1HW, scale_factor=2, mode="bilinear")[..., :height, :width]


def quick(length: int) -> int:
    """The next length that a Fourier transform likes: 2^a 3^b 5^c, even."""
    length += length % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2


def dots_per_pixel(coverage_B: torch.Tensor, area_B: torch.Tensor) -> torch.Tensor:
    """How many marks of this area (px) cover this share of a layer: 1 - exp(-n area) = coverage."""
    return -torch.log1p(-coverage_B.clamp(max=0.95)) / area_B


def axes(side: int, angle_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Places (B, K, K) along and across a direction, `angle` degrees from the vertical, 0 in the middle; px."""
    axis = torch.arange(side, device=angle_B.device) - side // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    angle = torch.deg2rad(angle_B).view(-1, 1, 1)
    return x * torch.sin(angle) + y * torch.cos(angle), x * torch.cos(angle) - y * torch.sin(angle)
