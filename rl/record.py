"""What a run leaves: metrics.jsonl, curves, the Goodhart plot (reward against quality), sheets of samples, an alarm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.evaluation.plots import canvas
from rnr.rl.metrics import METRICS, measure, scored
from rnr.training.journal import Journal, rows_of

if TYPE_CHECKING:
    import torch

    from rnr.degradation.protocols import Scorer
    from rnr.rl.judge import Judge
    from rnr.rl.tasks import Task
else:
    torch = LazyModule("torch")

Row = dict[str, Any]
RISE = 0.03  # of the mean reward, from which it counts as risen
# Change of a mean, from which measured quality counts as fallen, choices; `quality`, in points, where a scorer measures
# it.
HARM = {"damage": 0.03, "psnr": -0.1, "ms_ssim": -0.01, "quality": -2.0}


class Log(Journal):
    """The record of a run, by the step; rows after `step` are dropped (a resumed run repeats them)."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        super().__init__(folder, step, resumed=step > 0, key="step")


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def summary(pictures: Sequence[Row]) -> Row:
    """Means over the pictures of an evaluation, scores and metrics apart."""
    measured = [*METRICS, *(["quality"] if "quality" in pictures[0]["metrics"] else [])]
    return {
        "reward": mean([p["reward"] for p in pictures]),
        "predicted": mean([p["predicted"] for p in pictures]),
        "scores": {name: mean([p["scores"][name] for p in pictures]) for name in pictures[0]["scores"]},
        "metrics": {name: mean([p["metrics"].get(name) for p in pictures]) for name in measured},
    }


def judged(
    judge: Judge, tasks: Sequence[Task], pictures: Sequence[torch.Tensor], scores: dict[str, Any],
    totals: Sequence[Any], scorer: Scorer | None = None,
) -> list[Row]:  # fmt: skip
    """A row per held-out picture: its reward, scores and metrics apart, the severity the judge sees in it.

    `scorer`: adds the metric `quality`, which the alarm then heeds, too.
    """
    rows = []
    for i, (task, picture) in enumerate(zip(tasks, pictures)):
        seen = judge.mean(picture)
        rows.append({
            "task": task.number, "reward": totals[i], "scores": {name: scores[name][i] for name in scores},
            "predicted": None if seen is None else sum(seen.values()),
            "metrics": measure(picture, task.degraded, task.clean) | scored(scorer, picture),
        })  # fmt: skip
    return rows


def assessed(earlier: Sequence[Row], step: int, pictures: Sequence[Row]) -> Row:
    """The row of an evaluation, with the alarm that it raises against the earlier rows (None: none)."""
    found = alarm_since([row for row in earlier if "pictures" in row], {"step": step, "pictures": pictures})
    return {"step": step, "evaluation": summary(pictures), "pictures": pictures, "alarm": found}


def alarm(first: Row, now: Row) -> Row | None:
    """Has the reward risen since another evaluation while measured quality has fallen (Goodhart)?

    Both are paired means over the held-out pictures, each beyond its threshold and its standard error. The answer holds
    the step, the changes, and the pictures that say so most.
    """
    rise = _paired(first, now, lambda p: p["reward"])
    harms = {name: _paired(first, now, lambda p, name=name: p["metrics"].get(name)) for name in HARM}
    fallen = [
        name for name, (change, error) in harms.items()
        if math.copysign(1, HARM[name]) * change > max(abs(HARM[name]), error)
    ]  # fmt: skip
    if not fallen or rise[0] < max(RISE, rise[1]):
        return None
    pairs = zip(first["pictures"], now["pictures"])
    by_harm = sorted(pairs, key=lambda p: (p[0]["metrics"]["damage"] or 0) - (p[1]["metrics"]["damage"] or 0))
    measured = [name for name in harms if name in now["pictures"][0]["metrics"]]
    changes = {name: harms[name][0] for name in measured} | {"reward": rise[0]}
    return {"step": now["step"], "changes": changes, "fallen": fallen, "samples": [p[1]["task"] for p in by_harm[:3]]}


