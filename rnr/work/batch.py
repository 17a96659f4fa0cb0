"""`rnr restore` and `rnr agent`: many pictures; whatever happens to one, the others get their result.

A worker knows what is done with one picture (`plain_worker`, `agent_worker`). The batch knows the rest: what is done
already, progress, errors, interrupts, the report. It takes one picture after the other in this thread, or several at
a time in threads that have models of their own; `rnr.work.cluster` has such batches on many machines.

Each picture is complete or absent: its record and its picture are written together, and an interrupt waits for both.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.text import Text

from rnr.degradation.errors import Error, SetupError
from rnr.degradation.files import printable
from rnr.images.files import MAX_MEGAPIXELS, PictureError, os_problem
from rnr.work.console import Meter, complain, err
from rnr.work.models import Models
from rnr.work.outputs import Job, Mode, Shelf, report_path, write_text

Tell = Callable[[str], None]  # hears of each stage


@dataclass(frozen=True)
class Options:
    """How the batch is run, beside how each picture is restored."""

    mode: Mode = "refuse"
    max_megapixels: float = MAX_MEGAPIXELS
    with_report: bool = True
    with_traceback: bool = False


class Worker(Protocol):
    """What is done with one picture of a batch."""

    def asked(self, models: Models) -> dict[str, Any]:
        """The settings by which a result is known again."""
        ...

    def entry(self, job: Job, held: dict[str, Any] | None, batch: Batch, tell: Tell) -> Any:
        """Work on a picture and write its results. `held`: the record of an earlier run, of these settings."""
        ...

    def failed(self, source: str, problem: str, remedy: str) -> Any:
        """The entry of a picture that nothing could be done with."""
        ...

    def render(self, entries: Sequence[Any], interrupted: bool) -> str:
        """The report."""
        ...


@dataclass
class Batch:
    """The work and what came of it. `run` fills `entries`, in the order of the jobs.

    Attributes:
        workers: Pictures at the same time; more than one are threads.
        entries: `rnr.report.plain.Entry` or `rnr.report.agent.AgentEntry`, as the worker makes them.
    """

    jobs: Sequence[Job]
    out: Path
    models: Models
    worker: Worker
    options: Options
    workers: int = 1
    entries: list[Any] = field(default_factory=list)
    interrupted: bool = False

    def __post_init__(self) -> None:
        self._own = threading.local()
        self._stop, self._loading = threading.Event(), threading.Lock()

    def count(self, status: str) -> int:
        return sum(entry.status == status for entry in self.entries)

    @property
    def skipped(self) -> int:
        """Pictures that an earlier run finished."""
        return sum(entry.again for entry in self.entries)

    def run(self) -> None:
        """All jobs. Stops early, with what is done complete, on Ctrl-C. Raises SetupError where no model can be had."""
        shelf, done = Shelf(self.out, self.jobs), dict[Job, Any]()
        with Meter(len(self.jobs), "loading the models") as self.meter, terminable():
            try:
                for job, entry in self._entries(shelf):
                    done[job] = entry
                    self.meter.done(None if entry.problem else _line(entry))
                    if self.interrupted:  # while it was written
                        break
            except KeyboardInterrupt:
                self.interrupted = True
        self.entries = [done[job] for job in self.jobs if job in done]

    def _entries(self, shelf: Shelf) -> Iterator[tuple[Job, Any]]:
        if self.workers == 1:  # in this thread: a person may be asked, an interrupt ends the work itself
            yield from ((job, self._entry(job, shelf)) for job in self.jobs)
            return
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // self.workers))
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = {pool.submit(self._entry, job, shelf): job for job in self.jobs}
            try:
                for future in as_completed(waiting):
                    yield waiting[future], future.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _entry(self, job: Job, shelf: Shelf) -> Any:
        def tell(stage: str) -> None:
            if self._stop.is_set():
                raise KeyboardInterrupt
            self.meter.tell(f"{printable(job.source.name)}: {stage}")

        try:
            held = shelf.finished(job, self.options.mode, self.worker.asked(self.models))
            entry = self.worker.entry(job, held, self, tell)
            entry.record = job.link
            return entry
        except SetupError:
            raise
        except Exception as error:
            problem = problem_of(job.source, error, self.options.with_traceback)
            complain(problem)
            return self.worker.failed(printable(job.source), problem.problem, problem.remedy)

    def own_models(self) -> Models:
        """Loaded; each thread has its own."""
        if not hasattr(self._own, "models"):
            models = self.models if self.workers == 1 else self.models.another()
            with self._loading:  # transformers cannot load two models at the same time
                models.load()
            self._own.models = models
        return self._own.models

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Ctrl-C and a kill wait until the block is through; then the batch ends."""

        def wait(number: int, frame: object) -> None:
            self.interrupted = True

        with _handler(signal.SIGINT, wait), _handler(signal.SIGTERM, wait):
            yield

    def write_report(self, problems: Sequence[PictureError] = ()) -> Path:
        """One page for all pictures, those that could not even be found last. Raises PictureError."""
        failed = [self.worker.failed(printable(e.file), e.problem, e.remedy) for e in problems]
        path = report_path(self.out, self.options.mode, {entry.key for entry in self.entries})
        write_text(path, self.worker.render([*self.entries, *failed], self.interrupted))
        return path


def problem_of(source: Path, error: Exception, with_traceback: bool = False) -> PictureError:
    """Any error as one that names the picture and says what to do."""
    if isinstance(error, PictureError):
        return error
    if isinstance(error, Error):  # of ours: what, and after a semicolon what to do
        what, _, remedy = str(error).partition("; ")
        return PictureError(source, what, remedy or "run it again")
    if with_traceback:
        err.print("".join(traceback.format_exception(error)), markup=False)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        remedy = str(error).removeprefix("out of memory: ") if isinstance(error, MemoryError) else ""
        remedy = remedy or "make it smaller, close other programs"
        return PictureError(source, "not enough memory to restore it", remedy)
    if isinstance(error, OSError):
        return os_problem(source, error)
    problem = f"unexpected {type(error).__name__}: {error}"
    return PictureError(source, problem, "run again with --traceback and report what it shows")


def _line(entry: Any) -> Text:
    """photo.jpg  haze 62 → 8, noise 40 → 3  2.1 s"""
    how_long = "done before" if entry.again else f"{entry.seconds:.1f} s"
    return Text.assemble((entry.name, "bold"), f"  {entry.headline}  ", (how_long, "dim"))


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """A polite kill (SIGTERM) ends the batch as Ctrl-C does."""
    with _handler(signal.SIGTERM, signal.default_int_handler):
        yield


@contextlib.contextmanager
def _handler(number: signal.Signals, handler: Callable[..., Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
