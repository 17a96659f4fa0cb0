"""Seconds per megapixel and peak memory, each size in a process of its own: `rnr bench speed`.

    python -m rnr.evaluation.speed --megapixels 1 --images DIR      (one size; prints JSON; what the command runs)

Memory is the highest resident set (getrusage) minus what was resident with models and picture loaded. `beyond` leaves
out the restored picture too: it must not grow with the size.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.evaluation import command
from rnr.evaluation.tables import Row, Table
from rnr.reasoner.loading import load as load_reasoner
from rnr.restorer.loading import load as load_restorer

if TYPE_CHECKING:
    import numpy as np

    from rnr.degradation.protocols import Diagnoser, Restorer
else:
    np = LazyModule("numpy")

HUGE = 50.0  # megapixels from which on only the first number of steps is run
MEGA = 1e6


def picture(photograph_HWC: np.ndarray, megapixels: float) -> np.ndarray:
    """A 3:2 picture of about this size: the photograph laid side by side, damaged by noise and haze (uint8)."""
    height = max(128, round(math.sqrt(megapixels * MEGA / 1.5)))
    width = max(128, round(megapixels * MEGA / height))
    down, across = (-(-side // length) for side, length in zip((height, width), photograph_HWC.shape))
    tiled = np.tile(photograph_HWC, (down, across, 1))[:height, :width]
    noise = np.random.default_rng(0).integers(-20, 21, (256, 256, 3), dtype=np.int16)
    for top in range(0, height, 256):  # in strips: the picture itself must be the largest thing here
        strip = tiled[top : top + 256].astype(np.int16) // 2 + 110
        strip += np.tile(noise, (1, -(-width // 256), 1))[: strip.shape[0], :width]
        tiled[top : top + 256] = strip.clip(0, 255).astype(np.uint8)
    return tiled


def resident() -> float:
    """Memory in use now, in MB; the highest so far where /proc is missing."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return highest()
    return pages * resource.getpagesize() / MEGA


def highest() -> float:
    """Peak of the resident set in MB (getrusage counts kilobytes on Linux, bytes on macOS)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MEGA if sys.platform == "darwin" else peak * 1024 / MEGA


def measure_here(
    reasoner: Diagnoser, restorer: Restorer, photograph: np.ndarray, megapixels: float, steps: Sequence[int],
    findings: Sequence[str],
) -> Row:  # fmt: skip
    """One size in this process. Damage is held present by a true diagnosis, so that nothing is skipped."""
    from rnr.degradation.diagnosis import Diagnosis, Finding

    given = Diagnosis(findings={kind: Finding(present=True, severity=40) for kind in findings})
    small = picture(photograph, 0.02)
    reasoner.diagnose([small])
    restorer.restore(small.astype(np.float32) / 255, given)
    shown = picture(photograph, megapixels)
    pixels = shown.astype(np.float32)
    pixels /= 255
    size = shown.shape[0] * shown.shape[1] / MEGA
    before = resident()
    row: Row = {
        "megapixels": size,
        "picture MB": pixels.nbytes / MEGA,
        "diagnosis s": reasoner.diagnose([shown])[0].seconds,
    }
    row["diagnosis MB"] = highest() - before
    for count in steps if megapixels < HUGE else steps[:1]:
        seconds = restorer.restore(pixels, given, num_inference_steps=count).seconds
        row |= {f"{count} step s/MP": seconds / size}
    peak = highest() - before
    return row | {"peak MB": peak, "beyond MB": peak - pixels.nbytes / MEGA}


def measure(arguments: Sequence[str], sizes: Sequence[float], report: Callable[[int], None]) -> list[Row]:
    """A row per size, each from a fresh process. Raises ValueError with the last lines of one that fails."""
    rows: list[Row] = []
    for number, size in enumerate(sizes, 1):
        line = [sys.executable, "-m", "rnr.evaluation.speed", "--megapixels", str(size), *arguments]
        child = subprocess.run(line, capture_output=True, text=True)
        if child.returncode:
            reason = " | ".join(child.stderr.strip().splitlines()[-3:]) or f"exit code {child.returncode}"
            raise ValueError(f"{size:g} megapixels: {reason}")
        rows.append(json.loads(child.stdout.strip().splitlines()[-1]))
        report(number)
    return rows


def table(rows: Sequence[Row]) -> Table:
    note = (
        "s/MP: seconds per megapixel of the restoration. MB: peak of the resident memory over what models and picture "
        "held before (the picture as float32); beyond: without the restored picture, which is as large again."
    )
    digits = {"megapixels": 1, "picture MB": 0, "diagnosis MB": 0, "peak MB": 0, "beyond MB": 0}
    return Table.of("Speed and memory", rows, note, digits)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rnr.evaluation.speed", description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--steps", default="1,4")
    parser.add_argument("--reasoner", default="built-in")
    parser.add_argument("--restorer", default="built-in")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--dtype")
    parser.add_argument("--findings", default="haze,noise")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    command.use_threads(options.threads)
    models = load_reasoner(options.reasoner), load_restorer(options.restorer, dtype=options.dtype)
    photograph = next(iter(command.photographs(options.images, 1).values()))
    steps = [int(count) for count in options.steps.split(",")]
    print(json.dumps(measure_here(*models, photograph, options.megapixels, steps, options.findings.split(","))))


if __name__ == "__main__":
    main()
