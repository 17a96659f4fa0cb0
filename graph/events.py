"""What the nodes tell while they work (langgraph's `custom` stream mode): plain data, one type for each event."""

from __future__ import annotations

import time
from typing import Literal, NotRequired

from langgraph.config import get_config
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from rnr.graph.context import Context
from rnr.graph.state import Draw, Proposal, Status


class _Event(TypedDict):
    """Of every event; `tell` and `run_agent` put them in."""

    node: NotRequired[str]
    time: NotRequired[float]  # seconds since 1970
    thread: NotRequired[str]


class Diagnosed(_Event):
    """The judge's look at a picture; where it was made before, `seconds` and `passes` are of then."""

    event: Literal["diagnosed"]
    picture: str  # sha256, here and below
    severity: dict[str, float]
    passes: int
    seconds: float
    model: str
    model_hash: str
    prompt: str
    prompt_version: str


class Planned(_Event, Proposal):
    """The next step."""

    event: Literal["planned"]


class Answered(_Event):
    """What a person said of step `number`."""

    event: Literal["answered"]
    number: int
    action: Literal["approve", "edit", "reject", "stop"]


class Restoring(_Event, Draw):
    """Candidate `number` of a step is begun."""

    event: Literal["restoring"]
    number: int
    kinds: list[str]
    model: str


class Restored(_Event):
    """Candidate `number` is there; where it was made before, `seconds` are of then."""

    event: Literal["restored"]
    number: int
    picture: str
    seconds: float


class Judged(_Event):
    """What candidate `number` is worth."""

    event: Literal["judged"]
    number: int
    picture: str
    change: dict[str, float]  # the fields of `judge.Change`
    accepted: bool
    reason: str


class Decided(_Event):
    """Step `number` is kept or rolled back; `severity` is the best picture's."""

    event: Literal["decided"]
    number: int
    decision: Literal["accepted", "rolled back", "rejected"]
    reason: str
    severity: dict[str, float]


class Failed(_Event):
    """A node failed for good; the run goes to its end."""

    event: Literal["failed"]
    reason: str


class Finished(_Event):
    """The end; `picture` is the best one, None where not even the first look could be made."""

    event: Literal["finished"]
    status: Status
    reason: str
    picture: str | None


Event = Diagnosed | Planned | Answered | Restoring | Restored | Judged | Decided | Failed | Finished


def tell(runtime: Runtime[Context], event: Event) -> None:
    """Put an event on the `custom` stream."""
    runtime.stream_writer({**event, "node": get_config()["metadata"]["langgraph_node"], "time": time.time()})
