"""Finished runs side by side: each measure before and after, its change, and how sure the change is over the seeds.

`rnr rl compare RUN RUN RUN` reads the runs' metrics.jsonl. The interval is Student's t over the runs: a change that a
seed can turn round is none. Where a run measured several (loop A: GRPO, and supervised training for the same time),
each has its rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median, stdev

from rnr.evaluation.tables import Cell, Table, mean
from rnr.evaluation.tables import Row as Line
from rnr.rl.record import Row
from rnr.training.journal import FILE, rows_of

T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 97.5% of Student's t by degrees of freedom 1-9
NOTE = "mean over {} runs; ±: half of the 95% interval, Student's t over the runs; {} of them raised the alarm"


def read(run: Path) -> list[Row]:
    """The evaluations in a run's record. ValueError where there are not two."""
    path = run / FILE
    if not path.is_file():
        raise ValueError(f"{run}: no {FILE} here; name the output folder of a run of rnr rl")
    checks = [row for row in rows_of(run) if "evaluation" in row]
    if len(checks) < 2:
        raise ValueError(f"{path}: {len(checks)} evaluations; a comparison needs one before and one after")
    return checks


def figures(check: Row) -> dict[str, float | None]:
    """All measures of an evaluation by name, rewards first. Shares of damage left have a median, too: of a picture that
    was hardly damaged a share can be any number, and one such picture makes the mean."""
    held, pictures = check["evaluation"], check.get("pictures", [])
    shares = [p["metrics"]["damage"] for p in pictures if p["metrics"].get("damage") is not None]
    first = {name: held[name] for name in ("reward", "predicted") if name in held}
    return first | ({"median damage": median(shares)} if shares else {}) | held["metrics"]


def table(runs: Sequence[Path]) -> Table:
    """A row per measure; `change` is after - before, `%` relative to before. ValueError as `read`."""
    checks = [read(run) for run in runs]
    lines: list[Line] = []
    for who in dict.fromkeys(c["evaluation"].get("who", "policy") for held in checks for c in held):
        ends = [[c for c in held if c["evaluation"].get("who", "policy") == who][-1:] for held in checks]
        pairs = [(figures(held[0]), figures(end[0])) for held, end in zip(checks, ends) if end]
        lines += [_line(who, name, [(b.get(name), a.get(name)) for b, a in pairs]) for name in pairs[0][0]]
    alarms = sum(any(c.get("alarm") for c in held) for held in checks)
    return Table.of("before and after", lines, NOTE.format(len(runs), alarms), {"%": 1, "± %": 1})


def _line(who: str, name: str, pairs: Sequence[tuple[float | None, float | None]]) -> Line:
    known = [(b, a) for b, a in pairs if b is not None and a is not None]
    before, after = (mean(column) for column in zip(*known)) if known else (None, None)
    cells: dict[str, Cell] = {"of": who, "measure": name, "before": before, "after": after}
    changes = [a - b for b, a in known]
    shares = [100 * (a - b) / abs(b) for b, a in known if b and name != "reward"]  # its zero is doing nothing
    cells |= {"change": mean(changes), "±": half_interval(changes)}
    return cells | {"%": mean(shares), "± %": half_interval(shares), "n": len(known)}


def half_interval(values: Sequence[float]) -> float | None:
    """Half of the mean's 95% interval; None from fewer than two values. Beyond ten that of ten, a bit too wide."""
    count = len(values)
    if count < 2:
        return None
    return T95[min(count - 2, len(T95) - 1)] * stdev(values) / math.sqrt(count)
