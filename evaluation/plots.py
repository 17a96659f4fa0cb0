"""The figures of the benchmarks. Each function draws one PNG; matplotlib is asked for when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import need
from rnr.evaluation.metrics import Bin
from rnr.evaluation.tables import Row, mean

if TYPE_CHECKING:
    import numpy as np


@contextmanager
def canvas(path: Path, count: int = 1, columns: int = 3, side: float = 3.4, **options: Any) -> Iterator[list[Any]]:
    """A grid of `count` axes, saved to `path` at the end."""
    need("matplotlib", "bench").use("Agg")
    pyplot = need("matplotlib.pyplot", "bench")
    columns = min(columns, count)
    size = (side * 1.25 * columns, side * -(-count // columns))
    figure, axes = pyplot.subplots(-(-count // columns), columns, figsize=size, squeeze=False, **options)
    for axis in axes.flat[count:]:
        axis.axis("off")
    yield list(axes.flat[:count])
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def true_against_predicted(points: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """Severity per kind: (true, expected) of every picture; 0 = absent."""
    with canvas(path, len(points), sharex=True, sharey=True) as axes:
        for axis, (kind, pairs) in zip(axes, points.items()):
            axis.plot([0, 100], [0, 100], color="0.7", linewidth=1)
            axis.scatter(*(zip(*pairs) if pairs else ((), ())), s=7, alpha=0.45)
            axis.set(title=kind, xlim=(-3, 103), ylim=(-3, 103), xlabel="true severity", ylabel="expected severity")


def reliability_diagram(bins: Sequence[Bin], error: float, path: Path) -> None:
    """How often a kind is really there, against how probable it was said to be."""
    with canvas(path, side=4) as (axis,):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        axis.plot([b.confidence for b in bins], [b.frequency for b in bins], "o-")
        for b in bins:
            axis.annotate(
                str(b.findings), (b.confidence, b.frequency), textcoords="offset points", xytext=(4, -10), fontsize=7
            )
        axis.set(title=f"presence, calibration error {error:.3f}", xlabel="P(present)", ylabel="share present")
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def error_by_severity(points: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """Mean absolute error of the severity, by true severity in tens."""
    with canvas(path, side=4) as (axis,):
        for kind, pairs in points.items():
            groups: dict[int, list[float]] = {}
            for true, said in pairs:
                groups.setdefault(int(true // 10), []).append(abs(true - said))
            places = sorted(groups)
            axis.plot(
                [(p + 0.5) * 10 for p in places], [mean(groups[p]) for p in places], "o-", label=kind, markersize=4
            )
        axis.set(title="error by severity", xlabel="true severity", ylabel="mean absolute error", ylim=(0, None))
        axis.legend(fontsize=7)


def matrix(
    cells_RC: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str, path: Path, labels: tuple[str, str]
) -> None:
    """A heat map with numbers, 0 to 100; NaN cells stay empty. `labels`: of the rows, of the columns."""
    with canvas(path, side=4.6) as (axis,):
        axis.imshow(cells_RC, vmin=0, vmax=100, cmap="YlGnBu")
        for r, line in enumerate(cells_RC):
            for c, value in enumerate(line):
                if value == value:
                    ink = "white" if value > 60 else "black"
                    axis.text(c, r, str(round(value)), ha="center", va="center", color=ink)
        axis.set(title=title, ylabel=labels[0], xlabel=labels[1])
        axis.set_xticks(range(len(columns)), columns, rotation=35, ha="right")
        axis.set_yticks(range(len(rows)), rows)


def gain_by_severity(rows: Sequence[Row], path: Path) -> None:
    """PSNR gained with the predicted and with the true diagnosis, for each kind alone."""
    swept = list(dict.fromkeys(str(row["kind"]) for row in rows if row["kind"]))
    with canvas(path, max(1, len(swept)), sharex=True) as axes:
        for axis, kind in zip(axes, swept):
            of_kind = [row for row in rows if row["kind"] == kind]
            for method in ("predicted", "true", "blind"):
                if curve := _gains(of_kind, method):
                    axis.plot(*zip(*curve), "o-", label=method, markersize=4)
            axis.axhline(0, color="0.7", linewidth=1)
            axis.set(title=kind, xlabel="severity", ylabel="gain, dB PSNR")
        axes[0].legend(fontsize=7)


def _gains(rows: Sequence[Row], method: str) -> list[tuple[float, float]]:
    """(severity, mean gain in dB with one step)."""

    def level(row: Row) -> float:
        return min(float(str(row["psnr"])), 60.0)

    before = {(row["picture"], row["severity"]): level(row) for row in rows if row["method"] == "input"}
    gains: dict[float, list[float]] = {}
    for row in rows:
        if row["method"] == method and row["steps"] == 1:
            gain = level(row) - before[row["picture"], row["severity"]]
            gains.setdefault(float(str(row["severity"])), []).append(gain)
    return sorted((severity, sum(values) / len(values)) for severity, values in gains.items())


def fidelity_and_texture(rows: Sequence[Row], path: Path) -> None:
    """The lines of `quality_tables.steps_rows`: PSNR, and distance of the spectrum, against the number of steps."""
    tasks = list(dict.fromkeys(str(row["task"]) for row in rows))
    with canvas(path, 2, side=4.2) as (left, right):
        for axis in (left, right):
            axis.set_prop_cycle(color=need("matplotlib", "bench").colormaps["tab20"].colors)
        for task in tasks:
            curve = [row for row in rows if row["task"] == task]
            steps = [row["steps"] for row in curve]
            first = float(str(curve[0]["psnr"]))
            left.plot(steps, [float(str(row["psnr"])) - first for row in curve], "o-", label=task, markersize=4)
            right.plot(steps, [row["spectrum"] for row in curve], "o-", label=task, markersize=4)
        left.set(title="fidelity", xlabel="steps", ylabel="PSNR against 1 step, dB")
        right.set(title="texture", xlabel="steps", ylabel="distance of log spectra, dB")
        right.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.01, 1))


def bars(groups: Sequence[str], series: Mapping[str, Sequence[float]], title: str, ylabel: str, path: Path) -> None:
    """Grouped bars: one group per name, one bar per series."""
    width = 0.8 / max(1, len(series))
    with canvas(path, side=max(4.0, 0.45 * len(groups))) as (axis,):
        for number, (name, values) in enumerate(series.items()):
            axis.bar([g + number * width for g in range(len(groups))], values, width, label=name)
        axis.set(title=title, ylabel=ylabel)
        axis.set_xticks([g + 0.4 - width / 2 for g in range(len(groups))], groups, rotation=35, ha="right")
        axis.axhline(0, color="0.5", linewidth=0.8)
        axis.legend(fontsize=7)
