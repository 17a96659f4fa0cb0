"""`rnr bench tasks`: restoration for people and for machines; heavy imports are its own."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnr.evaluation import command
from rnr.evaluation.latent_cli import Scorer
from rnr.evaluation.options import Folders, Limit, Out, ReasonerName, Seed, Threads
from rnr.reasoner.loading import load as load_reasoner
from rnr.restorer.loading import load as load_restorer

if TYPE_CHECKING:
    from rnr.evaluation.tasks import Served
    from rnr.restorer.latent import TaskRestorer


def tasks(
    images: Folders,
    out: Out,
    restorer: Annotated[str, typer.Option("--restorer", help="A folder that `rnr train tasks` wrote.")],
    rival: Annotated[
        list[str] | None, typer.Option("--rival", help="Other such weights, an ablation; may be repeated.")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="classification or reading; may be repeated.", show_default="both"),
    ] = None,
    experts: Annotated[
        str, typer.Option("--experts", help="Restorer on pixels to compare with; `none` leaves it out.")
    ] = "built-in",
    reasoner: ReasonerName = "built-in",
    scorer: Scorer = "built-in",
    reader: Annotated[
        Path | None, typer.Option("--reader", help="Folder of PP-OCRv4's recogniser, without its package.")
    ] = None,
    pages: Annotated[int, typer.Option("--pages", min=1, help="Pages and signs that are drawn for reading.")] = 24,
    mixtures: Annotated[int, typer.Option("--mixtures", min=1, help="Damages of each image.")] = 10,
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure restoration for machines: classification and reading, by the task's prompt and by that of perception."""
    from rnr.evaluation import tasks as module
    from rnr.evaluation.tables import Table
    from rnr.quality.loading import load_clip

    started = time.monotonic()
    with command.errors():
        chosen = task or list(module.OWN)
        if unknown := set(chosen) - module.OWN.keys():
            raise ValueError(
                f"--task {', '.join(sorted(unknown))}: those that are measured are {', '.join(module.OWN)}"
            )
        model, judge = task_restorer(restorer), load_clip(scorer)
        rivals = {Path(name).parent.name or name: task_restorer(name) for name in rival or []}
        pixels = None if experts == "none" else load_restorer(experts)
        diagnoser = load_reasoner(reasoner) if pixels else None
        served = {name: served_by(name, images, limit, pages, mixtures, seed, reader) for name in chosen}
        tables = {}
        for name, each in served.items():
            with command.progress(f"{name}: damages", len(each.held)) as report:
                found = module.ways(model, name, pixels, diagnoser, rivals)
                rows = module.measured(found, each, judge, report)
            tables[f"tasks_{name}"] = module.summary(name, rows)
            tables[f"tasks_{name}_rows"] = Table.of(f"{name} by case", rows)
        settings = command.identity(diagnoser, model) | module.about(model) | {"images": [f.name for f in images]}
        settings |= {"experts": experts, "scorer_hash": judge.identity["model_hash"], "pages": pages}
        settings |= {"mixtures": mixtures, "limit": limit, "seed": seed, "rivals": list(rivals)}
        command.publish(tables, out, settings, started, silent=[name for name in tables if name.endswith("_rows")])


def served_by(
    name: str, images: list[Path], limit: int | None, pages: int, mixtures: int, seed: int, reader: Path | None
) -> Served:
    """The machine of a task and its cases. Raises MissingExtra where a package is not installed."""
    from rnr.evaluation import tasks as module
    from rnr.restorer.latent.downstream import Classifier
    from rnr.restorer.latent.reader import Reader

    if name == "classification":
        photographs = command.gathered(images, limit, spread=True)
        held = module.photograph_cases(photographs, mixtures, seed)
        return module.Served(partial(module.classified, Classifier()), held)
    eyes = Reader(reader)
    texts, held = module.page_cases(pages, mixtures, seed)
    return module.Served(partial(module.read, eyes, texts), held)


def task_restorer(name: str) -> TaskRestorer:
    """Raises ValueError for another restorer."""
    from rnr.restorer.latent import TaskRestorer

    found = load_restorer(name)
    if not isinstance(found, TaskRestorer):
        raise ValueError(f"{name}: has no prompts of tasks; name a folder that `rnr train tasks` wrote")
    return found


COMMANDS = (tasks,)