def alarm_since(earlier: Sequence[Row], now: Row) -> Row | None:
    """`alarm` against the first evaluation, then against the one with the least damage: quality may rise at first."""
    if not earlier:
        return None
    best = min(earlier, key=lambda row: mean([p["metrics"]["damage"] for p in row["pictures"]]) or 0.0)
    return alarm(earlier[0], now) or alarm(best, now)


def _paired(first: Row, now: Row, value: Any) -> tuple[float, float]:
    """Mean change and its standard error."""
    pairs = [(value(a), value(b)) for a, b in zip(first["pictures"], now["pictures"])]
    changes = [b - a for a, b in pairs if a is not None and b is not None]
    if len(changes) < 2:
        return 0.0, math.inf
    centre = sum(changes) / len(changes)
    variance = sum((c - centre) ** 2 for c in changes) / (len(changes) - 1)
    return centre, math.sqrt(variance / len(changes))


def warn_text(found: Row) -> str:
    changes = ", ".join(f"{name} {change:+.3f}" for name, change in found["changes"].items())
    samples = ", ".join(map(str, found["samples"]))
    return f"step {found['step']}: the reward rises and measured quality falls ({changes}); look at pictures {samples}"


CURVES = {"reward": "reward", "spread": "spread in groups", "kl": "KL to the reference", "clipped": "share clipped",
          "flat": "groups without spread", "grad_norm": "gradient norm"}  # fmt: skip


def draw(folder: Path) -> None:
    """curves.png and, where quality was measured, goodhart.png from metrics.jsonl."""
    rows = rows_of(folder)
    steps = [row for row in rows if "evaluation" not in row]
    checks = [row for row in rows if "pictures" in row]
    with canvas(folder / "curves.png", len(CURVES)) as axes:
        for axis, (name, title) in zip(axes, CURVES.items()):
            points = [(row["step"], row[name]) for row in steps if row.get(name) is not None]
            axis.plot(*(zip(*points) if points else ((), ())), lw=0.9)
            axis.set(title=title, xlabel="step")
    if checks:
        _goodhart(checks, folder / "goodhart.png")


def _goodhart(checks: Sequence[Row], path: Path) -> None:
    """Each metric that does not train against the reward, both on held-out pictures; from the first evaluation (cross)
    to the last; runs of before lack some. Up is better in all of them, so a path that goes right and down is a reward
    that has come apart."""
    names = [name for name, sign in METRICS.items() if sign]
    with canvas(path, len(names) + 1) as axes:
        points = [(row["step"], row["evaluation"]["reward"], row["evaluation"]["predicted"]) for row in checks]
        axes[0].plot([p[0] for p in points], [p[1] for p in points], "o-", markersize=3, label="reward")
        other = axes[0].twinx()
        other.plot([p[0] for p in points], [p[2] for p in points], "s--", markersize=3, color="0.6")
        axes[0].set(title="reward; predicted severity (grey)", xlabel="step")
        for axis, name in zip(axes[1:], names):
            pairs = [(row["evaluation"]["reward"], row["evaluation"]["metrics"].get(name)) for row in checks]
            known = [(a, b) for a, b in pairs if a is not None and b is not None]
            axis.plot(*(zip(*known) if known else ((), ())), "o-", markersize=3, lw=0.8)
            axis.plot(*known[0], "x", color="black") if known else None
            axis.set(title=name, xlabel="reward", ylabel=name)
            if METRICS[name] < 0:
                axis.invert_yaxis()
            for row in checks:
                if row.get("alarm") and row["evaluation"]["metrics"].get(name) is not None:
                    axis.plot(row["evaluation"]["reward"], row["evaluation"]["metrics"][name], "o", color="red")


def sheet(rows: Sequence[Sequence[torch.Tensor]], path: Path) -> None:
    """Pictures (3, H, W) in rows: damaged, restored, clean."""
    from PIL import Image

    from rnr.degradation.photographs import to_uint8

    lines = [torch.cat([picture.cpu() for picture in row], 2) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(to_uint8(torch.cat(lines, 1))).save(path)
