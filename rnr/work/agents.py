"""The agent behind the front door: one folder with its pictures, threads and trace, and one picture through it.

with Workplace(folder, AgentRequest(strategy="auto")) as workplace:
    run = workplace.run(models, picture, "photo")        # the same picture and settings: the same thread, gone on with
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.degradation._lazy import need
from rnr.degradation.errors import MissingExtra, SetupError
from rnr.degradation.files import printable
from rnr.degradation.strength import FULL, Strength
from rnr.work.instructing import STRENGTH, in_words, wish_of
from rnr.work.models import Models

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rnr.degradation.diagnosis import DiagnosisRecord
    from rnr.graph import Answer, Context, Question, Run, Store
    from rnr.graph.state import Look
    from rnr.images.files import Picture
    from rnr.reasoner.instructions import Wish

DATABASE, TRACE, STORE = "threads.sqlite", "trace.jsonl", "pictures"


@dataclass(frozen=True)
class AgentRequest:
    """How the agent is to work; see `graph.Context`."""

    strategy: str = "auto"
    max_restorations: int = 6
    seconds: float = 600.0
    candidates: int = 1
    seed: int = 0
    ask: bool = False
    strength: Strength = 100.0
    memory: bool = False
    instruct: str | None = None  # what is wanted, in words

    @property
    def asked(self) -> dict[str, Any]:
        """By which a run is known again, by its names in records; what came later only where it is set."""
        settings = asdict(self) | {"ask": None}
        settings["steps"] = settings.pop("max_restorations")
        for name, usual in (("strength", FULL), ("memory", False), ("instruct", None)):
            if settings[name] == usual:
                del settings[name]
        return settings

    @property
    def wish(self) -> Wish | None:
        """What the instruction asks for; None without one. Raises SetupError where it is not understood."""
        return None if self.instruct is None else wish_of(self.instruct, STRENGTH)

    @property
    def read(self) -> dict[str, Any]:
        """`wish`, for records: words, kinds and certainty; empty without an instruction."""
        return {"wish": self.wish.as_record(self.instruct or "")} if self.wish else {}

    @property
    def reading(self) -> str:
        """The same for people."""
        return f'"{self.instruct}" is read as: {in_words(self.wish)}' if self.wish else ""

    @property
    def settings(self) -> dict[str, Any]:
        """For `graph.Context`."""
        settings = asdict(self) | {"wish": self.wish}
        del settings["instruct"]
        return settings

    def check(self) -> AgentRequest:
        """Itself. Raises SetupError for a setting that cannot be, or a missing extra."""
        from rnr.graph import Context

        try:
            need("langgraph.graph", "agent"), need("langgraph.checkpoint.sqlite", "agent")
            Context(**self.settings)
        except (ValueError, MissingExtra) as error:
            raise SetupError(str(error)) from None
        return self


class Workplace:
    """Where the agent works: `pictures/` (the store), `threads.sqlite`, `trace.jsonl`. Threads may share one."""

    def __init__(self, folder: Path, request: AgentRequest) -> None:
        from rnr.graph import Store

        self.folder, self.request = folder, request
        try:
            self.store: Store = Store(folder / STORE)
        except OSError as error:
            raise SetupError(f"{folder}: cannot write here ({error.strerror}); choose another folder") from error
        self._stack, self._lock = contextlib.ExitStack(), threading.Lock()

    def __enter__(self) -> Workplace:
        import sqlite3

        from rnr.graph import build_graph, open_checkpoints

        path = self.folder / DATABASE
        try:
            self.agent = build_graph(self._stack.enter_context(open_checkpoints(path)))
        except sqlite3.Error as error:
            raise SetupError(f"{path}: cannot be used ({error}); move it away, finished pictures are kept") from error
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def run(
        self,
        models: Models,
        picture: Picture,
        name: str,
        answer: Callable[[Question], Answer | None] | None = None,
        on_event: Callable[[Mapping[str, Any]], None] = lambda event: None,
    ) -> Run:
        """Go as far as it goes. Raises ThreadError, or what the database says when it cannot be used."""
        from rnr.graph import run_agent

        ref = self.store.put(picture.pixels_HWC3)
        context = self.context(models)

        def hear(event: Mapping[str, Any]) -> None:
            self._trace(event)
            on_event(event)

        thread = self.thread(context, ref["sha256"], name)
        return run_agent(self.agent, context, thread, ref, answer=answer, on_event=hear)

    def context(self, models: Models) -> Context:
        from rnr.graph import Context

        return Context(models.reasoner, models.pipeline, self.store, **self.request.settings)

    def thread(self, context: Context, sha256: str, name: str) -> str:
        """The same picture, settings, models and state schema have the same id."""
        from rnr.degradation.files import short_hash
        from rnr.graph.state import SCHEMA_VERSION

        asked = self.request.asked | ({"schema": SCHEMA_VERSION} if SCHEMA_VERSION > 1 else {})
        return f"{printable(name)}-{short_hash(sha256, asked, context.judge_id, context.restorer_id)}"

    def held(self, thread: str) -> Run:
        """A thread as it stands. Raises ThreadError if there is none of this id."""
        from rnr.graph import run_of

        return run_of(self.agent, thread)

    def records(self, run: Run) -> tuple[DiagnosisRecord, DiagnosisRecord]:
        """Before and after."""
        from rnr.degradation.diagnosis import DiagnosisRecord

        if run.first is None or run.best is None:
            nothing = DiagnosisRecord(diagnosis=None, error=run.reason)
            return nothing, nothing
        return self.store.record(run.first), self.store.record(run.best)

    def result(self, run: Run) -> NDArray[np.float32]:
        """The best picture, float32 HWC3 in [0, 1]."""
        import numpy as np

        pixels = self.store.get(run.picture)
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)

    def _trace(self, event: Mapping[str, Any]) -> None:
        line = json.dumps(event, ensure_ascii=False) + "\n"
        full = contextlib.suppress(OSError)  # a full disk must not cost the run
        with self._lock, full, (self.folder / TRACE).open("a", encoding="utf-8") as file:
            file.write(line)


def story(run: Run) -> list[str]:
    """The run in sentences, a line per step."""
    lines = [f"found at first: {_seen(run.first)}"] if run.first else []
    for step in run.steps:
        proposal = step["proposal"]
        kinds = ", ".join(kind.replace("_", " ") for kind in proposal["kinds"])
        lines.append(f"step {proposal['number']}, {proposal['strategy']}: remove {kinds} ({proposal['why']}): "
                     f"{step['decision']}, {step['reason']}")  # fmt: skip
    if run.steps and run.best:
        lines.append(f"left in the best picture: {_seen(run.best)}")
    return [*lines, f"{run.status}: {run.reason}" if run.reason else run.status]


def _seen(look: Look) -> str:
    parts = [f"{kind.replace('_', ' ')} {look['severity'].get(kind, 0):.0f}" for kind in look["present"]]
    return ", ".join(parts) or "nothing"
