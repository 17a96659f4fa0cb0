"""`rnr rl refine` and `rnr rl agreement`: what can be had without training, and what the reward is worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnr.evaluation import command
from rnr.evaluation.options import Folders, Limit, Out, RestorerName, Resume, Seed, Size, Threads
from rnr.reasoner.loading import NAMES as REASONERS
from rnr.reasoner.loading import load_local
from rnr.restorer.loading import load_bridge

if TYPE_CHECKING:
    from rnr.rl.judge import Judge

JUDGE = "rnr.rl.judge:Judge"
Reward = Annotated[str, typer.Option("--reward", help="Severity, or my_module:my_reward.")]
JudgePath = Annotated[str, typer.Option("--judge", help="Its class, my_module:MyJudge.")]
JudgeReasoner = Annotated[str, typer.Option("--reasoner", help=f"The judge: {REASONERS}")]
Views = Annotated[int, typer.Option("--views", min=1, max=3, help="Of the judge.")]


def refine(
    images: Folders,
    out: Out,
    restorer: Annotated[
        list[str] | None,
        typer.Option("--restorer", help="built-in, or what `rnr rl restorer` wrote; may be repeated.",
                     show_default="built-in"),
    ] = None,
    ways: Annotated[
        str | None, typer.Option("--ways", help="Of legs, draws, plain: comma-separated, all by default.")
    ] = None,
    calls: Annotated[int, typer.Option("--calls", min=3, help="Runs of models for each picture.")] = 17,
    views: Views = 1,
    reward: Reward = "severity",
    judge: JudgePath = JUDGE,
    reasoner: JudgeReasoner = "built-in",
    size: Size = 256,
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
    resume: Resume = False,
) -> None:  # fmt: skip
    """Search the doses of each picture by the judge, without training, beside restorers that learned theirs.

    Name what was shipped first and what was trained after it: differences are from the first restorer's first way.
    """
    started = time.monotonic()
    with command.errors():
        from rnr.rl import refine as module

        names = command.chosen(ways, module.WAYS)
        photographs, looks, score = command.gathered(images, limit), judged_by(judge, reasoner, views), scored_by
        pipes = {name: load_bridge(name) for name in restorer or ["built-in"]}
        refining = module.Refining(pipes, looks, score(reward, looks), names, calls, seed)
        settings = _settings(images, looks, reward, judge, views, size, limit, seed)
        settings |= {
            "restorers": {n: p.identity["model_hash"] for n, p in pipes.items()},
            "ways": names,
            "calls": calls,
        }
        journal = module.journal(out, settings, resume)

        def done(name: str) -> bool:
            return journal.done(picture=name)

        with command.progress("pictures", sum(not done(name) for name in photographs)) as report:
            refining.measure(module.cases(photographs, size, seed, looks.reasoner, done), journal, report)
        command.publish({"refine": module.table(journal.rows, seed)}, out, settings, started)


def agreement(
    images: Folders,
    out: Out,
    rollouts: Annotated[int, typer.Option("--rollouts", min=3, help="Of each picture, at other doses.")] = 8,
    per_leg: Annotated[bool, typer.Option("--per-leg", help="Draw each leg's dose, not one for all.")] = False,
    views: Views = 1,
    reward: Reward = "severity",
    judge: JudgePath = JUDGE,
    reasoner: JudgeReasoner = "built-in",
    restorer: RestorerName = "built-in",
    size: Size = 256,
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure the reward: its rank correlation with the true damage removed, over restorations at other doses."""
    started = time.monotonic()
    with command.errors():
        from rnr.evaluation.tables import Table
        from rnr.rl import agreement as module
        from rnr.rl.refine import cases

        photographs, looks = command.gathered(images, limit), judged_by(judge, reasoner, views)
        score, pipe = scored_by(reward, looks), load_bridge(restorer)
        with command.progress("pictures", len(photographs)) as report:
            made = cases(photographs, size, seed, looks.reasoner)
            rows = module.measured(made, pipe, score, rollouts, per_leg, seed, report)
        settings = _settings(images, looks, reward, judge, views, size, limit, seed) | {"rollouts": rollouts}
        settings |= {"per_leg": per_leg, "restorer": restorer, "restorer_hash": pipe.identity["model_hash"]}
        tables = {"agreement": module.table(rows, seed), "agreement_rollouts": Table.of("Rollouts", rows)}
        command.publish(tables, out, settings, started, silent=["agreement_rollouts"])


def judged_by(path: str, reasoner: str, views: int) -> Judge:
    """The judge of these names."""
    from rnr.rl.judge import judge_of

    return judge_of(path, load_local(reasoner), views)


def scored_by(name: str, judge: Judge) -> Callable[..., float | None]:
    """A reward as `score(restored, degraded, present=None)` of one picture (3, H, W)."""
    from rnr.rl.rewards import SeverityReward, named

    found = named([name], {"severity": SeverityReward}, judge)[name]
    return partial(_score, name, found)


def _score(name: str, reward: Any, restored: Any, degraded: Any, present: Sequence[str] | None = None) -> float | None:
    from rnr.rl.rewards import ask

    columns = {"prompts": [""], "completions": [restored], "degraded": [degraded]}
    (score,) = ask(name, reward, **columns, present=None if present is None else [list(present)])
    return score


def _settings(
    images: Sequence[Path], looks: Judge, reward: str, judge: str, views: int, size: int, limit: int | None, seed: int
) -> dict[str, Any]:
    named = {"images": [folder.name for folder in images], "reward": reward, "judge": judge, "views": views}
    return command.identity(looks.reasoner) | named | {"size": size, "limit": limit, "seed": seed}


COMMANDS = (refine, agreement)
