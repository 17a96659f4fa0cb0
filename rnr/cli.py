"""The `rnr` command. Everything heavy is imported inside the commands, so that `rnr --help` answers at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evaluation.cli import app as bench_app
from rl.cli import app as rl_app
from rnr.console import stop
from rnr.core import BUILT_IN, SetupError, release
from rnr.pictures import MAX_MEGAPIXELS, PictureError

if TYPE_CHECKING:
    from rnr.agent_batch import AgentBatch
    from rnr.batch import Batch
    from rnr.core import Models, Request

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
train_app = typer.Typer(no_args_is_help=True, help="Train the built-in models on a folder of clean photographs.")
app.add_typer(train_app, name="train")
app.add_typer(bench_app, name="bench")
app.add_typer(rl_app, name="rl")

Pictures = Annotated[list[str], typer.Argument(help="Files, folders and globs.", show_default=False)]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results; made if it is not there.")]
Megapixels = Annotated[float, typer.Option(min=0, help="Refuse larger pictures (decompression bombs).")]
Recursive = Annotated[bool, typer.Option("-r", "--recursive", help="Also the pictures in subfolders.")]
ReasonerName = Annotated[str, typer.Option("--reasoner", help="built-in, a weights folder or a hub name.")]
RestorerName = Annotated[str, typer.Option("--restorer", help="built-in, or a weights folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
Seed = Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")]
Traceback = Annotated[bool, typer.Option("--traceback", help="Show where unexpected errors come from.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")]

SkipExisting = Annotated[bool, typer.Option("--skip-existing", "--resume", help="Go on with a batch that was cut off.")]
Sets = Annotated[list[str], typer.Option("--set", metavar="KIND=SEVERITY", help="Such as haze=40; may be repeated.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rnr {release()}")
        raise typer.Exit


@app.callback()
def rnr(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    """Reason and Restore: say what happened to a picture, then undo it.

    Exit codes: 0 done, 1 some pictures failed and the rest is done, 2 wrong usage, 130 interrupted.
    """


@app.command()
def restore(
    pictures: Pictures,
    out: Out,
    steps: Annotated[int, typer.Option(min=1, max=8, help="1 is nearest to the truth, more give more texture.")] = 1,
    seed: Seed = 0,
    diagnosis: Annotated[Path | None, typer.Option(help="Restore by this diagnosis, possibly edited.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="KIND", help="Remove only this; may be repeated.")] = None,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
    max_megapixels: Megapixels = MAX_MEGAPIXELS,
    recursive: Recursive = False,
    reasoner: ReasonerName = BUILT_IN,
    restorer: RestorerName = BUILT_IN,
    device: Device = "auto",
    no_report: Annotated[bool, typer.Option("--no-report", help="No report.html.")] = False,
    traceback: Traceback = False,
) -> None:
    """Diagnose and restore pictures: the picture, its diagnosis before and after, and one report for all.

    OUT gets NAME.ext (same format, depth, profile, transparency and EXIF), NAME.diagnosis.json and report.html.
    """
    from rnr.batch import Batch, Options

    if overwrite and skip_existing:
        stop("--overwrite and --skip-existing exclude each other")
    mode = "overwrite" if overwrite else "skip" if skip_existing else "refuse"
    options = Options(mode, max_megapixels, not no_report, traceback)  # type: ignore[arg-type]
    try:
        request = _request(steps, seed, only or [], diagnosis)
        models = _models(reasoner, restorer, device)
        _run(pictures, recursive, out, lambda jobs: Batch(jobs, out, models, request, options))
    except SetupError as error:
        stop(str(error))


def _models(reasoner: str, restorer: str, device: str) -> Models:
    from rnr.core import Models

    _hush()
    return Models(reasoner, restorer, device)


def _hush() -> None:
    """Libraries' notices to developers."""
    import warnings

    warnings.simplefilter("ignore")


def _request(steps: int, seed: int, only: Sequence[str], diagnosis: Path | None) -> Request:
    from rnr.core import Request, read_diagnosis
    from rnr.outputs import printable

    given = read_diagnosis(diagnosis) if diagnosis else None
    return Request(steps, seed, tuple(only), given, printable(diagnosis.name) if diagnosis else "").check()


