"""What a run is given: the two models, the store, the strategy and the budgets. Not part of the state."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from rnr.degradation.files import short_hash
from rnr.degradation.kind import kind_named
from rnr.degradation.loading import one_at_a_time
from rnr.degradation.protocols import Diagnoser, Restorer
from rnr.degradation.strength import FULL, checked
from rnr.graph.state import Draw, Strategy
from rnr.graph.store import Store
from rnr.reasoner.instructions.phrasings import Wish
from rnr.reasoner.loading import load as load_reasoner
from rnr.restorer.loading import load as load_restorer

Model = TypeVar("Model")

RESTORATIONS = range(1, 33)
CANDIDATES = range(1, 9)
DOSES = (FULL, 70.0, 40.0)  # percent of each leg; a choice
MORE_STEPS = 4  # of the restorer, for the candidates after the first
_locks: WeakKeyDictionary[object, threading.Lock] = WeakKeyDictionary()
_register = threading.Lock()


@dataclass
class Context:
    """What a run of the agent goes by.

    Attributes:
        reasoner: A `Diagnoser`, or a name that `rnr.reasoner.load` takes.
        restorer: A `Restorer`, or a name that `rnr.restorer.load` takes.
        store: A `Store`, or its folder.
        strategy: one-pass, stepwise, or auto (one pass, then stepwise where damage is left that a second step helps).
        max_restorations: Of a run, 1 to 32.
        seconds: In models, looked at between steps; more than 0.
        candidates: Restorations that compete in a step (`draws`), 1 to 8.
        ask: Put each step before a person.
        seed: Same seed, same result.
        strength: How far each step goes, 0-100, or by kind; a kind that is not to go all the way is treated once.
        memory: Begin with the dose that was kept on pictures of the store with such a diagnosis, and remember this
            run's (`rnr.graph.memory`).
        wish: The kinds that may be removed; None: all that is found. `rnr.work.instructing.wish_of` reads one in words.

    Raises:
        ValueError: For what cannot be.

    Example:
        >>> Context(strategy="stepwise", max_restorations=4).candidates
        1
        >>> Context(candidates=9)
        Traceback (most recent call last):
        ValueError: candidates must lie in 1..8, not 9
    """

    # Any, so that langgraph can say the schema of a context: Diagnoser | str, Restorer | str, a Store or its folder
    reasoner: Any = "built-in"
    restorer: Any = "built-in"
    store: Any = "pictures"
    strategy: Strategy = "auto"
    max_restorations: int = 6
    seconds: float = 600.0
    candidates: int = 1
    ask: bool = False
    seed: int = 0
    strength: float | dict[str, float] = FULL
    memory: bool = False
    wish: Wish | None = None

    def __post_init__(self) -> None:
        checked(self.strength)
        list(map(kind_named, self.wish.remove if self.wish else ()))
        if self.strategy not in ("auto", "one-pass", "stepwise"):
            raise ValueError(f"strategy must be auto, one-pass or stepwise, not {self.strategy!r}")
        for name, allowed in (("max_restorations", RESTORATIONS), ("candidates", CANDIDATES)):
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"{name} must lie in {allowed[0]}..{allowed[-1]}, not {value}")
        if not self.seconds > 0:
            raise ValueError(f"seconds must be more than 0, not {self.seconds:g}")
        if self.seed < 0:
            raise ValueError(f"the seed must be 0 or more, not {self.seed}")

    @property
    def pictures(self) -> Store:
        return self.store if isinstance(self.store, Store) else _store(str(self.store))

    @property
    def judge(self) -> Diagnoser:
        return _loaded(load_reasoner, self.reasoner) if isinstance(self.reasoner, str) else self.reasoner

    @property
    def pipeline(self) -> Restorer:
        return _loaded(load_restorer, self.restorer) if isinstance(self.restorer, str) else self.restorer

    @property
    def judge_id(self) -> str:
        """Names weights and prompt, so that a diagnosis in the store is known again."""
        identity = self.judge.identity
        weights = identity["model_hash"] or identity["model"]
        return short_hash("judge", weights, identity["prompt"], identity["prompt_version"])

    @property
    def restorer_id(self) -> str:
        """Names weights and what they compute in, so that a step of another dtype is not taken for this one's."""
        identity = self.pipeline.identity
        weights = identity["model_hash"] or identity["model"]
        return f"{weights} {identity['dtype']}" if "dtype" in identity else weights

    def draws(self, first: float | None = None) -> list[Draw]:
        """How the candidates of a step are made.

        A restorer of one step has nothing to draw: its candidates go less far, by DOSES, and only then take more steps
        with noise. Of another one they take its own number of steps with other seeds and noise.

        Args:
            first: A dose to try first, percent of each leg.
        """
        own = self.pipeline.steps
        more = max(MORE_STEPS, own)
        doses = list(dict.fromkeys([first or FULL, *(DOSES if own == 1 else [FULL])]))
        draws = [Draw(steps=own, seed=self.seed, eta=0.0, dose=dose) for dose in doses]
        draws.append(Draw(steps=more, seed=self.seed + (more == own), eta=0.0, dose=FULL))
        draws += [Draw(steps=more, seed=self.seed + number, eta=1.0, dose=FULL) for number in range(2, self.candidates)]
        return draws[: self.candidates]


def lock_of(model: object) -> threading.Lock:
    """Models keep state while they run (a scheduler's times): one picture at a time in each."""
    with _register:
        return _locks.setdefault(model, threading.Lock())


def _loaded(load: Callable[[str], Model], name: str) -> Model:
    with one_at_a_time:  # threads that ask for the same one share it
        return _cached(load, name)


@lru_cache(maxsize=4)
def _cached(load: Callable[[str], Any], name: str) -> Any:
    return load(name)


@lru_cache(maxsize=16)
def _store(folder: str) -> Store:
    return Store(folder)
