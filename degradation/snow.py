"""Snow: I = (J (1 - a z) + c a z) t + A (1 - t), z = flakes at several distances (Liu et al., "DesnowNet", TIP 2018;
Chen et al., "JSTASR", ECCV 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Factor, Factors, Kind, Measurement, Words, column, uniform
from rnr.degradation.openings import opened
from rnr.degradation.particles import Sheet, axes, dots_per_pixel, doubled, half

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

KERNEL = 41  # px, largest flake of a layer with its motion
SPOT = 9  # px: wider spots are not measured
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1), (2, 1), (2, -1))  # steps (px down, px right), most of them those of rain


class Snow(Kind):
    name = "snow"
    formation = 25
    factors = (
        Factor("density", "% of pixels", 0, 60, 0.5, "share of the picture that flakes cover"),
        Factor("size", "px", 1, 8, 0.5, "diameter of a flake"),
        Factor("motion", "px", 0, 24, 2, "way that a flake falls during the exposure"),
        Factor("angle", "degrees", -60, 60, 5, "tilt of that way from the vertical, to the right at the bottom"),
        Factor("opacity", "", 0.3, 1, 0.02, "share of the light behind a flake that it hides"),
    )
    main = "density"
    harmless = {"density": 0}
    alike = ("rain",)
    validation_severity = 60
    measurement = Measurement(
        "bright round spots",
        "per mille",
        (4, 7, 10, 14, 19, 26, 36, 50, 70),
        "what openings by 9 px lines in six directions all remove, mean of the darkest channel (Soille 2003)",
    )
    words = Words(
        "snow", "flakes falling between camera and scene", "bright soft spots, round or short", "remove the snow"
    )
    curve = (
        (0, 0), (0.0003821, 2), (0.001112, 5), (0.002663, 10), (0.00468, 15), (0.007266, 20), (0.01057, 25),
        (0.01477, 30), (0.02013, 35), (0.02699, 40), (0.03581, 45), (0.04725, 50), (0.06222, 55), (0.08211, 60),
        (0.1091, 65), (0.1468, 70), (0.2019, 75), (0.2893, 80), (0.4529, 85), (0.5999, 87.3),
    )  # fmt: skip

    def sample(self, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        moving = uniform(count, -0.5, 1, generator).clamp(min=0)  # a third stands still
        return {
            "size": 1 + 7 * uniform(count, 0, 1, generator) ** 2,
            "motion": 24 * moving**1.5,
            "angle": 60 * uniform(count, -1, 1, generator) * uniform(count, 0.2, 1, generator),
            "opacity": uniform(count, 0.3, 1, generator),
        }

    def magnitude(self, factors: Factors) -> torch.Tensor:
        # Faint flakes cost less than their share: fitted with the severity curve, as the other exponents are.
        return factors["density"] / 100 * factors["opacity"] ** 1.5

    def solve(self, magnitude: torch.Tensor, factors: Factors) -> torch.Tensor:
        return 100 * magnitude / factors["opacity"] ** 1.5

    def apply(self, image_BCHW: torch.Tensor, factors: Factors, seed: int) -> torch.Tensor:
        """K = J (1 - a z) + c a z (Liu 2018), seen through a slight veil: I = K t + A (1 - t) (Chen 2020).

        Args:
            image_BCHW: J, float in [0, 1].
            factors: a is the opacity; the others shape the flakes z; (B,) each.
            seed: of the flakes, of their colour c, and of the veil, which 60% of the pictures do not have.

        Returns:
            I, float in [0, 1].
        """
        generator = self.generator(seed, image_BCHW.device)
        batch = len(image_BCHW)
        flakes = column(factors["opacity"]) * flake_layers(image_BCHW.shape, factors, generator)
        colour = column(uniform(batch, 0.85, 1, generator)) - 0.04 * torch.rand(
            batch, 3, 1, 1, generator=generator, device=generator.device
        ) * torch.tensor([1.0, 0.5, 0.0], device=generator.device).view(1, 3, 1, 1)
        snowy = image_BCHW + flakes * (colour - image_BCHW)
        thickness = uniform(batch, -0.6, 0.4, generator).clamp(min=0)
        veil = column(thickness * (factors["density"] / 100 * factors["opacity"]).sqrt())
        return (snowy + veil * (0.9 - snowy)).clamp(0, 1)

    def measure(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        darkest = image_BCHW.amin(1, keepdim=True)  # flakes are white
        lines = [opened(darkest, step, SPOT) for step in DIRECTIONS]
        return 1000 * (darkest - torch.stack(lines).amax(0)).mean((1, 2, 3))


def flake_layers(shape: torch.Size, factors: Factors, generator: torch.Generator) -> torch.Tensor:
    """Coverage (B, 1, H, W) in 0..1: flakes as large as the factors say, smaller ones behind, larger ones before."""
    batch, _, height, width = shape
    range_of_sizes = uniform(batch, -0.2, 1, generator).clamp(min=0)
    softness, faintest = uniform(batch, 0.2, 1, generator), uniform(batch, 0.2, 0.9, generator)
    coverage = factors["density"] / 100

    def layer(sheet: Sheet, share: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        diameter, motion = factors["size"] * size, factors["motion"] * size
        dots = sheet.dots(sheet.noise(), share * dots_per_pixel(coverage, flake_area(diameter, motion)), faintest)
        tilt = factors["angle"] + 8 * torch.randn(batch, generator=generator, device=generator.device)
        return sheet.drawn(dots, flake_kernel(diameter, motion, tilt, softness, generator))

    sheet, lens = Sheet(batch, height, width, KERNEL, generator), half(batch, height, width, KERNEL, generator)
    near_share = 0.5 * range_of_sizes
    sharp = sheet.seen(
        layer(sheet, (1 - near_share) * 0.6, torch.ones(batch, device=generator.device))
        + layer(sheet, (1 - near_share) * 0.4, 0.5**range_of_sizes)
    )
    near = doubled(lens.seen(layer(lens, near_share, 2**range_of_sizes / 2)), height, width)
    return (sharp + near).clamp(0, 1)


def flake_area(diameter_B: torch.Tensor, motion_B: torch.Tensor) -> torch.Tensor:
    """Area (px) of a disc that was drawn out; never less than a pixel."""
    return (0.785 * diameter_B**2 + diameter_B * motion_B).clamp(min=1)


def flake_kernel(
    diameter_B: torch.Tensor,
    motion_B: torch.Tensor,
    angle_B: torch.Tensor,
    softness_B: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """(B, K, K), peak 1: a lump of three lobes, drawn out; its edge is as wide as `softness` of its radius."""
    along, across = axes(KERNEL, angle_B)
    rest = along.abs().sub(motion_B.view(-1, 1, 1) / 2).clamp(min=0) * along.sign()
    lobes, turn = uniform(len(angle_B), 0, 0.15, generator), uniform(len(angle_B), 0, 6.3, generator)
    bumps = 1 + lobes.view(-1, 1, 1) * torch.cos(3 * torch.atan2(rest, across) + turn.view(-1, 1, 1))
    radius = diameter_B.view(-1, 1, 1) / 2
    edge = 1 + softness_B.view(-1, 1, 1) * radius
    mark = ((radius * bumps - torch.hypot(rest, across) + 0.5) / edge + 0.25 * softness_B.view(-1, 1, 1)).clamp(0, 1)
    return mark / mark.amax((1, 2), keepdim=True).clamp(min=1e-3)


KIND = Snow()
