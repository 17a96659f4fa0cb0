"""The curves of a training: its loss, and what validation found, over samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnr.training.journal import rows_of

Points = list[tuple[int, float]]


def curves(folder: Path, titles: Mapping[str, str] | None = None) -> Path | None:
    """Draw `folder`/metrics.jsonl to curves.png; None where matplotlib is not installed.

    Args:
        folder: Of the training.
        titles: The figures of validation to draw and their titles, where it names several of each thing
            ({"haze": {"f1": 0.9, "r": 0.8}}); None draws what names one of each ({"haze": 21.5}).
    """
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = rows_of(folder)
    panels = {"training loss": {"": [(r["samples"], r["loss"]) for r in rows if "loss" in r]}}
    for name, title in (titles or {"": "validation"}).items():
        panels[f"{title}, held out"] = _lines(rows, name)
    figure, axes = plt.subplots(1, len(panels), figsize=(5.5 * len(panels), 4), constrained_layout=True)
    for axis, (title, lines) in zip(axes, panels.items()):
        for label, points in lines.items():
            axis.plot(*(zip(*points) if points else ((), ())), label=label, marker="." if label else "", lw=0.9)
        axis.set(title=title, xlabel="samples")
        axis.grid(alpha=0.3)
        if any(lines):
            axis.legend(fontsize=7)
    figure.savefig(folder / "curves.png", dpi=110)
    plt.close(figure)
    return folder / "curves.png"


def _lines(rows: Sequence[Mapping[str, Any]], figure: str) -> dict[str, Points]:
    """A figure of each thing that validation names."""
    lines: dict[str, Points] = {}
    for samples, thing, value in _found(rows):
        value = value.get(figure) if isinstance(value, Mapping) else value
        if value is not None:
            lines.setdefault(thing, []).append((samples, value))
    return lines


def _found(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str, Any]]:
    for row in rows:
        yield from ((row["samples"], thing, value) for thing, value in row.get("validation", {}).items())
