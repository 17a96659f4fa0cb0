"""Canaries: pictures that no sound reward may pay for, and the clean one, which it must pay best.

`rnr rl canaries --images DIR` prints the table. A canary that is truly worse than the input has a lower PSNR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import luma
from rnr.degradation.measure import psnr
from rnr.rl.rewards import Reward, ask

if TYPE_CHECKING:
    import torch

    from rnr.rl.tasks import Task
else:
    torch = LazyModule("torch")

MARGIN = 0.5  # dB by which a PSNR must be lower to be called worse; a choice


def _blurred(x: torch.Tensor) -> torch.Tensor:
    small = torch.nn.functional.avg_pool2d(x[None], 8)
    return torch.nn.functional.interpolate(small, x.shape[-2:], mode="bilinear")[0]


def _gridded(x: torch.Tensor) -> torch.Tensor:
    grid = torch.zeros_like(x)
    grid[:, ::8], grid[:, :, ::8] = 0.25, 0.25
    return x + grid


def _noise(x: torch.Tensor) -> torch.Tensor:
    return torch.rand(x.shape, generator=torch.Generator().manual_seed(0))


CANARIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "blank": lambda x: 0 * x,
    "mean colour": lambda x: x.mean((1, 2), keepdim=True).expand_as(x),
    "blurred": _blurred,
    "gridded": _gridded,
    "over-sharpened": lambda x: x + 4 * (x - torch.nn.functional.avg_pool2d(x[None], 5, 1, 2)[0]),
    "saturated": lambda x: luma(x[None])[0] + 3 * (x - luma(x[None])[0]),
    "noise-filled": _noise,
    "shifted": lambda x: x.roll((12, 12), (-2, -1)),
}


def pictures(task: Task, other: Task) -> dict[str, torch.Tensor]:
    """Every canary for a task, the input as it is, another photograph, and the clean one: (3, H, W) in [0, 1]."""
    made = {name: make(task.degraded).clamp(0, 1) for name, make in CANARIES.items()}
    return {"input": task.degraded, **made, "another picture": other.clean, "clean": task.clean}


def score(reward: Reward, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """A row per canary and task: score, PSNR, the input's PSNR, and whether it is truly worse."""
    rows = []
    for task, other in zip(tasks, [*tasks[1:], tasks[0]]):
        shown = pictures(task, other)
        count = len(shown)
        columns: dict[str, Any] = {"degraded": [task.degraded] * count, "present": [task.present] * count}
        scores = ask("canaries", reward, prompts=[""] * count, completions=list(shown.values()), **columns)
        before = float(psnr(task.degraded[None], task.clean[None]))
        for (name, picture), value in zip(shown.items(), scores):
            level = float(psnr(picture[None], task.clean[None]))
            worse = level < before - MARGIN
            rows.append({"task": task.number, "canary": name, "score": value, "psnr": level, "worse": worse})
    return rows


def failures(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What a sound reward would not do: pay for what is truly worse, or pay anything as well as the clean picture."""
    best = {row["task"]: row["score"] for row in rows if row["canary"] == "clean"}
    found = []
    for row in rows:
        if row["score"] is None or row["canary"] == "clean" or best[row["task"]] is None:
            continue
        if row["worse"] and row["score"] >= 0:
            found.append(f"task {row['task']}: {row['canary']} is worse than the input and scores {row['score']:.2f}")
        if row["score"] >= best[row["task"]]:
            found.append(f"task {row['task']}: {row['canary']} scores no less than the clean picture")
    return found


def table(rows: Sequence[dict[str, Any]]) -> None:
    """Print a line per canary: score and PSNR in each task, * where the picture is truly worse than the input."""
    from rich.console import Console
    from rich.table import Table

    numbers = list(dict.fromkeys(row["task"] for row in rows))
    shown = Table("canary", *(f"task {n}" for n in numbers), title="score (PSNR in dB); * = worse than the input")
    for name in dict.fromkeys(row["canary"] for row in rows):
        cells = [_cell(row) for row in rows if row["canary"] == name]
        shown.add_row(name, *cells)
    Console().print(shown)


def _cell(row: dict[str, Any]) -> str:
    score = "unscored" if row["score"] is None else f"{row['score']:+.2f}"
    return f"{score} ({row['psnr']:.1f}){'*' if row['worse'] else ''}"
