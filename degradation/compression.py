"""Compression: a real JPEG written and read back, now and then twice (ITU-T T.81, libjpeg's quality scale)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Factor, Factors, Kind, Measurement, Words, choice, luma
from rnr.degradation.shrinkage import shrink

if TYPE_CHECKING:
    import cv2
    import numpy as np
    import torch
else:
    torch, np, cv2 = LazyModule("torch"), LazyModule("numpy"), LazyModule("cv2")

SUBSAMPLING = {"444": 0x111111, "422": 0x211111, "420": 0x221111}  # OpenCV's IMWRITE_JPEG_SAMPLING_FACTOR values


MEAN_STEP = 118 / 9  # of the nine lowest frequencies in T.81's luma table


class Compression(Kind):
    name = "compression"
    formation = 60
    factors = (
        Factor("quality", "", 3, 100, 1, "libjpeg quality"),
        choice("subsampling", tuple(SUBSAMPLING), "resolution of the colour channels"),
    )
    main = "quality"
    harmless = {"quality": 100}
    validation_severity = 40
    second_pass_helps = False  # changes little; see graph/planning.py
    measurement = Measurement(
        "blockiness",
        "%",
        (3, 6, 10, 15, 22, 32, 46, 66, 100),
        "excess of luma steps on the 8 px grid (Wang, Bovik, Evans 2000)",
    )
    words = Words("compression", "a file saved too small", "blocks, ringing and smeared colour", "remove the blocking")
    curve = (
        (0, 0), (0.3616, 2), (0.5788, 5), (0.85, 10), (1.089, 15), (1.321, 20), (1.556, 25), (1.801, 30), (2.061, 35),
        (2.34, 40), (2.643, 45), (3.045, 51),
    )  # fmt: skip

    def sample(self, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"subsampling": torch.randint(0, 3, (count,), generator=generator, device=generator.device)}

    def magnitude(self, factors: Factors) -> torch.Tensor:
        return torch.log1p(quantiser_scale(factors["quality"]) * (1 + 0.1 * factors["subsampling"]))

    def solve(self, magnitude: torch.Tensor, factors: Factors) -> torch.Tensor:
        scale = torch.expm1(magnitude) / (1 + 0.1 * factors["subsampling"])
        return torch.where(scale > 1, 50 / scale, 100 - 50 * scale).round()

    def apply(self, image_BCHW: torch.Tensor, factors: Factors, seed: int) -> torch.Tensor:
        """Coefficients of 8 px blocks, rounded to the quantiser's steps (T.81, A.3.4), by OpenCV's libjpeg.

        Args:
            image_BCHW: float in [0, 1].
            factors: quality and the index of subsampling, (B,) each.
            seed: of the grid, which starts anywhere because pictures are cropped after they are saved, and of a milder
                first save on a grid of its own, for three of ten pictures (`first_quality`).

        Returns:
            float in [0, 1], on 8-bit levels.
        """
        generator = torch.Generator().manual_seed(seed)
        offsets = torch.randint(0, 8, (len(image_BCHW), 4), generator=generator).tolist()
        quality, subsampling = factors["quality"].round().int().cpu(), factors["subsampling"].int().tolist()
        first = first_quality(quality, generator).tolist()
        pictures = (image_BCHW.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        saved = []
        for picture, before, after, sampling, offset in zip(pictures, first, quality.tolist(), subsampling, offsets):
            picture = save(picture, before, sampling, offset[2:]) if before else picture
            saved.append(save(picture, after, sampling, offset[:2]))
        return torch.from_numpy(np.stack(saved)).permute(0, 3, 1, 2).to(image_BCHW) / 255

    def invert(self, image_BCHW: torch.Tensor, factors: Factors) -> torch.Tensor:
        """Shrinkage at the level of the quantiser's error (Foi, Katkovnik, Egiazarian, TIP 2007, eq. 15)."""
        table = MEAN_STEP * quantiser_scale(factors["quality"])
        sigma_B = 0.69**0.5 * table**0.65 / 255
        return shrink(image_BCHW, sigma_B[:, None].expand(-1, 3))

    def measure(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        y = luma(image_BCHW)
        return 50 * (grid_excess(y.diff(dim=-1).abs().mean((1, 2))) + grid_excess(y.diff(dim=-2).abs().mean((1, 3))))


def first_quality(quality_B: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Of an earlier save (B,), between the last one's quality and 95; 0 where there was none."""
    share, twice = torch.rand(2, len(quality_B), generator=generator)
    return torch.where(twice < 0.3, quality_B + share * (95 - quality_B).clamp(min=0), 0).round().int()


def save(picture_HWC: np.ndarray, quality: int, subsampling: int, offset: Sequence[int]) -> np.ndarray:
    """As a JPEG file would give it back, whose grid begins `offset` (down, right) outside."""
    top, left = offset
    padded = cv2.copyMakeBorder(picture_HWC, top, 0, left, 0, cv2.BORDER_REPLICATE)
    sampling = list(SUBSAMPLING.values())[subsampling]
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, data = cv2.imencode(".jpg", padded[..., ::-1], flags)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[top:, left:, ::-1]


def quantiser_scale(quality: torch.Tensor) -> torch.Tensor:
    """libjpeg's jpeg_quality_scaling / 100."""
    return torch.where(quality < 50, 50 / quality.clamp(min=1), 2 - quality / 50)


def grid_excess(steps_BN: torch.Tensor) -> torch.Tensor:
    """How much larger the step is on the best-aligned of 8 phases than on the others: 0 = no grid, 1 = twice."""
    usable = steps_BN[:, : steps_BN.shape[1] // 8 * 8]
    if usable.shape[1] == 0:
        return torch.zeros(len(steps_BN), device=steps_BN.device)
    phases = usable.view(len(usable), -1, 8).mean(1)
    best = phases.amax(1)
    return best / ((phases.sum(1) - best) / 7).clamp(min=1e-4) - 1


KIND = Compression()