def _run(pictures: Sequence[str], recursive: bool, out: Path, make: Callable[[Any], Batch | AgentBatch]) -> None:
    from rnr.console import complain, remark
    from rnr.outputs import leave_out, plan, prepare_folder, printable
    from rnr.pictures import find_pictures

    started = time.monotonic()
    found, problems = find_pictures(pictures, recursive)
    for problem in problems:
        complain(problem)
    sources = leave_out(found, pictures, out)
    prepare_folder(out, sources)
    if len(sources) < len(found):
        remark(f"{len(found) - len(sources)} pictures in the output folder itself are left out")
    if found and not sources:
        raise SetupError(f"{printable(out)}: all pictures lie in the output folder; choose another one")
    batch = make(plan(sources))
    batch.run()
    _finish(batch, problems, time.monotonic() - started)


def _finish(batch: Batch | AgentBatch, problems: Sequence[PictureError], seconds: float) -> None:
    """Report, summary line, exit code."""
    from rnr.console import complain, out
    from rnr.outputs import printable

    where = ""
    failed = batch.count("failed") + len(problems)
    if batch.options.with_report and (batch.entries or problems):
        try:
            where = f" Report: {printable(batch.write_report(problems))}"
        except PictureError as error:
            complain(error)
            failed += 1
    parts = [(batch.count("restored"), "restored"), (batch.count("untouched"), "left as found")]
    parts += [(batch.count("waiting"), "waiting for an answer (--ask)"), (failed, "failed")]
    done = ", ".join(f"{count} {words}" for count, words in parts if count) or "no pictures"
    done += f" ({batch.skipped} of them before)" if batch.skipped else ""
    stopped = "Interrupted: " if batch.interrupted else ""
    out.print(f"{stopped}{done} in {seconds:.1f} s.{where}", markup=False)
    if batch.interrupted:
        raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)


@app.command()
def agent(
    pictures: Pictures,
    out: Out,
    strategy: Annotated[str, typer.Option(help="one-pass, stepwise, or auto: one pass, then what it left.")] = "auto",
    steps: Annotated[int, typer.Option(min=1, max=32, help="Restorations a picture at most.")] = 6,
    seconds: Annotated[float, typer.Option(help="In the models, a picture, looked at between steps.")] = 600.0,
    candidates: Annotated[int, typer.Option(min=1, max=8, help="Restorations that compete in each step.")] = 1,
    ask: Annotated[bool, typer.Option("--ask", help="Approve, edit or reject each step in the terminal.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=32, help="Pictures at the same time.")] = 1,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    max_megapixels: Megapixels = MAX_MEGAPIXELS,
    recursive: Recursive = False,
    reasoner: ReasonerName = BUILT_IN,
    restorer: RestorerName = BUILT_IN,
    device: Device = "auto",
    no_report: Annotated[bool, typer.Option("--no-report", help="No report.html.")] = False,
    traceback: Traceback = False,
) -> None:
    """Restore step by step: look, plan, restore, look again, keep the step or take it back.

    OUT gets NAME.ext, NAME.diagnosis.json, report.html, and agent/ (pictures of all steps, threads, trace). Called
    again with the same settings, pictures that are done stay and one that was cut off goes on where it was.
    """
    from rnr.agents import AgentRequest
    from rnr.batch import Options

    if ask and workers > 1:
        stop("--ask needs --workers 1: one picture at a time can be asked about")
    options = Options("overwrite" if overwrite else "skip", max_megapixels, not no_report, traceback)
    try:
        request = AgentRequest(strategy, steps, seconds, candidates, seed, ask).check()
        from rnr.agent_batch import AgentBatch
        from rnr.asking import ask as answer

        models, asked = _models(reasoner, restorer, device), answer if ask else None
        _run(pictures, recursive, out, lambda jobs: AgentBatch(jobs, out, models, request, options, workers, asked))
    except SetupError as error:
        stop(str(error))


@app.command()
def diagnose(
    pictures: Pictures,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on stdout.")] = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object a line, as they come.")] = False,
    max_megapixels: Megapixels = MAX_MEGAPIXELS,
    recursive: Recursive = False,
    reasoner: ReasonerName = BUILT_IN,
    device: Device = "auto",
    traceback: Traceback = False,
) -> None:
    """Say what happened to pictures: severity, probability, evidence and physical factors of each kind of damage."""
    from rnr.diagnosing import diagnose_all, print_for_people

    if as_json and as_jsonl:
        stop("--json and --jsonl exclude each other")
    rows = diagnose_all(pictures, recursive, max_megapixels, _models(reasoner, BUILT_IN, device), traceback, as_jsonl)
    try:
        results = list(rows)
    except SetupError as error:
        stop(str(error))
    if as_json:
        from rnr.console import plain_stdout

        plain_stdout(json.dumps([row.as_json() for row in results], indent=1, ensure_ascii=False))
    elif not as_jsonl:
        print_for_people(results)
    if any(row.record.diagnosis is None for row in results):
        raise typer.Exit(1)


