"""Work that a page asked for and waits for: run again, explain. One after the other, for both need the models."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from rnr.degradation.errors import Error

WAITING = 8  # jobs that may wait at the same time; a choice


@dataclass
class Job:
    """One piece of work, as the page asks about it."""

    stage: str = "waiting"
    error: str = ""
    result: Any = None
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    def tell(self, stage: str) -> None:
        self.stage = stage


class Jobs:
    """Runs them in a thread of its own."""

    def __init__(self) -> None:
        self.all: dict[str, Job] = {}
        self._pool = ThreadPoolExecutor(1, "view")
        self._lock = threading.Lock()

    def start(self, work: Callable[[Job], Any]) -> Job:
        """Begin `work`, whose answer becomes the job's result. Raises Error where too many wait."""
        job = Job()
        with self._lock:
            if sum(not (each.error or each.result) for each in self.all.values()) >= WAITING:
                raise Error(f"{WAITING} pictures wait already; try again when they are done")
            self.all[job.id] = job
        self._pool.submit(self._run, job, work)
        return job

    def _run(self, job: Job, work: Callable[[Job], Any]) -> None:
        try:
            job.result = work(job)
        except Exception as error:  # the page has to hear of every one
            job.error = f"{error}" if isinstance(error, Error | ValueError) else f"{type(error).__name__}: {error}"
