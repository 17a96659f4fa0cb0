"""What a run is given: the two models, the store, the strategy and the budgets. Not part of the state."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from rnr.degradation.loading import one_at_a_time
from rnr.degradation.protocols import Diagnoser, Restorer
from rnr.degradation.strength import FULL, checked
from rnr.graph.state import Draw, Strategy
from rnr.graph.store import Store, short_hash
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
    """`reasoner` and `restorer` are objects (a `Diagnoser`, a `Restorer`) or the names that `rnr.reasoner.load` and
    `rnr.restorer.load` take.

    `max_restorations` and `seconds` (in models, looked at between steps) bound a run, `candidates` is how many
    restorations compete in a step (`draws`). `ask` puts each step before a person. `strength` (0..100, or by kind) is
    how far each step goes; a kind that is not to go all the way is treated once. `memory`: begin with the dose that was
    kept on pictures of the store with such a diagnosis, and remember this run's (`rnr.graph.memory`). Raises ValueError
    for what cannot be.
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

    def __post_init__(self) -> None:
        checked(self.strength)
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
        identity = self.pipeline.identity
        return identity["model_hash"] or identity["model"]

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
