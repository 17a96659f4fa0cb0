"""`rnr.agent`: the agent on one picture, from Python."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnr.api import Result
from rnr.degradation.loading import BUILT_IN
from rnr.images.files import MAX_MEGAPIXELS
from rnr.images.inputs import name_of, picture_of
from rnr.work.agents import AgentRequest, Workplace, story
from rnr.work.models import shared_models

if TYPE_CHECKING:
    from rnr.degradation.strength import Strength
    from rnr.graph import Answer, Question, Run


@dataclass(repr=False)
class AgentResult(Result):
    r"""A Result with its run.

    Attributes:
        run: The thread as it stands; `run.steps` is what was tried.
        story: What was done, in sentences.

    `agent` has an example.
    """

    run: Run

    @property
    def story(self) -> list[str]:
        return story(self.run)


def agent(
    picture: object,
    folder: str | Path | None = None,
    *,
    strategy: str = "auto",
    max_restorations: int = 6,
    seconds: float = 600.0,
    candidates: int = 1,
    seed: int = 0,
    strength: Strength = 100.0,
    memory: bool = False,
    instruct: str | None = None,
    answer: Callable[[Question], Answer | None] | None = None,
    on_event: Callable[[Any], None] = lambda event: None,
    reasoner: str = BUILT_IN,
    restorer: str = BUILT_IN,
    device: str = "auto",
    max_megapixels: float = MAX_MEGAPIXELS,
) -> AgentResult:
    """Diagnose, plan, restore, check and roll back, until nothing is left or a budget is used up.

    Args:
        picture: As in `diagnose`, one.
        folder: Keeps pictures, threads and trace: called again with the same picture and settings, a run that was cut
            off goes on. Without it nothing is kept.
        strategy: one-pass, stepwise, or auto (one pass, then what it left).
        max_restorations: Restorations at most.
        seconds: In the models, looked at between steps.
        candidates: Restorations that compete in each step.
        seed: Same seed, same result.
        strength: As in `restore`: each step goes so far, and a kind that was not to go all the way is treated once.
        memory: Begin with doses that were kept on earlier pictures of the folder.
        instruct: As in `restore`: the kinds that steps may remove, in words.
        answer: Is asked before each step (a `rnr.graph.Question`) and gives a `rnr.graph.Answer`; None stops there.
        on_event: Is given each event of the run, as they come.
        reasoner: As in `restore`.
        restorer: As in `restore`.
        device: auto, cpu, cuda, ...
        max_megapixels: Refuse larger pictures.

    Returns:
        A result with its run. One that failed on the way has `run.status` "failed" and holds the best picture so far.

    Raises:
        PictureError: As in `restore`.
        SetupError: As in `restore`.
        TypeError: As in `restore`.

    Example:
        >>> import rnr
        >>> result = rnr.agent("photo.jpg", max_restorations=1)
        >>> [step["decision"] for step in result.run.steps]
        ['accepted']
    """
    source, models = picture_of(picture, max_megapixels), shared_models(reasoner, restorer, device)
    asks = answer is not None
    request = AgentRequest(
        strategy, max_restorations, seconds, candidates, seed, asks, strength, memory, instruct
    ).check()
    with contextlib.ExitStack() as stack:
        home = Path(folder or stack.enter_context(tempfile.TemporaryDirectory()))
        workplace = stack.enter_context(Workplace(home, request))
        run = workplace.run(models, source, Path(name_of(picture)).stem, answer, on_event)
        same = run.untouched
        pixels = source.pixels_HWC3 if same else source.rounded(workplace.result(run))
        settings = {"strategy": strategy, "steps": len(run.steps), "seed": seed, "thread": run.thread, **request.read}
        return AgentResult(pixels, source, workplace.records(run), same, settings, run.state.get("spent", 0.0), run)
