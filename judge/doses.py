"""The judge along doses: a kind is undone by its own inverse, too little, right and too much, on true pairs.

For each photograph: the kind at a drawn severity, then for each dose (0-100, on the severity scale) the inverse with
the factors scaled to that dose. PSNR against the clean image has its best dose; so has `judge.change` against the
degraded image. A good judge has them in the same place.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import torch

from rnr.degradation.kind import Factors, Kind, interpolate
from rnr.degradation.photographs import rounded

DOSES = tuple(range(0, 101, 10))
SEVERITY = (25.0, 75.0)  # of what is undone: room below and above on the scale


@dataclass
class Sweep:
    """One photograph and kind: `undone[i]` is `degraded` after the inverse at `DOSES[i]`; (3, H, W) in [0, 1]."""

    kind: str
    severity: float
    clean_CHW: torch.Tensor
    degraded_CHW: torch.Tensor
    undone: list[torch.Tensor]


def sweep(kind: Kind, clean_CHW: torch.Tensor, name: str, seed: int = 0) -> Sweep:
    """Degrade one image and undo it at each dose; `name` and `seed` decide every draw."""
    number = zlib.crc32(f"{kind.name} {name} {seed}".encode())
    factors = kind.draw_between(*SEVERITY, 1, torch.Generator().manual_seed(number))
    degraded = rounded(kind.apply(clean_CHW[None], factors, number))
    undone = [rounded(kind.invert(degraded, scaled(kind, factors, dose)))[0] for dose in DOSES]
    return Sweep(kind.name, float(kind.severity(factors)), clean_CHW, degraded[0], undone)


def scaled(kind: Kind, factors: Factors, dose: float) -> Factors:
    """Factors of the same damage at another severity: each is moved from where it is harmless in the same measure.

    Both magnitudes are linear in the logarithm of the share of light and in the excess of gamma.
    """
    wanted = interpolate(torch.tensor([dose]), tuple((severity, magnitude) for magnitude, severity in kind.curve))
    times = wanted / kind.magnitude(factors)
    if kind.name == "haze":
        return {**factors, "transmission": factors["transmission"] ** times}
    noise = factors["noise"] * times.clamp(max=1)  # no more grain is taken away than was put in
    return {"exposure": factors["exposure"] ** times, "gamma": 1 + (factors["gamma"] - 1) * times, "noise": noise}