@app.command()
def degrade(
    picture: Annotated[Path, typer.Argument(help="A clean picture.", show_default=False)],
    out: Out,
    settings: Sets,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    max_megapixels: Megapixels = MAX_MEGAPIXELS,
) -> None:
    """Damage a clean picture in known ways: what the models learn from. Writes NAME.png and its true diagnosis."""
    from rnr.console import complain, plain_stdout
    from rnr.degrading import degrade_file, parse_settings
    from rnr.outputs import prepare_folder, printable

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


Images = Annotated[Path, typer.Option("--images", help="Folder of clean photographs.")]
TrainOut = Annotated[Path, typer.Option("-o", "--out", help="Folder for checkpoints, curves and weights.")]
Val = Annotated[Path | None, typer.Option(help="Folder of other photographs, for validation.")]
Samples = Annotated[int | None, typer.Option(min=1, help="Length of the schedule.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")]
Init = Annotated[Path | None, typer.Option(help="Start from these weights, with a new schedule.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.")]
Rate = Annotated[float | None, typer.Option(help="Learning rate at its highest.")]
Confusion = Annotated[Path | None, typer.Option(help="How the reasoner errs: the file of `rnr bench confusion`.")]


@train_app.command("reasoner")
def train_reasoner(
    images: Images, out: TrainOut, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    init: Init = None, rate: Rate = None, threads: Threads = None,
) -> None:  # fmt: skip
    """Picture -> Diagnosis: supervised fine-tuning on pictures damaged in known ways."""
    _train("reasoner", **locals())


@train_app.command("restorer")
def train_restorer(
    images: Images, out: TrainOut, val: Val = None, samples: Samples = None, seed: Seed = 0, resume: Resume = False,
    init: Init = None, rate: Rate = None, confusion: Confusion = None, threads: Threads = None, device: Device = "auto",
) -> None:  # fmt: skip
    """Picture + Diagnosis -> picture: a diffusion bridge, told diagnoses that are right, wrong and missing."""
    _train("restorer", **locals())


def _train(which: str, **settings: Any) -> None:
    from rnr import training
    from rnr.console import plain_stdout

    _hush()
    run = training.train_reasoner if which == "reasoner" else training.train_restorer
    try:
        weights = run(training.Training(**settings), training.Lines())
    except SetupError as error:
        stop(str(error))
    except KeyboardInterrupt:
        stop(f"interrupted; go on with --resume --out {settings['out']}", 130)
    plain_stdout(f"weights: {weights}")


@app.command()
def mcp(
    folders: Annotated[list[Path], typer.Argument(help="Folders whose pictures may be read.", show_default=False)],
    out: Out,
    http: Annotated[bool, typer.Option("--http", help="Streamable HTTP instead of stdin and stdout.")] = False,
    host: Annotated[str, typer.Option(help="With --http. Anybody who can reach it can use it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="With --http.")] = 8000,
    seconds: Annotated[float, typer.Option(min=1, help="For each call.")] = 300.0,
    max_megapixels: Megapixels = 25.0,
    max_megabytes: Annotated[float, typer.Option(min=0, help="Refuse larger files.")] = 100.0,
    reasoner: ReasonerName = BUILT_IN,
    restorer: RestorerName = BUILT_IN,
    device: Device = "auto",
) -> None:
    """Serve diagnose, restore and agent to programs over the Model Context Protocol.

    Reads pictures inside FOLDERS, writes to OUT, and nothing else.
    """
    from degradation._lazy import MissingExtra, need

    try:
        need("mcp.server", "mcp")
        from rnr.gate import Gate
        from rnr.serving import Service, serve

        gate = Gate(folders, max_megabytes)
        serve(Service(_models(reasoner, restorer, device), gate, out, max_megapixels, seconds), http, host, port)
    except (SetupError, MissingExtra) as error:
        stop(str(error))


@app.command()
def schema() -> None:
    """Print the JSON schema of a Diagnosis."""
    from degradation.diagnosis import diagnosis_schema
    from rnr.console import plain_stdout

    plain_stdout(json.dumps(diagnosis_schema(), indent=2))


def main() -> None:
    app(prog_name="rnr")


if __name__ == "__main__":
    main()
