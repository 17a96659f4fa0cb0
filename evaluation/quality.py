"""Restoration against the clean picture: input, classical baselines, ours by predicted, by true and by no diagnosis.

One row per picture, method and number of steps. PSNR in dB over all channels of the picture rounded to 8 bits; SSIM of
the luma; `damage` and `structural` are the shares of squared error and of 1 - SSIM that are left; `spectrum` is the
distance of the luma's log radial power spectrum to the clean one's in dB (rnr.evaluation.metrics.spectrum_distance).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.diagnosis import DiagnosisRecord
from rnr.degradation.kind import luma
from rnr.degradation.measure import damage_left, psnr, ssim
from rnr.degradation.photographs import rounded, to_uint8
from rnr.evaluation.baselines import apply
from rnr.evaluation.journal import Journal
from rnr.evaluation.metrics import spectrum_distance
from rnr.evaluation.pairs import Pair
from rnr.evaluation.tables import Row

if TYPE_CHECKING:
    import numpy as np
    import torch

    from rnr.degradation.protocols import Diagnoser, Restorer
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

COLUMNS = (
    "task", "picture", "kind", "severity", "method", "detail", "steps", "psnr", "ssim", "damage", "structural",
    "spectrum", "untouched", "seconds",
)  # fmt: skip
KEY = ("task", "picture")


@dataclass
class Bench:
    """What is compared. `steps` are those of the table, `more_steps` those that only the step plot needs."""

    reasoner: Diagnoser
    restorer: Restorer
    steps: tuple[int, ...] = (1, 4)
    more_steps: tuple[int, ...] = (2, 8)
    conditioned_on: tuple[str, ...] = ("predicted", "true", "blind")
    seed: int = 0

    def rows(self, pair: Pair, sweep_steps: bool = False) -> list[Row]:
        """Everything measured on one picture."""
        rows = [self._row(pair, pair.degraded, method="input")]
        rows += [self._baseline(pair, chain) for chain in pair.chains]
        pixels = pair.degraded[0].permute(1, 2, 0).contiguous().numpy()
        record = self.reasoner.diagnose([to_uint8(pair.degraded)])[0]
        sources = {"predicted": record, "true": pair.truth(), "blind": None}
        needs_diagnosis = getattr(self.restorer, "needs_diagnosis", False)
        for method in self.conditioned_on:
            if (method == "true" and sources["true"] is None) or (method == "blind" and needs_diagnosis):
                continue
            steps = self.steps + (self.more_steps if sweep_steps and method == "predicted" else ())
            rows += [self._ours(pair, pixels, method, sources[method], count) for count in sorted(steps)]
        return rows

    def _ours(self, pair: Pair, pixels: np.ndarray, method: str, source: Any, steps: int) -> Row:
        if (
            isinstance(source, DiagnosisRecord) and source.diagnosis is None
        ):  # nothing to restore by: it stays as it was
            return self._row(pair, pair.degraded, method=method, detail=source.error, steps=steps, untouched=True)
        result = self.restorer.restore(pixels, source, num_inference_steps=steps, seed=self.seed)
        restored = torch.from_numpy(result.pixels_HWC3).permute(2, 0, 1)[None]
        about = {"steps": steps, "untouched": bool(result.untouched), "seconds": result.seconds}
        return self._row(pair, restored, method=method, **about)

    def _baseline(self, pair: Pair, chain: tuple[str, ...]) -> Row:
        started = time.perf_counter()
        restored = apply(chain, pair.degraded[0].permute(1, 2, 0).contiguous().numpy())
        image = torch.from_numpy(restored).permute(2, 0, 1)[None]
        return self._row(pair, image, method="baseline", detail="+".join(chain), seconds=time.perf_counter() - started)

    def _row(self, pair: Pair, image: torch.Tensor, **about: Any) -> Row:
        held = {"task": pair.task, "picture": pair.picture, "kind": pair.kind, "severity": pair.severity}
        return held | about | scores(image, pair.degraded, pair.clean)


def scores(image: torch.Tensor, degraded: torch.Tensor, clean: torch.Tensor) -> dict[str, float | None]:
    """Measures of one picture (1, 3, H, W) as a file of 8 bits would hold it."""
    image = rounded(image)
    left = damage_left(image, degraded, clean) if not torch.equal(degraded, clean) else {}
    grey, original = (luma(x)[0, 0].double().numpy() for x in (image, clean))
    return {
        "psnr": float(psnr(image, clean)),
        "ssim": float(ssim(image, clean)),
        "damage": _finite(left.get("squared")),
        "structural": _finite(left.get("structural")),
        "spectrum": spectrum_distance(grey, original),
    }


def _finite(value: torch.Tensor | None) -> float | None:
    return float(value) if value is not None and math.isfinite(float(value)) else None


def measure(
    bench: Bench, pairs: Iterable[Pair], journal: Journal, sweep: set[str], report: Callable[[int], None]
) -> list[Row]:
    """All pairs into the journal; the pictures named in `sweep` with more numbers of steps. Returns all of its rows."""
    for number, pair in enumerate(pairs, 1):
        if not journal.done(task=pair.task, picture=pair.picture):
            journal.write(bench.rows(pair, pair.picture in sweep and pair.kind is None))
        report(number)
    return journal.rows
