"""One picture, one thread: start it, or go on with it where it was; events go to a callback, questions to another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.types import Command

from rnr.degradation.files import short_hash
from rnr.graph.checkpoints import alone, database_errors
from rnr.graph.context import Context
from rnr.graph.events import Event
from rnr.graph.state import AgentInput, AgentState, Answer, Look, Question, Step, ThreadError, check_version
from rnr.graph.store import ImageRef

Ask = Callable[[Question], Answer | None]  # None: no answer now, the thread waits


@dataclass
class Run:
    """A thread as it stands.

    Attributes:
        thread: Its id.
        state: The graph's state.
        question: Not None where it waits for a person.

    Example:
        >>> Run("photo-1", {"status": "done", "reason": "nothing was found"}).status
        'done'
    """

    thread: str
    state: AgentState
    question: Question | None = None

    @property
    def status(self) -> str:
        return "waiting" if self.question else self.state.get("status", "cut off")

    @property
    def reason(self) -> str:
        return self.state.get("reason", "")

    @property
    def first(self) -> Look | None:
        return self.state.get("first")

    @property
    def best(self) -> Look | None:
        """None where not even the first diagnosis could be made: the picture is then as it came."""
        return self.state.get("best")

    @property
    def picture(self) -> ImageRef:
        """The result: the best picture so far."""
        return self.best["picture"] if self.best else self.state["picture"]  # type: ignore[return-value]

    @property
    def untouched(self) -> bool:
        """Whether the result is the picture as it came."""
        return self.picture["sha256"] == self.state["picture"]["sha256"]  # type: ignore[index]

    @property
    def steps(self) -> list[Step]:
        return self.state.get("steps", [])


def run_agent(
    agent: Any,
    context: Context,
    thread: str,
    picture: ImageRef,
    order: Sequence[str] = (),
    answer: Ask | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Run:
    """Run an agent on a picture of the store until it ends or needs an answer.

    A thread that is known goes on where it was; one that has ended is returned as it is, unless it failed or a picture
    of it is lost: then it is run again (finished work is in the store).

    Args:
        agent: Of `build_graph` with a checkpointer.
        context: Models, store and budget.
        thread: Its id, any words.
        picture: Of `context.pictures.put`.
        order: The kinds to remove in this order, if not as diagnosed.
        answer: Answers questions; None of it leaves the thread waiting.
        on_event: Is given each event, as it comes.

    Returns:
        The run; `best` is the picture to take.

    Raises:
        ThreadError: For a thread of another picture or release, or one that another caller is running on this store.

    Example:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from rnr.graph import Context, build_graph, open_checkpoints
        >>> context, pixels_HWC3 = Context(store="pictures"), np.asarray(Image.open("photo.jpg"))
        >>> with open_checkpoints("threads.sqlite") as saver:
        ...     run = run_agent(build_graph(saver), context, "photo-1", context.pictures.put(pixels_HWC3))
        >>> run.status
        'done'
    """
    problem = f"thread {thread!r} is at work in another process or thread"
    busy = ThreadError(f"{problem}; wait for it, then call again: a thread that has ended is returned")
    with alone(context.pictures.folder / f"{short_hash(thread)}.lock", busy):
        return _run(agent, context, thread, picture, order, answer, on_event)


def _run(
    agent: Any, context: Context, thread: str, picture: ImageRef, order: Sequence[str], answer: Ask | None,
    on_event: Callable[[Event], None],
) -> Run:  # fmt: skip
    held = _snapshot(agent, thread)
    if held is not None and held.state["picture"] != picture:
        raise ThreadError(f"thread {thread!r} belongs to another picture; use another thread id")
    begin = AgentInput(picture=picture, order=list(order))
    if held is None or held.status == "failed" or not _whole(held, context):
        known: AgentState = held.state if held else {**begin}  # type: ignore[index]
        return _drive(agent, context, Run(thread, known), begin, answer, on_event)
    if held.status in ("done", "stopped"):
        return held
    if held.question is None:
        return _drive(agent, context, held, None, answer, on_event)
    return _answered(agent, context, held, answer, on_event)


def _whole(run: Run, context: Context) -> bool:
    candidates = (candidate for step in run.steps for candidate in step["candidates"])
    return all(context.pictures.holds(candidate["picture"]) for candidate in candidates)


def run_of(agent: Any, thread: str) -> Run:
    """A thread as it stands.

    Args:
        agent: Of `build_graph` with a checkpointer.
        thread: Its id.

    Raises:
        ThreadError: For one that is not known.

    Example:
        >>> from rnr.graph import build_graph, open_checkpoints
        >>> with open_checkpoints("threads.sqlite") as saver:
        ...     run_of(build_graph(saver), "photo-1").status  # of the run above
        'done'
    """
    held = _snapshot(agent, thread)
    if held is None:
        raise ThreadError(f"there is no thread {thread!r} in this database; check the id, or start it with a picture")
    return held


def _drive(agent: Any, context: Context, run: Run, begin: Any, answer: Ask | None, on_event: Any) -> Run:
    try:
        stream = agent.stream(begin, _config(run.thread), context=context, stream_mode="custom", durability="sync")
        for event in stream:
            on_event({"thread": run.thread, **event})
        run = run_of(agent, run.thread)
    except database_errors() as error:  # the database itself: no node can write its end
        return _unwritten(agent, run, error)
    return _answered(agent, context, run, answer, on_event)


def _answered(agent: Any, context: Context, held: Run, answer: Ask | None, on_event: Any) -> Run:
    """Go on with what a person says, as long as there are questions and answers."""
    said = answer(held.question) if answer and held.question else None
    if said is None:
        return held
    return _drive(agent, context, held, Command(resume=said.model_dump()), answer, on_event)


def _unwritten(agent: Any, run: Run, error: Exception) -> Run:
    """What the database still tells of a thread that it could not take, or else what was known of it before."""
    with contextlib.suppress(*database_errors()):
        run = _snapshot(agent, run.thread) or run
    reason = f"the thread cannot be written ({error}); see that the database has room and can be reached; run it again"
    return Run(run.thread, {**run.state, "status": "failed", "reason": reason})


def _config(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}, "recursion_limit": 500}


def _snapshot(agent: Any, thread: str) -> Run | None:
    snapshot = agent.get_state(_config(thread))
    if not snapshot.values:
        return None
    state: AgentState = snapshot.values
    check_version(state)
    asked = [interrupt.value for interrupt in snapshot.interrupts]
    return Run(thread, state, asked[0] if asked else None)
