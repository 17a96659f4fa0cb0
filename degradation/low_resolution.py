"""Low resolution: I = up(down(J)), by the kernels of the usual programs (the classical degradation of super-resolution:
Dong et al., ECCV 2014; its kernels: Zhang et al., "BSRGAN", ICCV 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Factor, Factors, Kind, Measurement, Words, choice, luma

if TYPE_CHECKING:
    import torch
    from torch.nn import functional
else:
    torch, functional = LazyModule("torch"), LazyModule("torch.nn.functional")

DOWN = ("bicubic", "area", "nearest")
UP = ("bicubic", "bilinear", "nearest")
DOWN_LOSS, UP_LOSS = (1.0, 1.4, 1.4), (1.0, 1.35, 1.55)  # against the first kernel: fitted with the severity curve
PHASES = 8  # px, where the grid of large pixels may begin


class LowResolution(Kind):
    # After the sensor (its noise is resized, too), before the file: pictures are made small to be passed on and saved.
    name = "low_resolution"
    formation = 55
    factors = (
        Factor("reduction", "", 1, 8, 0.1, "how many times fewer pixels there were on each side"),
        choice("down", DOWN, "how it was made small"),
        choice("up", UP, "how it was enlarged again"),
    )
    main = "reduction"
    harmless = {"reduction": 1}
    alike = ("blur",)  # of 8 blurred pictures 8 were called low resolution (docs/lab-log.md, 2026-11-29)
    validation_severity = 35
    measurement = Measurement(
        "neighbour redundancy",
        "dB",
        (16, 19, 22, 25, 28, 31, 34, 38, 50),
        "contrast over 8 px against what no neighbour predicts (after Popescu & Farid 2005: traces of resampling)",
    )
    words = Words(
        "low resolution",
        "a picture made small and enlarged again",
        "soft or blocky outlines, no fine detail",
        "upscale",
    )
    curve = (
        (0, 0), (0.115, 2), (0.2398, 5), (0.4372, 10), (0.6438, 15), (0.8704, 20), (1.124, 25), (1.413, 30),
        (1.744, 35), (2.127, 40), (2.574, 45), (3.098, 50), (3.718, 55), (4.512, 60.3),
    )  # fmt: skip

    def sample(self, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        draw = torch.rand(2, count, generator=generator, device=generator.device)
        down = (draw[0] > 0.55).long() + (draw[0] > 0.85)
        up = (draw[1] > 0.5).long() + (draw[1] > 0.75)
        return {"down": down, "up": up}

    def magnitude(self, factors: Factors) -> torch.Tensor:
        return torch.log(factors["reduction"]) * loss_share(factors)

    def solve(self, magnitude: torch.Tensor, factors: Factors) -> torch.Tensor:
        return torch.exp(magnitude / loss_share(factors))

    def apply(self, image_BCHW: torch.Tensor, factors: Factors, seed: int) -> torch.Tensor:
        """I = up(down(J)): the size stays (Dong 2014).

        Args:
            image_BCHW: J, float in [0, 1].
            factors: reduction (of each side) and the indices of both kernels, (B,) each.
            seed: of the place where the grid begins, because pictures are cropped after they are resized.

        Returns:
            I, float in [0, 1].
        """
        offset = torch.randint(0, PHASES, (len(image_BCHW), 2), generator=torch.Generator().manual_seed(seed)).tolist()
        rows = zip(image_BCHW.split(1), *(factors[name].tolist() for name in ("reduction", "down", "up")), offset)
        return torch.cat([resampled(*row) for row in rows]).clamp(0, 1)

    def measure(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        y = luma(image_BCHW)
        contrast, surprise = (along(y, -1) + along(y, -2) for along in (contrast_along, surprise_along))
        return 20 * torch.log10((contrast + 1e-5) / (surprise + 1e-5))


def loss_share(factors: Factors) -> torch.Tensor:
    """How much more (B,) the two kernels lose than the best ones at the same reduction."""
    losses = (torch.tensor(table, device=factors["down"].device) for table in (DOWN_LOSS, UP_LOSS))
    down, up = (loss[factors[name].long()] for loss, name in zip(losses, ("down", "up")))
    return down * up


def contrast_along(y_B1HW: torch.Tensor, dim: int) -> torch.Tensor:
    """Mean step (B,) over 8 px along an axis, over less where the picture is smaller."""
    length = y_B1HW.shape[dim]
    apart = min(8, length - 1)
    return (y_B1HW.narrow(dim, apart, length - apart) - y_B1HW.narrow(dim, 0, length - apart)).abs().mean((1, 2, 3))


def surprise_along(y_B1HW: torch.Tensor, dim: int) -> torch.Tensor:
    """Mean distance (B,) of a pixel from the best of three guesses: the one before, the one after, their mean."""
    length = y_B1HW.shape[dim]
    if length < 3:
        return torch.zeros(len(y_B1HW), device=y_B1HW.device)
    steps = y_B1HW.diff(dim=dim)
    before, after = steps.narrow(dim, 0, length - 2), steps.narrow(dim, 1, length - 2)
    return torch.minimum(torch.minimum(before.abs(), after.abs()), (after - before).abs() / 2).mean((1, 2, 3))


def resampled(image_1CHW: torch.Tensor, reduction: float, down: float, up: float, offset: list[int]) -> torch.Tensor:
    """One picture, its grid moved by the offset."""
    top, left = offset
    padded = functional.pad(image_1CHW, (left, 0, top, 0), mode="replicate")
    size = padded.shape[-2:]
    small = [max(1, round(side / reduction)) for side in size]
    if list(size) == small:
        return image_1CHW
    return to_size(to_size(padded, small, DOWN[int(down)]), list(size), UP[int(up)])[..., top:, left:]


def to_size(image_1CHW: torch.Tensor, size: list[int], kernel: str) -> torch.Tensor:
    smooth = kernel in ("bicubic", "bilinear")
    shrinks = size[0] < image_1CHW.shape[-2] or size[1] < image_1CHW.shape[-1]
    mode = kernel if kernel != "nearest" else "nearest-exact"
    return functional.interpolate(image_1CHW, size, mode=mode, antialias=smooth and shrinks)


KIND = LowResolution()
