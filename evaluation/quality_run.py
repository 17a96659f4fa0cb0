"""One run of `rnr bench quality`: from folders to rows, tables and plots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rnr.evaluation import command, plots, quality_tables
from rnr.evaluation.baselines import BASELINES
from rnr.evaluation.journal import Journal
from rnr.evaluation.pairs import Pair, folder_pairs, levels_of, sweep_pairs, task_pairs
from rnr.evaluation.quality import COLUMNS, KEY, Bench, measure
from rnr.evaluation.recipes import TASKS, task_named, tasks_of
from rnr.evaluation.tables import Row, Table
from rnr.reasoner.loading import load as load_reasoner
from rnr.restorer.loading import load as load_restorer


class QualityRun:
    """Choose the pairs, load the models, measure, tabulate: in this order."""

    def __init__(
        self, out: Path, steps: tuple[int, ...], sweep: int, size: int, seed: int, limit: int | None, resume: bool
    ) -> None:
        self.out, self.sweep, self.size, self.seed = out, sweep, size, seed
        self.limit, self.resume = limit, resume
        self.settings: dict[str, Any] = {
            "steps": list(steps),
            "sweep": sweep,
            "size": size,
            "seed": seed,
            "limit": limit,
        }
        self.steps = steps
        self.pairs: Callable[[], Iterator[Pair]] = lambda: iter(())
        self.count = 0
        self.swept: set[str] = set()
        self.rows: list[Row] = []

    def take_photographs(self, images: Path, tasks: str | None) -> None:
        """Damage clean photographs ourselves, by the kinds that the reasoner knows."""
        photographs = command.photographs(images, self.limit)
        known = self.bench.reasoner.kinds
        names = command.chosen(tasks, [task.name for task in tasks_of(known)])
        picked = [task_named(name) for name in names]
        few = dict(list(photographs.items())[: self.sweep])
        self.swept = set(few)
        self.settings |= {"images": images.name, "tasks": names}
        levels = levels_of(known)
        self.count = len(photographs) * len(picked) + len(few) * len(levels)

        def pairs() -> Iterator[Pair]:
            yield from task_pairs(photographs, picked, self.size, self.seed)
            yield from sweep_pairs(few, self.size, self.seed, levels)

        self.pairs = pairs

    def take_folders(self, clean: Path, degraded: Path) -> None:
        """Pictures that others have damaged: every baseline runs, because nobody says which is meant for them."""
        held = list(folder_pairs(clean, degraded, [(name,) for name in BASELINES], self.limit))
        self.settings |= {"clean": clean.name, "degraded": degraded.name}
        self.count, self.pairs = len(held), lambda: iter(held)

    def load(self, reasoner: str, restorer: str) -> None:
        models = load_reasoner(reasoner), load_restorer(restorer)
        self.bench = Bench(*models, steps=self.steps, seed=self.seed)
        self.settings |= command.identity(*models)

    def measure(self) -> None:
        journal = Journal(self.out / "quality_pictures.csv", COLUMNS, KEY, self.settings, self.resume)
        with command.progress("restoring", self.count) as report:
            self.rows = measure(self.bench, self.pairs(), journal, self.swept, report)

    def tables(self) -> dict[str, Table]:
        """All tables; the plots are drawn on the way."""
        rows, most = self.rows, max(self.steps)
        tables = {
            "quality": quality_tables.main_table(rows, {task.name: task.aim for task in TASKS}, most),
            "quality_baselines": quality_tables.baseline_table(rows),
            "quality_clean": quality_tables.clean_table(rows),
            "quality_steps": quality_tables.steps_table(rows, min(self.steps), most),
        }
        tables = {name: table for name, table in tables.items() if table.rows}
        if any(row["kind"] for row in rows):
            plots.gain_by_severity(rows, self.out / "gain_by_severity.png")
        curves = [line for line in quality_tables.steps_rows(rows) if line["task"] != "clean"]
        if curves:
            plots.fidelity_and_texture(curves, self.out / "steps.png")
        return tables
