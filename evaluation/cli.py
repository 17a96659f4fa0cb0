"""`rnr bench …`: each command takes `--images DIR` (clean photographs); CSV, markdown and plots go to `--out`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rnr.degradation.renamed import renamed
from rnr.evaluation import command, latent_cli, quality_cli, reasoner_cli, tasks_cli
from rnr.evaluation.options import (
    Folders,
    Images,
    Limit,
    Out,
    ReasonerName,
    RestorerName,
    Resume,
    Seed,
    Size,
    Threads,
)
from rnr.reasoner.loading import load as load_reasoner
from rnr.restorer.loading import load as load_restorer
from rnr.restorer.loading import load_bridge

app = typer.Typer(no_args_is_help=True)
for _command in (*reasoner_cli.COMMANDS, *latent_cli.COMMANDS, *tasks_cli.COMMANDS, *quality_cli.COMMANDS):
    app.command()(_command)
# its name until 0.2.0
app.command("confusion", hidden=True, deprecated=True, help="Now `rnr data predictions`.")(reasoner_cli.predictions)


@app.callback()
def bench() -> None:
    """Measure diagnosis and restoration: tables, calibration, plots."""


@app.command()
def training(
    images: Images,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Time for each network.")] = 20,
    threads: Threads = 1,
) -> None:
    """Time training in crops of 64 px a second: an expert in fp32 and bf16, and the network without experts.

    The reasoner is timed in samples a second of processor time.
    """
    from rnr.evaluation.training_speed import table

    with command.errors():
        photographs = list(command.photographs(images, 32).values())
        typer.echo(table(photographs, seconds).markdown())


@app.command(cls=renamed(steps="num-inference-steps"))
def quality(
    out: Out,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of clean photographs.")] = None,
    clean: Annotated[Path | None, typer.Option("--clean", help="Pairs: folder of clean images.")] = None,
    degraded: Annotated[
        Path | None, typer.Option("--degraded", help="Pairs: folder of damaged ones, same names.")
    ] = None,
    tasks: Annotated[str | None, typer.Option("--tasks", help="Comma-separated; all by default.")] = None,
    steps: Annotated[str, typer.Option("--num-inference-steps", help="Numbers of steps to compare.")] = "1,4",
    sweep: Annotated[int, typer.Option("--sweep", min=0, help="Images for the plots by severity and by steps.")] = 4,
    size: Size = 256,
    reasoner: ReasonerName = "built-in",
    restorer: RestorerName = "built-in",
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
    resume: Resume = False,
) -> None:
    """Measure restoration: PSNR, SSIM, damage left, against the input and classical baselines of the same run."""
    from rnr.evaluation.quality_run import QualityRun

    started = time.monotonic()
    with command.errors():
        counts = tuple(int(count) for count in steps.split(","))
        run = QualityRun(out, counts, sweep, size, seed, limit, resume)
        if bool(images) == bool(clean or degraded) or bool(clean) != bool(degraded):
            raise ValueError("name --images DIR, or both --clean DIR and --degraded DIR")
        run.load(reasoner, restorer)
        if images:
            run.take_photographs(images, tasks)
        elif clean and degraded:
            run.take_folders(clean, degraded)
        run.measure()
        command.publish(run.tables(), out, run.settings, started, silent=["quality_baselines"])


@app.command()
def order(
    images: Images,
    out: Out,
    mixtures: Annotated[int, typer.Option("--mixtures", min=2, help="Of each photograph; half have one kind.")] = 8,
    size: Size = 192,
    restorer: RestorerName = "built-in",
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure the order of the legs: the plan of the true diagnosis against all other orders, on mixtures."""
    from rnr.evaluation import order as module
    from rnr.evaluation.cases import cases

    started = time.monotonic()
    with command.errors():
        photographs, model = command.photographs(images, limit), load_bridge(restorer)
        held = cases(photographs, size, mixtures, seed, model.kinds)
        with command.progress("restoring", len(held)) as report:
            rows = module.measure(model, held, report)
        settings = command.identity(restorer=model) | {"images": images.name, "limit": limit, "size": size}
        tables = {"order": module.table(rows, seed), "order_pairs": module.pairs(rows, seed)}
        command.publish(tables, out, settings | {"mixtures": mixtures, "seed": seed}, started)


