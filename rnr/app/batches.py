"""From the arguments of a command to a batch, and from what came of it to a summary and an exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rnr.degradation.arithmetic import DTYPES
from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.degradation.loading import BUILT_IN
from rnr.images.files import PictureError, SkippedFile, find_pictures
from rnr.work.console import complain, hush, plain_stdout, remark, stop, tell_skipped
from rnr.work.console import out as stdout

if TYPE_CHECKING:
    from rnr.work.batch import Batch
    from rnr.work.models import Models
    from rnr.work.outputs import Job
    from rnr.work.request import Request

    Planned = tuple[list[Job], list[PictureError]]


def server_of(server: str | None) -> str | None:
    """A server's URL."""
    from rnr.reasoner import is_server

    if server and not is_server(server):
        stop(f"--server {server}: an address begins with http:// or https://")
    return server


def models_of(
    reasoner: str, restorer: str, device: str, scorer: str | None = None, unified: str | None = None,
    dtype: str | None = None, quality_adapter: Path | None = None,
) -> Models:  # fmt: skip
    from rnr.work.models import Models

    hush()
    if dtype is not None and dtype not in DTYPES:
        stop(f"--dtype is float32 or bf16, not {dtype}")
    if unified and (reasoner, restorer) != (BUILT_IN, BUILT_IN):
        stop("--unified is a reasoner and a restorer; leave out --reasoner, --restorer and --server")
    if unified and quality_adapter:
        stop("--quality-adapter goes with experts alone; leave out --unified")
    adapter = str(quality_adapter) if quality_adapter else None
    models = Models(reasoner, restorer, device, scorer, unified, dtype, adapter)
    if dtype in ("bf16", "bfloat16") and models.device == "cpu":
        from rnr.training.precision import has_bf16

        if not has_bf16():
            remark("--dtype bf16: this processor has neither AVX512-BF16 nor AMX; float32 is faster here")
    return models


def request_of(num_inference_steps: int | None, seed: int, only: Sequence[str], diagnosis: Path | None) -> Request:
    from rnr.work.request import Request, read_diagnosis

    given = read_diagnosis(diagnosis) if diagnosis else None
    return Request(
        num_inference_steps, seed, tuple(only), given, printable(diagnosis.name) if diagnosis else ""
    ).check()


def cluster_of(engine: str, workers: int, models: Models) -> Any:
    """Raises SetupError for an engine that nobody knows."""
    if engine != "ray":
        raise SetupError(f"--engine is ray or not given, not {engine}")
    from rnr.work.cluster import Cluster

    gpus = float(models.device == "cuda")
    return Cluster(models.names, models.device_wanted, workers, gpus, models.scorer_name, models.dtype)


def finish_cluster(counts: dict[str, int], problems: int) -> None:
    """The summary of a cluster's work, and the exit code."""
    counts["failed"] += problems
    plain_stdout(", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no pictures")
    if counts["failed"]:
        raise typer.Exit(1)


def run_batch(
    pictures: Sequence[str],
    recursive: bool,
    out: Path,
    skip_unreadable: bool,
    make: Callable[[list[Job]], Batch],
) -> None:
    started = time.monotonic()
    jobs, problems = jobs_of(pictures, recursive, out, skip_unreadable)
    batch = make(jobs)
    batch.run()
    _finish(batch, problems, time.monotonic() - started)


def jobs_of(pictures: Sequence[str], recursive: bool, out: Path, skip_unreadable: bool) -> Planned:
    """What there is to do, and what was asked for in vain (already reported)."""
    from rnr.work.naming import plan
    from rnr.work.outputs import leave_out, prepare_folder

    skipped: list[Path] = []
    found, problems = find_pictures(pictures, recursive, skipped)
    for problem in problems:
        complain(problem)
    problems += tell_skipped(leave_out(skipped, pictures, out), skip_unreadable)
    sources = leave_out(found, pictures, out)
    prepare_folder(out, sources)
    if len(sources) < len(found):
        remark(f"{len(found) - len(sources)} pictures in the output folder itself are left out")
    if found and not sources:
        raise SetupError(f"{printable(out)}: all pictures lie in the output folder; choose another one")
    return plan(sources, pictures, out), problems


def _finish(batch: Batch, problems: Sequence[PictureError], seconds: float) -> None:
    """Report, summary line, exit code."""
    where = ""
    skipped = sum(isinstance(problem, SkippedFile) for problem in problems)
    failed = batch.count("failed") + len(problems) - skipped
    if batch.options.with_report and (batch.entries or problems):
        try:
            where = f" Report: {printable(batch.write_report(problems))}"
        except PictureError as error:
            complain(error)
            failed += 1
    parts = [(batch.count("restored"), "restored"), (batch.count("untouched"), "left as found")]
    parts += [(batch.count("waiting"), "waiting for an answer (--ask)"), (failed, "failed"), (skipped, "skipped")]
    done = ", ".join(f"{count} {words}" for count, words in parts if count) or "no pictures"
    done += f" ({batch.skipped} of them before)" if batch.skipped else ""
    stopped = "Interrupted: " if batch.interrupted else ""
    stdout.print(f"{stopped}{done} in {seconds:.1f} s.{where}", markup=False)
    if batch.interrupted:
        raise typer.Exit(130)
    if failed or skipped:
        raise typer.Exit(1)
