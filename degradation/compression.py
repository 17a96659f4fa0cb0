"""Compression: a real JPEG written and read back (ITU-T T.81, libjpeg's quality scale)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Factor, Kind, Measurement, Words, choice, luma
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
    name, formation, main = "compression", 60, "quality"
    factors = (
        Factor("quality", "", 3, 100, 1, "libjpeg quality"),
        choice("subsampling", tuple(SUBSAMPLING), "resolution of the colour channels"),
    )
    measurement = Measurement(
        "blockiness",
        "%",
        (3, 6, 10, 15, 22, 32, 46, 66, 100),
        "excess of luma steps on the 8 px grid (Wang, Bovik, Evans 2000)",
    )
    words = Words("compression", "a file saved too small", "blocks, ringing and smeared colour", "remove the blocking")
    curve = (
        (0, 0), (0.2957, 2), (0.4836, 5), (0.7227, 10), (0.9363, 15), (1.146, 20), (1.36, 25), (1.584, 30),
        (1.824, 35), (2.083, 40), (2.366, 45), (2.679, 50), (3.045, 55.2),
    )  # fmt: skip

    def sample(self, count, generator):
        return {"subsampling": torch.randint(0, 3, (count,), generator=generator, device=generator.device)}

    def magnitude(self, factors):
        return torch.log1p(quantiser_scale(factors["quality"]) * (1 + 0.1 * factors["subsampling"]))

    def solve(self, magnitude, factors):
        scale = torch.expm1(magnitude) / (1 + 0.1 * factors["subsampling"])
        return torch.where(scale > 1, 50 / scale, 100 - 50 * scale).round()

    def apply(self, image_BCHW, factors, seed):
        # The grid starts anywhere: pictures are cropped after they are saved.
        offset = torch.randint(0, 8, (len(image_BCHW), 2), generator=torch.Generator().manual_seed(seed)).tolist()
        pictures = (image_BCHW.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        quality, subsampling = factors["quality"].round().int().tolist(), factors["subsampling"].int().tolist()
        saved = [save(*row) for row in zip(pictures, quality, subsampling, offset)]
        return torch.from_numpy(np.stack(saved)).permute(0, 3, 1, 2).to(image_BCHW) / 255

    def invert(self, image_BCHW, factors):
        """Shrinkage at the level of the quantiser's error (Foi, Katkovnik, Egiazarian, TIP 2007, eq. 15)."""
        table = MEAN_STEP * quantiser_scale(factors["quality"])
        sigma_B = 0.69**0.5 * table**0.65 / 255
        return shrink(image_BCHW, sigma_B[:, None].expand(-1, 3))

    def measure(self, image_BCHW):
        y = luma(image_BCHW)
        return 50 * (grid_excess(y.diff(dim=-1).abs().mean((1, 2))) + grid_excess(y.diff(dim=-2).abs().mean((1, 3))))


def save(picture_HWC, quality, subsampling, offset):
    top, left = offset
    padded = cv2.copyMakeBorder(picture_HWC, top, 0, left, 0, cv2.BORDER_REPLICATE)
    sampling = list(SUBSAMPLING.values())[subsampling]
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, data = cv2.imencode(".jpg", padded[..., ::-1], flags)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[top:, left:, ::-1]


def quantiser_scale(quality):
    """libjpeg's jpeg_quality_scaling / 100."""
    return torch.where(quality < 50, 50 / quality.clamp(min=1), 2 - quality / 50)


def grid_excess(steps_BN):
    """How much larger the step is on the best-aligned of 8 phases than on the others: 0 = no grid, 1 = twice."""
    usable = steps_BN[:, : steps_BN.shape[1] // 8 * 8]
    if usable.shape[1] == 0:
        return torch.zeros(len(steps_BN), device=steps_BN.device)
    phases = usable.view(len(usable), -1, 8).mean(1)
    best = phases.amax(1)
    return best / ((phases.sum(1) - best) / 7).clamp(min=1e-4) - 1


KIND = Compression()
