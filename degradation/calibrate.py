"""Measure, on photographs, how much of a picture each kind destroys, so that equal severities mean equal loss.

    python -m rnr.degradation.calibrate --images DIR --out FOLDER [--kind NAME]

For every kind: factors over the whole range and random nuisance factors on crops of photographs, the loss 1 - MS-SSIM,
and the severity curve fitted to them. Prints the `curve` line as it would stand in the kind's file, how far the frozen
one is from it, and draws both; a new kind needs no curve to start from. Weights are trained on frozen curves: a change
there means training again and a higher `kind.PHYSICS`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Kind, kind_named, kinds
from rnr.degradation.measure import ms_ssim, severity_of_loss
from rnr.degradation.photographs import centre_crop, read_folder, to_tensor

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = LazyModule("numpy"), LazyModule("torch")

SIZE = 256  # px, side of the crops


def read_crops(folder: str, photographs: int) -> torch.Tensor:
    """The middle of each photograph (B, 3, SIZE, SIZE). Raises ValueError if none is large enough."""
    pictures = [centre_crop(picture, SIZE) for picture in read_folder(folder, photographs, spread=True).values()]
    crops = [to_tensor(picture) for picture in pictures if picture.shape[:2] == (SIZE, SIZE)]
    if not crops:
        raise ValueError(f"{folder}: all photographs are smaller than {SIZE}x{SIZE} px")
    return torch.cat(crops)


def observe(kind: Kind, clean_BCHW: torch.Tensor, generator: torch.Generator, rounds: int) -> np.ndarray:
    """(N, 2): magnitude and measured severity of random factors; the main factor is spread evenly in magnitude."""
    main = kind.factor(kind.main)
    rows = []
    for seed in range(rounds):
        factors = kind.sample(len(clean_BCHW), generator)
        low, high = kind.ends(factors)
        wanted = low + (high - low) * torch.rand(len(clean_BCHW), generator=generator) ** 2
        factors[kind.main] = kind.solve(wanted, factors).clamp(main.low, main.high)
        damaged = kind.apply(clean_BCHW, factors, seed)
        severity = severity_of_loss(1 - ms_ssim(damaged, clean_BCHW))
        rows.append(torch.stack([kind.magnitude(factors), severity], 1))
    return torch.cat(rows).double().numpy()


def reach(kind: Kind, generator: torch.Generator) -> float:
    """The largest magnitude within the factors' ranges."""
    return float(kind.ends(kind.sample(4096, generator))[1].max())


def fit(rows: np.ndarray, highest: float) -> list[tuple[float, float]]:
    """Increasing (magnitude, severity) knots of a loss that saturates: c (1 - exp(-(m / a)^p)), least squares."""
    from scipy.optimize import curve_fit

    def severity(magnitude: np.ndarray, a: float, p: float, c: float) -> np.ndarray:
        loss = c * -np.expm1(-((magnitude / a) ** p))
        return severity_of_loss(torch.from_numpy(np.asarray(loss))).numpy()

    magnitude, observed = rows.T
    start = (float(np.median(magnitude)), 1.0, 0.7)
    bounds = ([1e-4, 0.3, 0.05], [1e3, 4.0, 1.0])
    best, _ = curve_fit(severity, np.maximum(magnitude, 1e-9), observed, p0=start, bounds=bounds, loss="soft_l1")
    grid = np.linspace(0, highest, 20_000)
    curve = severity(grid, *best)
    levels = [0.0, 2.0, *np.arange(5, curve[-1] - 1, 5), curve[-1]]
    return [(float(f"{np.interp(level, curve, grid):.4g}"), round(float(level), 1)) for level in levels]


def describe(kind: Kind, rows: np.ndarray, knots: list[tuple[float, float]]) -> str:
    """The fitted curve, the spread of the crops about it, and its largest distance from the frozen one, if any."""
    magnitudes, severities = np.array(knots).T
    spread = np.std(rows[:, 1] - np.interp(rows[:, 0], magnitudes, severities))
    curve = ", ".join(f"({m:g}, {s:g})" for m, s in knots)
    frozen = "no curve is frozen yet"
    if kind.curve:
        distance = np.abs(severities - np.interp(magnitudes, *np.array(kind.curve).T)).max()
        frozen = f"frozen curve {distance:.1f} away at most"
    return f"{kind.name}: curve = ({curve})  # spread {spread:.1f}, {frozen}"


def plot(observed: dict[str, np.ndarray], curves: dict[str, list[tuple[float, float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, -(-len(observed) // 2), figsize=(12, 7), sharey=True, squeeze=False)
    for axis, (name, rows) in zip(axes.flat, observed.items()):
        axis.scatter(rows[:, 0], rows[:, 1], s=3, alpha=0.3, label="crops")
        axis.plot(*zip(*curves[name]), "C1-o", markersize=3, label="fitted to these crops")
        if kind_named(name).curve:
            axis.plot(*zip(*kind_named(name).curve), "k--", linewidth=1, label="frozen in the kind's file")
        axis.set(title=name, xlabel="magnitude", ylim=(0, 100))
    axes.flat[0].set_ylabel("severity by 1 - MS-SSIM")
    axes.flat[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m rnr.degradation.calibrate", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--images", required=True, help="folder of clean photographs")
    parser.add_argument("--kind", action="append", choices=list(kinds()), help="this kind only; may be repeated")
    parser.add_argument("--out", default="calibration", help="folder for the plot")
    parser.add_argument("--photographs", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=12, help="random factors per photograph and kind")
    arguments = parser.parse_args()
    try:
        clean = read_crops(arguments.images, arguments.photographs)
    except ValueError as error:
        parser.error(str(error))
    chosen = {name: kind for name, kind in kinds().items() if name in (arguments.kind or kinds())}
    observed, curves = {}, {}
    for name, kind in chosen.items():
        generator = torch.Generator().manual_seed(0)
        observed[name] = observe(kind, clean, generator, arguments.rounds)
        curves[name] = fit(observed[name], reach(kind, generator))
        print(describe(kind, observed[name], curves[name]), flush=True)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    plot(observed, curves, out / "severity.png")
    print(f"plot: {out / 'severity.png'}")


if __name__ == "__main__":
    main()
