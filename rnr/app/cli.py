"""The `rnr` command. Everything heavy is imported inside the commands, so that `rnr --help` answers at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnr import __version__
from rnr.app import explain_cli, serve_cli, unified_cli
from rnr.app.batches import cluster_of, finish_cluster, jobs_of, models_of, request_of, run_batch, server_of
from rnr.app.options import (
    Device,
    Dtype,
    InferenceSteps,
    Instruct,
    Megapixels,
    Out,
    Overwrite,
    Quality,
    QualityAdapter,
    QualityBy,
    ReasonerName,
    RestorerName,
    ScorerName,
    Seed,
    Strengths,
    Task,
    Unified,
    Unreadable,
    WhichFrames,
)
from rnr.app.train_cli import data_app, train_app
from rnr.app.view_cli import gallery, view
from rnr.app.weights_cli import weights
from rnr.degradation.errors import SetupError
from rnr.degradation.loading import BUILT_IN
from rnr.degradation.renamed import renamed
from rnr.evaluation.cli import app as bench_app
from rnr.images.files import MAX_MEGAPIXELS, PictureError
from rnr.rl.cli import app as rl_app
from rnr.work.console import remark, stop, tolerant

if TYPE_CHECKING:
    from rnr.images.frames import Which
    from rnr.work.batch import Batch
    from rnr.work.models import Models
    from rnr.work.outputs import Job

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
app.add_typer(train_app, name="train")
app.add_typer(data_app, name="data")
app.add_typer(bench_app, name="bench")
app.add_typer(rl_app, name="rl")
app.command()(view)
app.command()(gallery)
app.command()(weights)
serve_cli.register(app, bench_app)
explain_cli.register(app, bench_app)
unified_cli.register(train_app, bench_app)

Pictures = Annotated[list[str], typer.Argument(metavar="images", help="Files, folders and globs.", show_default=False)]
Recursive = Annotated[bool, typer.Option("-r", "--recursive", help="Also the images in subfolders.")]
Server = Annotated[str | None, typer.Option(metavar="URL", help="Diagnose there: an OpenAI-compatible vLLM server.")]
Engine = Annotated[str | None, typer.Option(metavar="ray", help="Many processes or machines, by Ray Data.")]
Workers = Annotated[int, typer.Option(min=1, help="With --engine ray: actors, each with its own models.")]
Traceback = Annotated[bool, typer.Option("--traceback", help="Show where unexpected errors come from.")]

SkipExisting = Annotated[bool, typer.Option("--skip-existing", "--resume", help="Go on with a batch that was cut off.")]
Sets = Annotated[list[str], typer.Option("--set", metavar="KIND=SEVERITY", help="Such as haze=40; may be repeated.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rnr {__version__}")
        raise typer.Exit


@app.callback()
def rnr(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    """Reason and Restore: say what happened to an image, then undo it.

    Exit codes: 0 done, 1 some images failed or were skipped and the rest is done, 2 wrong usage, 130 interrupted.
    """
    tolerant()


@app.command(cls=renamed(steps="num-inference-steps"))
def restore(
    pictures: Pictures,
    out: Out,
    num_inference_steps: InferenceSteps = None,
    seed: Seed = 0,
    diagnosis: Annotated[Path | None, typer.Option(help="Restore by this diagnosis, possibly edited.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="KIND", help="Remove only this; may be repeated.")] = None,
    strength: Strengths = None,
    quality: Quality = None,
    quality_adapter: QualityAdapter = None,
    task: Task = None,
    instruct: Instruct = None,
    force: Annotated[bool, typer.Option("--force", help="Restore also what the reasoner is not sure of.")] = False,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
    skip_unreadable: Unreadable = False,
    frames: WhichFrames = "all",
    stamp: Annotated[bool, typer.Option("--stamp", help="Write the record into the image's XMP, too.")] = False,
    strip_gps: Annotated[bool, typer.Option("--strip-gps", help="Leave positions out of EXIF and XMP.")] = False,
    max_megapixels: Megapixels = MAX_MEGAPIXELS,
    recursive: Recursive = False,
    reasoner: ReasonerName = BUILT_IN,
    restorer: RestorerName = BUILT_IN,
    unified: Unified = None,
    server: Server = None,
    scorer: QualityBy = None,
    device: Device = "auto",
    dtype: Dtype = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="No report.html.")] = False,
    engine: Engine = None,
    workers: Workers = 1,
    traceback: Traceback = False,
) -> None:
    """Diagnose and restore images: the image, its diagnosis before and after, and one report for all.

    OUT gets NAME.ext (same format, depth, profile, transparency, EXIF and other metadata), NAME.diagnosis.json and
    report.html. Images in subfolders keep their path below the folder that was named. Where two images would share
    a name the record keeps the suffix (NAME.png.diagnosis.json), or both go below the name of their folder.
    """
    from rnr.degradation.strength import parsed
    from rnr.work import cluster
    from rnr.work.batch import Batch, Options
    from rnr.work.instructing import in_words, wish_of
    from rnr.work.plain_worker import PlainWorker

    if overwrite and skip_existing:
        stop("--overwrite and --skip-existing exclude each other")
    if quality_adapter and (quality is None or engine):
        stop("--quality-adapter needs --quality, and works in one process; leave out --engine")
    if unified and engine:
        stop("--unified works in one process; leave out --engine")
    if unified and dtype:
        stop("--unified computes in float32; leave out --dtype")
    mode = "overwrite" if overwrite else "skip" if skip_existing else "refuse"
    options = Options(mode, max_megapixels, not no_report, traceback)  # type: ignore[arg-type]
    try:
        request = request_of(num_inference_steps, seed, only or [], diagnosis)
        request = replace(
            request,
            strength=parsed(strength or []),
            stamp=stamp,
            strip_gps=strip_gps,
            force=force,
            frames=frames,
            quality=quality,
            task=task,
            instruct=instruct,
        ).check()
        if instruct is not None and not unified:  # before any picture: what is not understood changes nothing
            remark(f"--instruct is read as: {in_words(wish_of(instruct))}")
        models = models_of(server_of(server) or reasoner, restorer, device, scorer, unified, dtype, quality_adapter)
        if engine:
            chosen, (pictures, tables) = cluster_of(engine, workers, models), cluster.tables(pictures)
            jobs, problems = jobs_of(pictures, recursive, out, skip_unreadable)
            finish_cluster(cluster.restore(chosen, jobs, tables, out, request, mode, max_megapixels), len(problems))
        else:
            worker = PlainWorker(request)
            run_batch(pictures, recursive, out, skip_unreadable, lambda jobs: Batch(jobs, out, models, worker, options))
    except SetupError as error:
        stop(str(error))


@app.command(cls=renamed(steps="max-restorations"))
def agent(
    pictures: Pictures,
    out: Out,
    strategy: Annotated[str, typer.Option(help="one-pass, stepwise, or auto: one pass, then what it left.")] = "auto",
    max_restorations: Annotated[int, typer.Option(min=1, max=32, help="For each image, at most.")] = 6,
    seconds: Annotated[float, typer.Option(help="In the models, for each image; looked at between steps.")] = 600.0,
    candidates: Annotated[int, typer.Option(min=1, max=8, help="Restorations that compete in each step.")] = 1,
    strength: Strengths = None,
    instruct: Instruct = None,
    memory: Annotated[bool, typer.Option("--memory", help="Begin with doses kept on earlier images of OUT.")] = False,
    ask: Annotated[bool, typer.Option("--ask", help="Approve, edit or reject each step in the terminal.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=32, help="Images at the same time.")] = 1,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    skip_unreadable: Unreadable = False,
    max_megapixels: Megapixels = MAX_MEGAPIXELS,
    recursive: Recursive = False,
    reasoner: ReasonerName = BUILT_IN,
    restorer: RestorerName = BUILT_IN,
    scorer: QualityBy = None,
    device: Device = "auto",
    dtype: Dtype = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="No report.html.")] = False,
    traceback: Traceback = False,
) -> None:
    """Restore step by step: look, plan, restore, look again, keep the step or roll it back.

    OUT gets NAME.ext, NAME.diagnosis.json, report.html, and agent/ (images of all steps, threads, trace). Called
    again with the same settings, images that are done stay and one that was cut off goes on where it was.
    """
    from contextlib import ExitStack

    from rnr.degradation.strength import parsed
    from rnr.work.agents import AgentRequest, Workplace
    from rnr.work.batch import Batch, Options

    if ask and workers > 1:
        stop("--ask needs --workers 1: one picture at a time can be asked about")
    options = Options("overwrite" if overwrite else "skip", max_megapixels, not no_report, traceback)
    try:
        request = AgentRequest(
            strategy, max_restorations, seconds, candidates, seed, ask, parsed(strength or []), memory, instruct
        ).check()
        if instruct is not None:
            remark(f"--instruct {request.reading}")
        from rnr.app.asking import ask as answer
        from rnr.work.agent_worker import HOME, AgentWorker, alone_in

        models, asked = models_of(reasoner, restorer, device, scorer, dtype=dtype), answer if ask else None

        def make(jobs: list[Job]) -> Batch:
            held.enter_context(alone_in(out))
            place = held.enter_context(Workplace(out / HOME, request))
            return Batch(jobs, out, models, AgentWorker(place, asked), options, workers)

        with ExitStack() as held:
            run_batch(pictures, recursive, out, skip_unreadable, make)
    except SetupError as error:
        stop(str(error))


@app.command()
def diagnose(
    pictures: Pictures,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on stdout.")] = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object a line, as they come.")] = False,
    frames: WhichFrames = "all",
    skip_unreadable: Unreadable = False,
    max_megapixels: Megapixels = MAX_MEGAPIXELS,
    recursive: Recursive = False,
    reasoner: ReasonerName = BUILT_IN,
    server: Server = None,
    scorer: QualityBy = None,
    device: Device = "auto",
    engine: Engine = None,
    workers: Workers = 1,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="With --engine ray: folder for JSONL shards.")] = None,
    traceback: Traceback = False,
) -> None:
    """Say what happened to images: severity, probability, evidence and physical factors of each kind of damage."""
    from rnr.app.tables import print_for_people
    from rnr.work.diagnosing import diagnose_all
    from rnr.work.each import Files

    if as_json and as_jsonl:
        stop("--json and --jsonl exclude each other")
    if not engine and (out or workers != 1):
        stop("-o and --workers go with --engine ray; without it, redirect --json or --jsonl")
    models = models_of(server_of(server) or reasoner, BUILT_IN, device, scorer)
    if engine:
        _diagnose_on(engine, workers, pictures, recursive, out, max_megapixels, models, frames)
        return
    files = Files(pictures, recursive, max_megapixels, skip_unreadable, frames, traceback)
    try:
        results = list(diagnose_all(files, models, as_jsonl))
    except SetupError as error:
        stop(str(error))
    if as_json:
        from rnr.work.console import json_stdout

        json_stdout([row.as_json() for row in results], indent=1)
    elif not as_jsonl:
        print_for_people(results)
    if any(row.record.diagnosis is None for row in results):
        raise typer.Exit(1)


def _diagnose_on(
    engine: str, workers: int, pictures: Sequence[str], recursive: bool, out: Path | None, most: float,
    models: Models, which: Which,
) -> None:  # fmt: skip
    from rnr.images.files import find_pictures
    from rnr.work import cluster
    from rnr.work.console import complain

    if out is None:
        stop("--engine ray writes shards: name a folder with -o")
    try:
        pictures, tables = cluster.tables(pictures)
        found, problems = find_pictures(pictures, recursive)
        for problem in problems:
            complain(problem)
        chosen = cluster_of(engine, workers, models)
        finish_cluster(cluster.diagnose(chosen, found, tables, out, most, which), len(problems))
    except SetupError as error:
        stop(str(error))


@app.command()
def quality(
    pictures: Pictures,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on stdout.")] = False,
    frames: WhichFrames = "all",
    skip_unreadable: Unreadable = False,
    max_megapixels: Megapixels = MAX_MEGAPIXELS,
    recursive: Recursive = False,
    scorer: ScorerName = BUILT_IN,
    device: Device = "auto",
    traceback: Traceback = False,
) -> None:
    """Say how good images are, 0-100, with an interval, the words of a ladder and what comes nearest in words."""
    from rnr.app.tables import print_scores
    from rnr.work.console import json_stdout
    from rnr.work.each import Files
    from rnr.work.models import Models
    from rnr.work.scoring import score_all

    models = Models(device=device, scorer=scorer)
    try:
        rows = list(score_all(Files(pictures, recursive, max_megapixels, skip_unreadable, frames, traceback), models))
    except SetupError as error:
        stop(str(error))
    if as_json:
        json_stdout([row.as_json() for row in rows], indent=1)
    else:
        print_scores(rows)
    if any(row.score is None for row in rows):
        raise typer.Exit(1)


@app.command()
def degrade(
    picture: Annotated[Path, typer.Argument(metavar="image", help="A clean image.", show_default=False)],
    out: Out,
    settings: Sets,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    max_megapixels: Megapixels = MAX_MEGAPIXELS,
) -> None:
    """Damage a clean image in known ways: what the models learn from. Writes NAME.png and its true diagnosis."""
    from rnr.degradation.files import printable
    from rnr.work.console import complain, plain_stdout
    from rnr.work.degrading import degrade_file, parse_settings
    from rnr.work.outputs import prepare_folder

    try:
        requests = parse_settings(settings)
        prepare_folder(out, [picture])
        path, truth = degrade_file(picture, requests, out, seed, overwrite, max_megapixels)
    except SetupError as error:
        stop(str(error))
    except PictureError as error:
        complain(error)
        raise typer.Exit(1) from None
    done = ", ".join(f"{name.replace('_', ' ')} {truth.findings[name].severity}" for name in truth.present)
    plain_stdout(f"{printable(path)}: {done or 'nothing that could be seen'}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a Diagnosis."""
    from rnr.degradation.schema import diagnosis_schema
    from rnr.work.console import json_stdout

    json_stdout(diagnosis_schema(), indent=2)


def main() -> None:
    app(prog_name="rnr")


if __name__ == "__main__":
    main()
