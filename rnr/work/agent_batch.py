"""`rnr agent`: many pictures, each its own thread; a batch that was cut off goes on when it is called again.

OUT gets NAME.ext and NAME.diagnosis.json as `rnr restore` writes them, report.html, and agent/ (pictures, threads,
trace). Workers are threads with models of their own.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.text import Text

from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.graph import StoreError, ThreadError
from rnr.graph.checkpoints import alone
from rnr.images.files import Picture, PictureError, read_picture, write_picture
from rnr.images.frames import copy_picture
from rnr.report.agent import AgentEntry, render
from rnr.work.agents import AgentRequest, Workplace, story
from rnr.work.batch import Options, problem_of, terminable, uninterrupted
from rnr.work.console import Meter, complain, remark_frames
from rnr.work.models import Models, versions
from rnr.work.outputs import Job, Shelf, record_beside, report_path, source_of, write_text

HOME = "agent"  # in the output folder


def alone_in(out: Path) -> contextlib.AbstractContextManager[None]:
    """One batch at a time in an output folder. Entering raises SetupError."""
    (out / HOME).mkdir(exist_ok=True)
    problem = "another `rnr agent` is at work in this folder; wait for it, or choose another output folder"
    return alone(out / HOME / "batch.lock", SetupError(f"{printable(out)}: {problem}"))


@dataclass
class AgentBatch:
    """The work and what came of it. `run` fills `entries`, in the order of the jobs."""

    jobs: Sequence[Job]
    out: Path
    models: Models
    request: AgentRequest
    options: Options
    workers: int = 1
    answer: Callable[[Any], Any] | None = None
    entries: list[AgentEntry] = field(default_factory=list)
    interrupted: bool = False
    skipped: int = 0

    def __post_init__(self) -> None:
        self._own = threading.local()
        self._stop, self._loading = threading.Event(), threading.Lock()

    def count(self, status: str) -> int:
        return sum(entry.status == status for entry in self.entries)

    def run(self) -> None:
        """All jobs. Ctrl-C ends it between two steps. Raises SetupError where no model or database can be had."""
        shelf, done = Shelf(self.out, self.jobs), dict[Job, AgentEntry]()
        with (
            Meter(len(self.jobs), "loading the models") as meter,
            Workplace(self.out / HOME, self.request) as workplace,
            terminable(),
        ):
            self.models.load()
            self._share_threads()
            try:
                for job, entry in self._entries(shelf, workplace, meter):
                    done[job] = entry
                    meter.done(_line(entry) if entry.run else None)
            except KeyboardInterrupt:
                self.interrupted = True
        self.entries = [done[job] for job in self.jobs if job in done]

    def _share_threads(self) -> None:
        if self.workers > 1:
            import torch

            torch.set_num_threads(max(1, torch.get_num_threads() // self.workers))

    def _entries(self, shelf: Shelf, workplace: Workplace, meter: Meter) -> Iterator[tuple[Job, AgentEntry]]:
        if self.workers == 1:  # in this thread: a person may be asked
            yield from ((job, self._entry(job, shelf, workplace, meter)) for job in self.jobs)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = {pool.submit(self._entry, job, shelf, workplace, meter): job for job in self.jobs}
            try:
                for future in as_completed(waiting):
                    yield waiting[future], future.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _entry(self, job: Job, shelf: Shelf, workplace: Workplace, meter: Meter) -> AgentEntry:
        try:
            return self._through(job, shelf, workplace, meter)
        except SetupError:
            raise
        except (StoreError, ThreadError) as error:  # these say themselves what to do
            what, _, remedy = str(error).partition("; ")
            problem = PictureError(job.source, what, remedy or "run it again")
        except Exception as error:
            problem = problem_of(job.source, error, self.options.with_traceback)
        complain(problem)
        return AgentEntry(printable(job.source), "failed", problem=problem.problem, remedy=problem.remedy)

    def _through(self, job: Job, shelf: Shelf, workplace: Workplace, meter: Meter) -> AgentEntry:
        held = shelf.finished(job, self.options.mode, self._asked())
        done = held is not None and held.get("agent", {}).get("status") in ("done", "stopped")
        self.skipped += done
        picture = read_picture(job.source, self.options.max_megapixels)
        remark_frames(job.source.name, picture.note)

        def tell(event: Mapping[str, Any]) -> None:
            if self._stop.is_set():
                raise KeyboardInterrupt
            meter.tell(f"{printable(job.source.name)}: {_words(event)}")

        def answer(question: Any) -> Any:
            with meter.paused():
                return self.answer(question) if self.answer else None

        run = workplace.run(self._models(), picture, job.name, answer if self.answer else None, tell)
        if run.status == "failed":
            complain(PictureError(job.source, run.reason, "the best picture so far is kept; run it again to go on"))
        replace = held is not None or self.options.mode == "overwrite"
        output = held["output"] if held and done else self._write(job, picture, workplace, run, replace)
        return AgentEntry.of(printable(job.source), picture, workplace.store, run, output)

    def _models(self) -> Models:
        """Each worker's own."""
        if self.workers == 1:
            return self.models
        if not hasattr(self._own, "models"):
            with self._loading:  # transformers cannot load two models at the same time
                self._own.models = Models(*self.models.names, self.models.device_wanted)
                self._own.models.load()
        return self._own.models

    def _asked(self) -> dict[str, Any]:
        """What a result is known by. Asking is no setting: the answers are in the thread."""
        names = dict(zip(("reasoner", "restorer"), self.models.names))
        asked = {**self.request.asked, **names, "steps": 1, "budget": self.request.steps}
        return {**asked, "only": [], "diagnosis": None}

    def _write(self, job: Job, picture: Picture, workplace: Workplace, run: Any, replace: bool) -> str:
        """Picture and record; the name of the picture."""
        same, interrupts = run.untouched, list[bool]()
        target = job.picture(self.out, picture, copied=same)
        whole = uninterrupted(lambda: interrupts.append(True))
        with whole, record_beside(job.record(self.out), self._data(job, picture, workplace, run, target)):
            if same:
                copy_picture(job.source, target, replace)
            else:
                write_picture(picture, workplace.result(run), target, replace)
        if interrupts:
            raise KeyboardInterrupt
        return printable(target.name)

    def _data(self, job: Job, picture: Picture, workplace: Workplace, run: Any, target: Path) -> dict[str, Any]:
        before, after = workplace.records(run)
        return {
            "source": source_of(job.source),
            "output": printable(target.name),
            "untouched": run.untouched,
            "before": before.model_dump(mode="json"),
            "after": after.model_dump(mode="json"),
            "agent": {"thread": run.thread, "status": run.status, "reason": run.reason, "steps": run.steps,
                      "spent": run.state.get("spent", 0.0), "story": story(run)},
            "request": self._asked(),
            "versions": versions(),
        }  # fmt: skip

    def write_report(self, problems: Sequence[PictureError] = ()) -> Path:
        """One page for all pictures. Raises PictureError."""
        failed = [AgentEntry(printable(e.file), "failed", problem=e.problem, remedy=e.remedy) for e in problems]
        path = report_path(self.out, self.options.mode, {entry.key for entry in self.entries})
        write_text(path, render([*self.entries, *failed], self.interrupted))
        return path


def _words(event: Mapping[str, Any]) -> str:
    kinds = ", ".join(kind.replace("_", " ") for kind in event.get("kinds", ()))
    return {
        "diagnosed": "looking",
        "planned": f"step {event.get('number')}: {kinds}",
        "answered": f"answered: {event.get('action')}",
        "restoring": f"removing {kinds}",
        "judged": f"judged: {event.get('reason')}",
        "decided": f"step {event.get('number')} {event.get('decision')}",
    }.get(str(event["event"]), str(event["event"]))


def _line(entry: AgentEntry) -> Text:
    return Text.assemble((entry.name, "bold"), f"  {entry.headline}  ", (f"{entry.spent:.1f} s", "dim"))
