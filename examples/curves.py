"""How the built-in weights were learned: the picture of docs/training.md.

    python examples/curves.py -o docs/images/training-curves.png

`docs/curves` holds what the trainings' metrics.jsonl said at each validation, thinned out, and, for the reasoner, what
`rnr bench diagnosis` said of the weights along the way. Samples are those of the training that is drawn; what began
from earlier weights says from how many.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FOLDER = Path("docs/curves")


def lines(path: Path) -> dict[str, list[tuple[float, float]]]:
    """By name, the points (samples, value) of a file with the columns samples, name, value."""
    found = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[row["name"]].append((float(row["samples"]), float(row["value"])))
    return found


def draw(paths: list[Path], out: Path) -> None:
    """A panel for each file, three in a row."""
    columns = min(3, len(paths))
    rows = -(-len(paths) // columns)
    size = (3.6 * columns, 2.9 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(paths) :]:
        axis.remove()
    for axis, path in zip(axes.flat, paths):
        for name, points in lines(path).items():
            axis.plot(*zip(*points), marker=".", ms=4, lw=1, label=name)
        axis.set(title=path.stem.replace("_", " "), xlabel="samples")
        axis.ticklabel_format(axis="x", style="sci", scilimits=(3, 3))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/images/training-curves.png"))
    draw(sorted(FOLDER.glob("*.csv")), parser.parse_args().out)
