"""Blur: convolution with the point spread function of a lens out of focus or of a camera that moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Factor, Factors, Kind, Measurement, Words, choice, fft_filter, luma, uniform

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

KERNEL = 49  # px
TYPES = ("gaussian", "defocus", "motion")
NOISE_TO_SIGNAL = 0.01  # of the inverse
INVERSE = 127  # px, side of the inverse's kernel
SHARE = (1.0, 0.95, 0.6)  # strength against a gaussian of the same width: motion spares one direction


class Blur(Kind):
    name = "blur"
    formation = 10
    factors = (
        choice("type", TYPES, "shape of the point spread function"),
        Factor("width", "px", 0.3, 8, 0.1, "standard deviation of the point spread function along its longest axis"),
        Factor("angle", "degrees", 0, 175, 5, "direction of motion, anticlockwise from the horizontal"),
    )
    main = "width"
    harmless = {"width": 0.3}
    validation_severity = 45
    second_pass_helps = False  # what looks like blur then is the restorer's own smoothness; see graph/planning.py
    measurement = Measurement(
        "gradient decay",
        "",
        (0.2, 0.27, 0.34, 0.41, 0.48, 0.55, 0.62, 0.69, 0.76),
        "gradient energy left after a 3x3 mean",
    )
    words = Words("blur", "a lens out of focus or a camera that moved", "soft edges and lost detail", "deblur")
    curve = (
        (0, 0), (0.1275, 2), (0.2396, 5), (0.4021, 10), (0.5624, 15), (0.7317, 20), (0.9169, 25), (1.124, 30),
        (1.36, 35), (1.634, 40), (1.957, 45), (2.348, 50), (2.835, 55), (3.474, 60), (4.385, 65), (5.977, 70),
        (7.7, 72.5),
    )  # fmt: skip

    def sample(self, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        index = torch.randint(0, 3, (count,), generator=generator, device=generator.device)
        return {"type": index, "angle": uniform(count, 0, 180, generator)}

    def _share(self, factors: Factors) -> torch.Tensor:
        return torch.tensor(SHARE, device=factors["type"].device)[factors["type"].long()]

    def magnitude(self, factors: Factors) -> torch.Tensor:
        return (factors["width"] - 0.3) * self._share(factors)

    def solve(self, magnitude: torch.Tensor, factors: Factors) -> torch.Tensor:
        return magnitude / self._share(factors) + 0.3

    def apply(self, image_BCHW: torch.Tensor, factors: Factors, seed: int) -> torch.Tensor:
        """I = k * J: convolution with a point spread function of sum 1, mirrored at the borders (Goodman 2005, ch. 6).

        Args:
            image_BCHW: J, float in [0, 1].
            factors: width (px) and angle (degrees) of k and the index of its type, (B,) each.
            seed: of the aspect of a gaussian, and of the bend and thickness of a motion.

        Returns:
            I, float in [0, 1].
        """
        generator = self.generator(seed, image_BCHW.device)
        return fft_filter(image_BCHW, kernel(factors, generator)).clamp(0, 1)

    def invert(self, image_BCHW: torch.Tensor, factors: Factors) -> torch.Tensor:
        """Wiener's filter for the nominal kernel, as a kernel of its own; pictures too small for it stay as they are.

        It ends 63 px from its middle, so that a tile with such a margin gives what the whole picture gives; that costs
        nothing (motion of 9, 15, 21 px: 28.72, 26.02, 24.25 dB without an end, 28.67, 26.02, 24.26 with it).
        """
        if 2 * min(image_BCHW.shape[-2:]) < INVERSE:
            return image_BCHW
        return fft_filter(image_BCHW, wiener(point_spread(factors)))

    def measure(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        y = luma(image_BCHW)
        soft = torch.nn.functional.avg_pool2d(y, 3, 1)
        return gradient_energy(soft) / gradient_energy(y[..., 1:-1, 1:-1]).clamp(min=1e-9)


def gradient_energy(y_B1HW: torch.Tensor) -> torch.Tensor:
    dx, dy = y_B1HW.diff(dim=-1), y_B1HW.diff(dim=-2)
    return (dx**2).mean((1, 2, 3)) + (dy**2).mean((1, 2, 3))


def wiener(spread_BKK: torch.Tensor) -> torch.Tensor:
    """Kernels (B, INVERSE, INVERSE), sum 1, of Wiener's filter for point spread functions; they fade out at the end."""
    side, half = 2 * (INVERSE + 1), INVERSE // 2
    padded = torch.nn.functional.pad(spread_BKK, (0, side - KERNEL, 0, side - KERNEL))
    response = torch.fft.rfft2(padded.roll((-(KERNEL // 2), -(KERNEL // 2)), (1, 2)))
    inverse = torch.fft.irfft2(response.conj() / (response.abs() ** 2 + NOISE_TO_SIGNAL), s=(side, side))
    fade = torch.hann_window(INVERSE + 2, periodic=False, device=spread_BKK.device)[1:-1] ** 0.25
    kernel_BKK = inverse.roll((half, half), (1, 2))[:, :INVERSE, :INVERSE] * fade[:, None] * fade
    return kernel_BKK / kernel_BKK.sum((1, 2), keepdim=True)


def kernel(factors: Factors, generator: torch.Generator) -> torch.Tensor:
    """(B, K, K), sum 1: random aspect of the gaussian, bend and thickness of the motion's line."""

    def draw(low: float, high: float) -> torch.Tensor:
        return uniform(len(factors["width"]), low, high, generator).view(-1, 1, 1)

    return point_spread(factors, draw(0.5, 1.5).clamp(max=1), draw(-0.5, 0.5).clamp(-0.25, 0.25), draw(0.35, 0.8))


def point_spread(
    factors: Factors,
    aspect: float | torch.Tensor = 0.95,
    bend: float | torch.Tensor = 0.0,
    thickness: float | torch.Tensor = 0.5,
) -> torch.Tensor:
    """(B, K, K), sum 1."""
    width, index = factors["width"].view(-1, 1, 1), factors["type"].view(-1, 1, 1)
    device = width.device
    axis = torch.arange(KERNEL, device=device) - KERNEL // 2
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    angle = torch.deg2rad(factors["angle"]).view(-1, 1, 1)

    along = x * torch.cos(angle) + y * torch.sin(angle)
    across = -x * torch.sin(angle) + y * torch.cos(angle)
    gaussian = torch.exp(-0.5 * ((along / width) ** 2 + (across / (width * aspect)) ** 2))
    disc = (2 * width - torch.hypot(along, across) + 0.5).clamp(0, 1)
    length = width * 12**0.5
    bow = across - bend * along**2 / length.clamp(min=1)
    line = (length / 2 - along.abs() + 0.5).clamp(0, 1) * torch.exp(-0.5 * (bow / thickness) ** 2)
    shape = torch.where(index == 0, gaussian, torch.where(index == 1, disc, line))
    return shape / shape.sum((1, 2), keepdim=True)


KIND = Blur()
