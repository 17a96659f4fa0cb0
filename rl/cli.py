"""`rnr rl …`: three loops that learn from predicted severity, and the canaries that watch the reward."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnr.degradation._lazy import install
from rnr.degradation.renamed import renamed
from rnr.evaluation import command
from rnr.evaluation.options import Threads
from rnr.reasoner.loading import load_local
from rnr.rl import measure_cli
from rnr.rl.measure_cli import JUDGE, JudgePath, JudgeReasoner, Reward, Views

if TYPE_CHECKING:
    from rnr.evaluation.tables import Table

SHOWN = 20  # failures that are listed; a choice
app = typer.Typer(no_args_is_help=True)
for _command in measure_cli.COMMANDS:
    app.command()(_command)

RestorerRecipe = Annotated[Path, typer.Option("--config", help="A recipe of this loop: recipes/rl_restorer*.toml.")]
ReasonerRecipe = Annotated[Path, typer.Option("--config", help="A recipe of this loop: recipes/rl_reasoner*.toml.")]
AgentRecipe = Annotated[Path, typer.Option("--config", help="A recipe of this loop: recipes/rl_agent*.toml.")]
Images = Annotated[Path | None, typer.Option("--images", help="Clean photographs, over the recipe's.")]
Val = Annotated[Path | None, typer.Option("--val", help="Held-out photographs, over the recipe's.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results, over the recipe's.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Over the recipe's.")]
Steps = Annotated[int | None, typer.Option("--max-steps", min=1, help="Updates, over the recipe's.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the output folder.")]


@app.callback()
def rl() -> None:
    """Learn from predicted severity: the reasoner, the restorer, or the agent of both."""


@app.command(cls=renamed(steps="max-steps"))
def restorer(
    config: RestorerRecipe, images: Images = None, val: Val = None, out: Out = None, seed: Seed = None,
    max_steps: Steps = None, resume: Resume = False,
) -> None:  # fmt: skip
    """Train the restorer (loop B, Flow-GRPO); the reward is damage removed, as a frozen reasoner sees it."""
    with errors():
        from rnr.rl.config import RestorerConfig
        from rnr.rl.restoring import run

        settings = RestorerConfig.read(config, images=images, val=val, out=out, seed=seed, max_steps=max_steps)
        typer.echo(f"weights: {run(settings, resume, show)}")


@app.command(cls=renamed(steps="max-steps"))
def reasoner(
    config: ReasonerRecipe, images: Images = None, val: Val = None, out: Out = None, seed: Seed = None,
    max_steps: Steps = None, resume: Resume = False,
) -> None:  # fmt: skip
    """Train the reasoner (loop A, GRPO on its answers), compared with supervised training for the same time."""
    with errors():
        from rnr.rl.config import ReasonerConfig
        from rnr.rl.reasoning import run

        settings = ReasonerConfig.read(config, images=images, val=val, out=out, seed=seed, max_steps=max_steps)
        typer.echo(f"weights: {run(settings, resume, show)}")


@app.command(cls=renamed(steps="max-steps"))
def agent(
    config: AgentRecipe, images: Images = None, val: Val = None, out: Out = None, seed: Seed = None,
    max_steps: Steps = None, resume: Resume = False,
) -> None:  # fmt: skip
    """Train the agent (loop C): the reasoner calls the restorer as a tool, sees the new picture, stops or goes on."""
    with errors():
        from rnr.rl.agent import run
        from rnr.rl.config import AgentConfig

        settings = AgentConfig.read(config, images=images, val=val, out=out, seed=seed, max_steps=max_steps)
        typer.echo(f"weights: {run(settings, resume, show)}")


@app.command()
def canaries(
    images: Annotated[Path, typer.Option("--images", help="Folder of clean photographs.")],
    tasks: Annotated[int, typer.Option("--tasks", min=2, help="Damaged pictures.")] = 6,
    size: Annotated[int, typer.Option("--size", min=64, help="Their side, px.")] = 192,
    views: Views = 2,
    reward: Reward = "severity",
    judge: JudgePath = JUDGE,
    reasoner: JudgeReasoner = "built-in",
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the tables and all scores.")] = None,
    threads: Threads = None,
) -> None:
    """Score pictures that no sound reward pays for; exit code 1 if it pays for what is worse than the input.

    Of many --tasks (100 and more for a figure) the summary says how often it pays, by canary and by damage.
    """
    started = time.monotonic()
    with errors():
        from rnr.rl.canaries import FEW, failures, score, scores, summary, table
        from rnr.rl.judge import judge_of
        from rnr.rl.rewards import SeverityReward, named
        from rnr.rl.tasks import Tasks

        model = load_local(reasoner)
        chosen = named([reward], {"severity": SeverityReward}, judge_of(judge, model, views))
        photographs = list(command.photographs(images, None).values())
        made = Tasks(photographs, tasks, size, seed, conditioned_on="true", names=model.kinds)
        with command.progress("tasks", tasks) as report:
            rows = score(chosen[reward], [made[i] for i in range(tasks)], report)
        if tasks <= FEW:
            table(rows)
        settings = {"images": images.name, "tasks": tasks, "size": size, "views": views, "reward": reward}
        settings |= {"judge": judge, "seed": seed} | command.identity(model)
        _tell(summary(rows), scores(rows), out, settings, started)
        found = failures(rows)
    for failure in found[:SHOWN]:
        typer.echo(failure, err=True)
    if found[SHOWN:]:
        typer.echo(f"and {len(found) - SHOWN} more", err=True)
    if found:
        raise typer.Exit(1)


def _tell(summary: dict[str, Table], scores: Table, out: Path | None, settings: dict[str, Any], started: float) -> None:
    """Print the summary; with a folder keep it there, with every score and what was run."""
    from rich.console import Console

    if out:
        command.publish(summary | {"canaries_scores": scores}, out, settings, started, silent=["canaries_scores"])
        return
    console = Console()
    for table in summary.values():
        console.print(table.rich(console.width))


@app.command(cls=renamed(steps="max-steps"))
def hack(
    images: Annotated[Path, typer.Option("--images", help="Folder of clean photographs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the record and the plots.")],
    tasks: Annotated[int, typer.Option("--tasks", min=2, help="Damaged pictures, 128 px.")] = 8,
    max_steps: Annotated[int, typer.Option("--max-steps", min=1, help="Of the climb.")] = 20,
    rate: Annotated[float, typer.Option("--rate", help="8-bit levels a step.")] = 1.0,
    reward: Reward = "severity",
    judge: JudgePath = JUDGE,
    reasoner: JudgeReasoner = "built-in",
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    threads: Threads = None,
) -> None:
    """Climb the judge's gradient from restored pictures; exit code 1 if the alarm stays silent."""
    with errors():
        from rnr.rl.hack import run

        found = run(images, out, tasks, max_steps, rate, seed, show, reward, judge, reasoner)
    typer.echo(f"alarm at step {found['step']}; plot: {out / 'goodhart.png'}" if found else "no alarm", err=not found)
    if not found:
        raise typer.Exit(1)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Output folders of finished runs of one loop, one per seed.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the table as CSV and markdown.")] = None,
) -> None:
    """Compare runs: measures before and after, and the change with its interval over the runs."""
    with errors():
        from rich.console import Console

        from rnr.rl.compare import table

        made = table(runs)
        Console().print(made.rich())
        if out:
            made.save(out, "compare")


@contextmanager
def errors() -> Iterator[None]:
    """A mistake as one line and exit code 2, also where an extra is missing."""
    import os
    import warnings

    warnings.simplefilter("ignore")  # libraries' notices to developers
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    with command.errors():
        try:
            yield
        except ModuleNotFoundError as error:
            raise ValueError(f"{error.name} is not installed; what training needs: {install('train')}") from error


def show(row: dict[str, Any]) -> None:
    """A row of the record as a line for people, on stderr."""
    text = f"step {row['step']}"
    if "warning" in row:
        text = f"warning: {row['warning']}"
    elif "evaluation" in row:
        values = row["evaluation"]
        figures = {"reward": values.get("reward"), "predicted severity": values.get("predicted"), **values["metrics"]}
        text += "  held out: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items() if v is not None)
    else:
        shown = ("reward", "spread", "kl", "clipped", "flat", "grad_norm")
        text += "".join(f"  {name} {row[name]:.4g}" for name in shown if row.get(name) is not None)
        if row.get("seconds_left") is not None:
            text += f"  {timedelta(seconds=round(row['seconds_left']))} left"
    typer.echo(text, err=True)
