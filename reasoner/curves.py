"""The curves of a training: loss, and what validation found, over samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def curves(metrics: Path, picture: Path) -> Path:
    """Draw metrics.jsonl to a PNG: loss; presence F1, severity correlation and severity error of each kind."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), constrained_layout=True)
    losses = [(r["samples"], r["loss"]) for r in records if "loss" in r]
    axes[0, 0].semilogy(*zip(*losses) if losses else ([], []))
    axes[0, 0].set(title="loss, weighted by field", xlabel="samples")
    found = [(r["samples"], r["validation"]) for r in records if "validation" in r]
    titles = {"f1": "present: F1", "r": "severity: correlation", "mae": "severity: mean error"}
    for axis, (name, title) in zip(axes.flat[1:], titles.items()):
        for kind, points in _series(found, name).items():
            axis.plot(*zip(*points), label=kind, marker=".")
        axis.set(title=f"{title}, held out", xlabel="samples")
        axis.grid(alpha=0.3)
    if found:
        axes[0, 1].legend(fontsize=8)
    figure.savefig(picture, dpi=110)
    plt.close(figure)
    return picture


def _series(found: list[tuple[int, dict[str, Any]]], name: str) -> dict[str, list[tuple[int, float]]]:
    result: dict[str, list[tuple[int, float]]] = {}
    for samples, kinds in found:
        for kind, values in kinds.items():
            if values.get(name) is not None:
                result.setdefault(kind, []).append((samples, values[name]))
    return result