@app.command(cls=renamed(steps="num-inference-steps"))
def steering(
    images: Images,
    out: Out,
    steps: Annotated[int, typer.Option("--num-inference-steps", min=1, help="Of each leg.")] = 1,
    size: Size = 192,
    restorer: RestorerName = "built-in",
    limit: Limit = 6,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure steering: one of each pair of kinds is named; how much of it goes, how much of the other stays."""
    from rnr.evaluation import steering as module

    started = time.monotonic()
    with command.errors():
        photographs, model = command.photographs(images, limit), load_bridge(restorer)
        with command.progress("restoring", len(photographs) * len(module.pairs(model.kinds))) as report:
            rows = module.measure(model, photographs, size, seed, steps, report)
        module.draw(rows, out)
        settings = command.identity(restorer=model) | {
            "images": images.name,
            "limit": limit,
            "size": size,
            "steps": steps,
        }
        tables = {"steering": module.matrix_table(rows), "steering_pairs": module.pair_table(rows)}
        command.publish(tables, out, settings | {"seed": seed}, started, silent=["steering_pairs"])


@app.command(cls=renamed(steps="max-restorations"))
def agent(
    images: Folders,
    out: Out,
    ways: Annotated[str | None, typer.Option("--ways", help="Comma-separated; all by default.")] = None,
    steps: Annotated[int, typer.Option("--max-restorations", min=1, max=32, help="Budget of the agent.")] = 6,
    candidates: Annotated[int, typer.Option("--candidates", min=1, max=8, help="That compete in each step.")] = 1,
    size: Size = 256,
    reasoner: ReasonerName = "built-in",
    restorer: RestorerName = "built-in",
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = None,
    resume: Resume = False,
) -> None:
    """Compare the agent with one plain pass, and planned order against others, on mixtures of 2-3 kinds."""
    from rnr.evaluation import agent as module

    started = time.monotonic()
    with command.errors():
        names = command.chosen(ways, module.WAYS)
        photographs, judge = command.gathered(images, limit), load_reasoner(reasoner)
        model = load_restorer(restorer)
        named = [folder.name for folder in images]
        settings = command.identity(judge, model) | {"images": named, "limit": limit, "size": size}
        settings |= {"ways": names, "steps": steps, "candidates": candidates, "seed": seed}
        bench = module.AgentBench(judge, model, names, steps, candidates, seed)
        journal = module.journal(out, settings, resume)
        with command.progress("pictures", len(photographs)) as report:
            bench.measure(photographs, size, journal, report)
        tables = {"agent": module.table(journal.rows, names), "agent_decisions": module.decisions(journal.rows)}
        command.publish(tables, out, settings, started)


@app.command()
def judge(
    images: Folders,
    out: Out,
    mixtures: Annotated[int, typer.Option("--mixtures", min=0, help="For the content test; 0: none.")] = 500,
    sweeps: Annotated[int | None, typer.Option("--sweeps", min=0, help="Photographs to sweep; all by default.")] = None,
    reasoner: ReasonerName = "built-in",
    seed: Seed = 0,
    threads: Threads = None,
    resume: Resume = False,
) -> None:
    """Measure the judge: what passes as the same content, and whether its best dose of haze and low light is PSNR's."""
    from rnr.evaluation import judging

    started = time.monotonic()
    with command.errors():
        held = command.gathered(images, None)
        tables, settings = {}, {"images": [folder.name for folder in images], "seed": seed}
        if mixtures:
            with command.progress("content", mixtures) as report:
                tables["judge_content"] = judging.content_table(list(held.values()), mixtures, seed, report)
        swept = dict(list(held.items())[:sweeps])
        if swept:
            model = load_reasoner(reasoner)
            settings |= command.identity(model)
            journal = judging.journal(out, settings, resume)
            with command.progress("photographs swept", len(swept)) as report:
                judging.measure_sweeps(model, swept, seed, journal, report)
            tables["judge_doses"] = judging.sweep_table(journal.rows)
        command.publish(tables, out, settings | {"mixtures": mixtures, "sweeps": len(swept)}, started)


@app.command()
def instructions(
    out: Out = Path("results/instructions"),
    reader: Annotated[
        str, typer.Option("--reader", help="built-in, or what `rnr train instructions` wrote.")
    ] = "built-in",
    count: Annotated[int, typer.Option("--count", min=1, help="Instructions in held-out words.")] = 1000,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Measure how instructions are read: the share that is right, by form, and from which certainty on."""
    from rnr.evaluation import instructions as module
    from rnr.reasoner.instructions.loading import load

    started = time.monotonic()
    with command.errors():
        with command.progress("instructions", count) as report:
            held = module.cases(load(reader), count, seed, report)
        settings = {"reader": reader, "count": count, "seed": seed}
        command.publish(module.tables(held), out, settings, started)


@app.command()
def twin(
    images: Images,
    val: Annotated[Path, typer.Option("--val", help="Folder of other photographs, to compare on.")],
    out: Out,
    samples: Annotated[
        int, typer.Option("--samples", min=16, help="Training samples of each twin, in 64 px crops.")
    ] = 100_000,
    twins: Annotated[
        str | None, typer.Option("--twins", help="Of: conditioned (on the diagnosis), no scene, blind.")
    ] = None,
    reasoner: Annotated[
        str | None, typer.Option("--reasoner", help="Also conditioned on the predictions of this reasoner.")
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints in --out.")] = False,
) -> None:
    """Train small restorers alike, with and without the diagnosis, with and without scene labels."""
    from rnr.evaluation import plots
    from rnr.evaluation import twin as module

    started = time.monotonic()
    with command.errors():
        names = command.chosen(twins, module.TWINS)
        photographs, held = list(command.photographs(images, limit).values()), command.photographs(val, None)
        training, networks = module.Twins(out, samples, seed, threads or 1), {}
        for name in names:
            with command.progress(f"training: {name}", samples) as report:
                networks[name] = training.train(name, photographs, resume, report)
        model = load_reasoner(reasoner) if reasoner else None
        rows = module.compare(networks, list(held.values()), model)
        table = module.table(rows, samples)
        curves: dict[str, Sequence[float]] = {
            name: [float(str(row[name])) for row in table.rows]
            for name in ("diagnosis", "scene")
            if name in table.columns
        }
        if curves:
            groups = [str(row["task"]) for row in table.rows]
            plots.bars(groups, curves, "what the diagnosis gains", "dB PSNR", out / "twin.png")
        settings = {
            "images": images.name,
            "val": val.name,
            "samples": samples,
            "twins": names,
            "seed": seed,
            "limit": limit,
        }
        command.publish({"twin": table}, out, settings, started)


@app.command(cls=renamed(steps="num-inference-steps"))
def speed(
    images: Images,
    out: Out,
    megapixels: Annotated[str, typer.Option("--megapixels", help="Sizes, comma-separated.")] = "1,10",
    large: Annotated[bool, typer.Option("--large", help="100 megapixels, too.")] = False,
    steps: Annotated[str, typer.Option("--num-inference-steps", help="Numbers of steps.")] = "1,4",
    reasoner: ReasonerName = "built-in",
    restorer: RestorerName = "built-in",
    findings: Annotated[str, typer.Option("--findings", help="What is removed, comma-separated.")] = "haze,noise",
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="float32, or bf16: what the restorer computes in.")
    ] = None,
    threads: Threads = None,
) -> None:
    """Measure seconds per megapixel of diagnosis and restoration, and peak memory by size, each in a fresh process."""
    from rnr.evaluation.speed import measure, table

    started = time.monotonic()
    with command.errors():
        sizes = [float(size) for size in megapixels.split(",")] + ([100.0] if large else [])
        arguments = ["--images", str(images), "--steps", steps, "--reasoner", reasoner, "--restorer", restorer]
        arguments += ["--findings", findings, *(["--dtype", dtype] if dtype else [])]
        arguments += ["--threads", str(threads)] if threads else []
        with command.progress("sizes", len(sizes)) as report:
            rows = measure(arguments, sizes, report)
        settings = {"steps": steps, "reasoner": reasoner, "restorer": restorer, "sizes": sizes, "threads": threads}
        settings |= {"findings": findings, "dtype": dtype or "float32"}
        command.publish({"speed": table(rows)}, out, settings, started)
