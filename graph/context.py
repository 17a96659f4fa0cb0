"""What a run is given: the two models, the store, the strategy and the budgets. Not part of the state."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from rnr.degradation.strength import FULL, checked
from rnr.graph.state import Draw, Strategy
from rnr.graph.store import Store, short_hash

STEPS = range(1, 33)
CANDIDATES = range(1, 9)
MORE_STEPS = 4  # of the restorer, for the candidates after the first
_locks: WeakKeyDictionary[object, threading.Lock] = WeakKeyDictionary()
_register, _guard = threading.Lock(), threading.Lock()


@dataclass
class Context:
    """`reasoner` and `restorer` are objects (`Reasoner`, `RestorePipeline` or what behaves like them) or names to load.

    `steps` bounds the restorations of a run, `seconds` the time in models (looked at between steps), `candidates` the
    restorations that compete in a step. `ask` puts each step before a person. `strength` (0..100, or by kind) is how
    far each step goes; a kind that is not to go all the way is treated once. Raises ValueError for what cannot be.
    """

    reasoner: Any = "built-in"
    restorer: Any = "built-in"
    store: Any = "pictures"  # a Store or its folder; Any, so that langgraph can say the schema of a context
    strategy: Strategy = "auto"
    steps: int = 6
    seconds: float = 600.0
    candidates: int = 1
    ask: bool = False
    seed: int = 0
    strength: float | dict[str, float] = FULL

    def __post_init__(self) -> None:
        checked(self.strength)
        if self.strategy not in ("auto", "one-pass", "stepwise"):
            raise ValueError(f"strategy must be auto, one-pass or stepwise, not {self.strategy!r}")
        for name, value, allowed in (("steps", self.steps, STEPS), ("candidates", self.candidates, CANDIDATES)):
            if value not in allowed:
                raise ValueError(f"{name} must lie in {allowed[0]}..{allowed[-1]}, not {value}")
        if not self.seconds > 0:
            raise ValueError(f"seconds must be more than 0, not {self.seconds:g}")
        if self.seed < 0:
            raise ValueError(f"the seed must be 0 or more, not {self.seed}")

    @property
    def pictures(self) -> Store:
        return self.store if isinstance(self.store, Store) else _store(str(self.store))

    @property
    def judge(self) -> Any:
        return _load("reasoner", self.reasoner) if isinstance(self.reasoner, str) else self.reasoner

    @property
    def pipeline(self) -> Any:
        return _load("restorer", self.restorer) if isinstance(self.restorer, str) else self.restorer

    @property
    def judge_id(self) -> str:
        """Names weights and prompt, so that a diagnosis in the store is known again."""
        judge = self.judge
        return short_hash("judge", judge.model_hash or judge.name, judge.prompt.name, judge.prompt.version)

    @property
    def restorer_id(self) -> str:
        identity = self.pipeline.identity
        return identity["model_hash"] or identity["model"]

    def draws(self) -> list[Draw]:
        """The restorer's own number of steps first (the built-in one's is nearest to the truth); then more steps, then
        more steps with other noise."""
        own = getattr(self.pipeline, "steps", 1)
        more = max(MORE_STEPS, own)
        draws = [Draw(steps=own, seed=self.seed, eta=0.0), Draw(steps=more, seed=self.seed + (more == own), eta=0.0)]
        draws += [Draw(steps=more, seed=self.seed + number, eta=1.0) for number in range(2, self.candidates)]
        return draws[: self.candidates]


def lock_of(model: Any) -> threading.Lock:
    """Models keep state while they run (a scheduler's times): one picture at a time in each."""
    with _register:
        return _locks.setdefault(model, threading.Lock())


def _load(what: str, name: str) -> Any:
    with _guard:  # transformers cannot load two models at the same time
        return _loaded(what, name)


@lru_cache(maxsize=4)
def _loaded(what: str, name: str) -> Any:
    if what == "reasoner":
        from rnr.reasoner import load_reasoner

        return load_reasoner(name)
    from rnr.restorer import load_restorer

    return load_restorer(name)


@lru_cache(maxsize=16)
def _store(folder: str) -> Store:
    return Store(folder)
