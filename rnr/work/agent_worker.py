"""`rnr agent`: each picture of a batch its own thread of the workflow; one that was cut off goes on when called again.

OUT gets NAME.ext and NAME.diagnosis.json as `rnr restore` writes them, report.html, and agent/ (pictures, threads,
trace).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.graph.checkpoints import alone
from rnr.images.files import Picture, PictureError, read_picture, write_picture
from rnr.images.frames import copy_picture
from rnr.report.agent import AgentEntry, render
from rnr.work.agents import Workplace, story
from rnr.work.console import complain, remark_frames
from rnr.work.models import Models, versions
from rnr.work.outputs import Job, record_beside, source_of
from rnr.work.scoring import with_quality

if TYPE_CHECKING:
    from rnr.work.batch import Batch, Tell

HOME = "agent"  # in the output folder


def alone_in(out: Path) -> contextlib.AbstractContextManager[None]:
    """One batch at a time in an output folder. Entering raises SetupError."""
    (out / HOME).mkdir(exist_ok=True)
    problem = "another `rnr agent` is at work in this folder; wait for it, or choose another output folder"
    return alone(out / HOME / "batch.lock", SetupError(f"{printable(out)}: {problem}"))


@dataclass(frozen=True)
class AgentWorker:
    """Takes each picture of a batch through the agent, in an open workplace; `answer` is asked before each step."""

    workplace: Workplace
    answer: Callable[[Any], Any] | None = None

    def asked(self, models: Models) -> dict[str, Any]:
        """What a result is known by. Asking is no setting: the answers are in the thread."""
        request = self.workplace.request
        usual = {"steps": 1, "budget": request.max_restorations, "only": [], "diagnosis": None}
        return {**request.asked, **models.asked, **usual}

    def entry(self, job: Job, held: dict[str, Any] | None, batch: Batch, tell: Tell) -> AgentEntry:
        done = held is not None and held.get("agent", {}).get("status") in ("done", "stopped")
        picture = read_picture(job.source, batch.options.max_megapixels)
        remark_frames(job.source.name, picture.note)

        def ask(question: Any) -> Any:
            with batch.meter.paused():
                return self.answer(question) if self.answer else None

        models, on_event = batch.own_models(), lambda event: tell(_words(event))
        run = self.workplace.run(models, picture, job.name, ask if self.answer else None, on_event)
        if run.status == "failed":
            complain(PictureError(job.source, run.reason, "the best picture so far is kept; run it again to go on"))
        replace = held is not None or batch.options.mode == "overwrite"
        output = held["output"] if held and done else self._write(job, picture, run, replace, batch)
        place, source = self.workplace, printable(job.source)
        entry = AgentEntry.of(source, picture, place.store, run, output, place.request.reading)
        entry.again = done
        return entry

    def _write(self, job: Job, picture: Picture, run: Any, replace: bool, batch: Batch) -> str:
        """Picture and record; the name of the picture."""
        target = job.picture(batch.out, picture, copied=run.untouched)
        data = self._data(job, picture, run, target, batch.own_models())
        with batch.uninterrupted(), record_beside(job.record(batch.out), data):
            if run.untouched:
                copy_picture(job.source, target, replace)
            else:
                write_picture(picture, self.workplace.result(run), target, replace)
        return data["output"]

    def _data(self, job: Job, picture: Picture, run: Any, target: Path, models: Models) -> dict[str, Any]:
        before, after = self.workplace.records(run)
        before = with_quality(models, before, picture.pixels_HWC3)
        after = before if run.untouched else with_quality(models, after, self.workplace.result(run))
        return {
            "source": source_of(job.source),
            "output": printable(target.name),
            "untouched": run.untouched,
            "before": before.model_dump(mode="json"),
            "after": after.model_dump(mode="json"),
            "agent": {"thread": run.thread, "status": run.status, "reason": run.reason, "steps": run.steps,
                      "spent": run.state.get("spent", 0.0), "story": story(run),
                      **self.workplace.request.read},
            "request": self.asked(models),
            "versions": versions(),
        }  # fmt: skip

    def failed(self, source: str, problem: str, remedy: str) -> AgentEntry:
        return AgentEntry(source, "failed", problem=problem, remedy=remedy)

    def render(self, entries: Sequence[AgentEntry], interrupted: bool) -> str:
        return render(entries, interrupted)


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
