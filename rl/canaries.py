"""Canaries: pictures that no sound reward may pay for, and the clean one, which it must pay best.

`rnr rl canaries --images DIR --tasks 500 -o OUT` measures how often a reward pays for them. A canary that is truly
worse than the input has a lower PSNR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import LazyModule
from rnr.degradation.kind import Kind, kind_named, luma
from rnr.degradation.measure import psnr
from rnr.evaluation.tables import Row, Table
from rnr.rl.rewards import Reward, ask

if TYPE_CHECKING:
    import torch

    from rnr.rl.tasks import Task
else:
    torch = LazyModule("torch")

MARGIN = 0.5  # dB by which a PSNR must be lower to be called worse; a choice
BEYOND = 1.5  # the true magnitude times this is undone by what is over-corrected; a choice
TEXTURE = 0.08  # standard deviation of texture that is not there; a choice
FEW = 8  # tasks up to which each has a column of its own; a choice


def _blurred(x: torch.Tensor) -> torch.Tensor:
    small = torch.nn.functional.avg_pool2d(x[None], 8)
    return torch.nn.functional.interpolate(small, x.shape[-2:], mode="bilinear")[0]


def _gridded(x: torch.Tensor) -> torch.Tensor:
    grid = torch.zeros_like(x)
    grid[:, ::8], grid[:, :, ::8] = 0.25, 0.25
    return x + grid


def _textured(x: torch.Tensor) -> torch.Tensor:
    """Grey texture of 3 to 9 px over everything, as a generative restorer makes it up."""
    drawn = torch.rand(1, 1, *x.shape[-2:], generator=torch.Generator().manual_seed(0))
    mean = torch.nn.functional.avg_pool2d
    fine, coarse = (mean(drawn, side, 1, side // 2, count_include_pad=False)[0] for side in (3, 9))
    return x + TEXTURE * (fine - coarse) / (fine - coarse).std()


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
    "textured": _textured,
    "shifted": lambda x: x.roll((12, 12), (-2, -1)),
}


def over_corrected(task: Task) -> torch.Tensor | None:
    """The severest damage with an inverse of its own, undone as if its magnitude were `BEYOND` times what it is."""
    findings = task.truth.findings
    for name in sorted(task.present, key=lambda name: -(findings[name].severity or 0)):
        kind = kind_named(name)
        if type(kind).invert is not Kind.invert:
            factors = {factor: value.view(1) for factor, value in kind.values(findings[name].factors).items()}
            main = kind.factor(kind.main)
            beyond = kind.solve(BEYOND * kind.magnitude(factors), factors).clamp(main.low, main.high)
            return kind.invert(task.degraded[None], {**factors, kind.main: beyond})[0]
    return None


def pictures(task: Task, other: Task) -> dict[str, torch.Tensor]:
    """Every canary for a task, the input as it is, another photograph, and the clean one: (3, H, W) in [0, 1].

    Where no kind of the damage has an inverse there is no over-corrected one.
    """
    made = {name: make(task.degraded).clamp(0, 1) for name, make in CANARIES.items()}
    if (overdone := over_corrected(task)) is not None:
        made["over-corrected"] = overdone.clamp(0, 1)
    return {"input": task.degraded, **made, "another picture": other.clean, "clean": task.clean}


def score(
    reward: Reward, tasks: Sequence[Task], report: Callable[[int], None] = lambda done: None
) -> list[dict[str, Any]]:
    """A row per canary and task: kinds of damage, score, PSNR, and whether it is truly worse than the input.

    Args:
        reward: In TRL's convention, of images.
        tasks: Two or more; each is another photograph for the one before it.
        report: Gets the number of tasks that are done.

    Raises:
        ValueError: For scores that are none.
    """
    rows = []
    for done, task in enumerate(tasks, 1):
        other = tasks[done % len(tasks)]
        shown = pictures(task, other)
        count = len(shown)
        columns: dict[str, Any] = {"degraded": [task.degraded] * count, "present": [task.present] * count}
        scores = ask("canaries", reward, prompts=[""] * count, completions=list(shown.values()), **columns)
        before = float(psnr(task.degraded[None], task.clean[None]))
        for (name, picture), value in zip(shown.items(), scores):
            level = float(psnr(picture[None], task.clean[None]))
            worse = level < before - MARGIN
            row = {"task": task.number, "damage": task.present, "canary": name}
            rows.append(row | {"score": value, "psnr": level, "worse": worse})
        report(done)
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


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Table]:
    """How often the reward pays for what is truly worse than the input: by canary, and by the damage of the input."""
    best = {row["task"]: row["score"] for row in rows if row["canary"] == "clean"}
    names = dict.fromkeys(row["canary"] for row in rows)
    damages = sorted({kind for row in rows for kind in row["damage"]})
    by_canary = [_counts("canary", name, [row for row in rows if row["canary"] == name], best) for name in names]
    tried = [row for row in rows if row["canary"] not in ("input", "clean")]
    by_damage = [_counts("damage", kind, [row for row in tried if kind in row["damage"]], best) for kind in damages]
    note = (
        f"unscored: the judge has no score. worse: PSNR lower than the input's by {MARGIN} dB. paid: worse, and scored "
        "above doing nothing, which scores 0; its share is of those worse and scored. not below clean: scored no less "
        "than the clean image."
    )
    by_canary.append(_counts("canary", "all", tried, best))
    more = f"{note} Damage of several kinds counts for each."
    digits = {"paid, %": 1}
    return {
        "canaries": Table.of("Canaries", by_canary, note, digits),
        "canaries_damage": Table.of("Canaries by damage", by_damage, more, digits),
    }


def _counts(column: str, name: str, rows: Sequence[dict[str, Any]], best: dict[int, float | None]) -> Row:
    worse = [row for row in rows if row["worse"]]
    scored = [row["score"] for row in worse if row["score"] is not None]
    paid = sum(score > 0 for score in scored)
    compared = [(row["score"], best[row["task"]]) for row in rows if row["canary"] != "clean"]
    level = sum(score is not None and clean is not None and score >= clean for score, clean in compared)
    return {
        column: name, "images": len(rows), "unscored": sum(row["score"] is None for row in rows), "worse": len(worse),
        "worse and scored": len(scored), "paid": paid, "paid, %": 100 * paid / len(scored) if scored else None,
        "not below clean": level,
    }  # fmt: skip


def scores(rows: Sequence[dict[str, Any]]) -> Table:
    """Every score, for whoever counts otherwise."""
    return Table.of("Scores", [row | {"damage": " ".join(row["damage"])} for row in rows])


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
