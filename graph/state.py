"""What a run carries from node to node: plain data and references to pictures, so that any checkpointer can keep it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict  # Python 3.11's cannot be made into a JSON schema

from rnr.degradation.errors import Error
from rnr.graph.store import ImageRef

SCHEMA_VERSION = 1  # of the state; a change of its fields is a new version

Strategy = Literal["auto", "one-pass", "stepwise"]
Status = Literal["done", "stopped", "failed"]


class ThreadError(Error, ValueError):
    """A thread that cannot be gone on with: unknown, of another picture, or written by another release.

    Example:
        >>> issubclass(ThreadError, ValueError)
        True
    """


class ContextError(Error, ValueError):
    """A run of the graph that was started without its context."""


class Look(TypedDict):
    """A picture and what the judge sees in it."""

    picture: ImageRef
    record: str  # the note in the store that holds the whole DiagnosisRecord
    severity: dict[str, float]  # expected severity 0-100 by kind; a kind that could not be scored is missing
    present: list[str]
    plan: list[str]
    given: bool  # the diagnosis comes from a person


class Draw(TypedDict):
    """How a candidate is restored."""

    steps: int
    seed: int
    eta: float
    dose: NotRequired[float]  # percent of each leg; all the way where an older thread holds none


class Candidate(TypedDict):
    """One restoration; `look`, `change`, `accepted` and `reason` are the judge's."""

    number: int
    draw: Draw
    picture: ImageRef
    seconds: float
    look: NotRequired[Look]
    change: NotRequired[dict[str, float]]  # the fields of `judge.Change`; older threads hold `fidelity` instead
    accepted: NotRequired[bool]
    reason: NotRequired[str]


class Proposal(TypedDict):
    """The next step. `kinds` are what it is to remove."""

    number: int  # from 1
    strategy: Strategy
    kinds: list[str]
    why: str
    dose: NotRequired[float]  # a remembered one, to be tried first


class Step(TypedDict):
    """A step that was made, or that a person rejected (no candidates then)."""

    proposal: Proposal
    start: Look
    candidates: list[Candidate]
    chosen: int | None  # index of the accepted candidate
    decision: Literal["accepted", "rolled back", "rejected"]
    reason: str


def gather(held: list[Candidate], new: list[Candidate] | None) -> list[Candidate]:
    """Candidates of one step come in side by side; None clears the table."""
    return [] if new is None else [*held, *new]


class AgentInput(TypedDict):
    """What a run begins with.

    Attributes:
        picture: What `Store.put` gave, or a path.
        order: The kinds to remove in this order, if not as diagnosed.

    Example:
        >>> AgentInput(picture="photo.jpg", order=["noise", "haze"])["order"]
        ['noise', 'haze']
    """

    picture: ImageRef | str
    order: NotRequired[list[str]]


class AgentState(TypedDict, total=False):
    """The whole state: plain data, which any checkpointer can keep.

    Attributes:
        schema_version: Of these fields.
        picture: As in `AgentInput`.
        order: As in `AgentInput`; empty as diagnosed.
        first: The picture that came in, and its severities 0-100 by kind.
        best: What the run returns, whatever happens.
        proposal: The next step; None before it is planned.
        problem: What was wrong with the last answer to a question; empty: nothing.
        candidates: Restorations of the step that is being tried.
        steps: What was tried, with what was decided and why.
        spent: Seconds in models.
        status: done, stopped or failed; missing while it runs.
        reason: Why it ended, in words.

    Example:
        >>> state: AgentState = {"picture": "photo.jpg", "order": [], "steps": []}
        >>> state.get("status") is None  # still running
        True
    """

    schema_version: int
    picture: ImageRef | str
    order: list[str]
    first: Look  # of the picture that came in
    best: Look
    proposal: Proposal | None
    problem: str  # what was wrong with the last answer
    candidates: Annotated[list[Candidate], gather]
    steps: list[Step]
    spent: float  # seconds in models
    status: Status
    reason: str


class Question(TypedDict):
    """What a person is asked; the answer is an `Answer`.

    Attributes:
        proposal: What the step would do.
        diagnosis: Of the picture, as JSON.
        picture: The picture in the store.
        problem: Empty, or what was wrong with the answer before.

    Example:
        >>> def answer(question: Question) -> Answer:  # for `rnr.agent(..., answer=answer)`
        ...     return Answer(action="stop" if "haze" in question["proposal"]["kinds"] else "approve")
    """

    proposal: Proposal
    diagnosis: dict[str, Any]
    picture: ImageRef
    problem: str  # empty, or what was wrong with the answer before


class Answer(BaseModel):
    """What a person answers to a `Question`.

    Attributes:
        action: approve; edit (then with a diagnosis, a plan or both); reject this step; stop with the best picture.
        diagnosis: In place of the one that was asked about, as JSON.
        plan: Kinds, in the order in which they are to be removed.

    Example:
        >>> Answer(action="edit", plan=["noise"]).plan
        ['noise']
    """

    model_config = ConfigDict(extra="forbid")
    action: Literal["approve", "edit", "reject", "stop"]
    diagnosis: dict[str, Any] | None = None
    plan: list[str] | None = None


def check_version(state: AgentState) -> None:
    """Raises ThreadError for a state of another release."""
    version = state.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise ThreadError(
            f"the thread was written with state schema {version}, this release reads {SCHEMA_VERSION}: "
            "run the picture again under a new thread id"
        )
