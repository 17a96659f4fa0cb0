"""The worker processes seen from the front (asyncio): places, deadlines, cancellation, replacement.

    async with Pool(Settings(workers=2)) as pool:
        with pool.place():                                  # raises busy (429) where all are taken
            answer = await pool.run(Diagnose(), data)       # raises ServiceError; cancelled, it cancels the work

A worker whose task was cancelled is free at once (worker.py); one that does not answer within GRACE is killed. One
that has died, by whatever cause, is replaced, and only the request that it worked on hears of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnr.degradation.errors import SetupError
from rnr.serve import wire
from rnr.serve.errors import busy, timed_out, worker_lost
from rnr.serve.settings import Settings
from rnr.serve.wire import Message
from rnr.serve.work import Task
from rnr.serve.worker import error_of

GRACE = 10.0  # seconds to answer a cancellation; a choice: encoding 25 MP of 16-bit PNG takes about 5 s on one core
LAST = 30.0  # seconds at most between two tries to start a worker
BUFFER = 1 << 20  # bytes of a pipe that are read at once
OnEvent = Callable[[dict[str, Any]], None]
log = logging.getLogger("rnr.serve")


@dataclass
class Tally:
    """What has happened so far; the metrics read it."""

    restarts: int = 0
    cancelled: int = 0
    timed_out: int = 0
    refused_busy: int = 0
    mean_seconds: float = 1.0  # of a task in a worker: moving average, for Retry-After


@dataclass
class Worker:
    """One process. It works for one request at a time: `job` is its number, 0 while it has none."""

    process: asyncio.subprocess.Process
    scratch: Path
    job: int = 0
    inbox: asyncio.Queue[Message | None] = field(default_factory=asyncio.Queue)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def start(cls, settings: Settings, scratch: Path) -> Worker:
        """Waits until the models are loaded. Raises SetupError where they cannot be, EOFError where it died."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rnr.serve.worker", stdin=pipe, stdout=pipe, stderr=pipe, limit=BUFFER,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
        worker = cls(process, scratch)
        worker.tasks = [asyncio.create_task(worker._read()), asyncio.create_task(worker._overhear())]
        try:
            await worker._send(Message({"settings": settings.as_plain(), "scratch": str(scratch)}))
            first = await worker._next()
        except BaseException:
            await worker.end()
            raise
        if "broken" in first.head:
            raise SetupError(first.head["broken"])
        log.info("worker ready", extra={"pid": process.pid, **first.head["ready"]})
        return worker

    async def do(self, number: int, task: Task, data: bytes, on_event: OnEvent) -> Message:
        """Raises ServiceError. Cancelled, it leaves `job` set: see `reclaim`."""
        self.job = number
        await self._send(Message({"id": number, "task": task.model_dump()}, [data]))
        while "event" in (message := await self._next()).head:
            on_event(message.head["event"])
        self.job = 0
        if "error" in message.head:
            if message.head["trace"]:
                log.error("task failed", extra={"pid": self.process.pid, "trace": message.head["trace"]})
            raise error_of(message.head)
        return Message(message.head["done"], message.blobs)

    async def reclaim(self) -> None:
        """Cancel what it does and wait until it is free; kill it where it does not answer."""
        try:
            async with asyncio.timeout(GRACE):
                await self._send(Message({"cancel": self.job}))
                while "event" in (await self._next()).head:
                    pass
            self.job = 0
        except (TimeoutError, EOFError):
            log.warning("worker killed", extra={"pid": self.process.pid, "reason": "did not answer a cancellation"})
            self.kill()

    async def _send(self, message: Message) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(message.packed())
            await self.process.stdin.drain()
        except (ConnectionError, RuntimeError) as error:
            raise EOFError from error

    async def _next(self) -> Message:
        message = await self.inbox.get()
        if message is None:
            raise EOFError("the worker has ended")
        return message

    async def _read(self) -> None:
        """All messages, in a task of its own: to cancel a request must not leave half a message unread."""
        assert self.process.stdout is not None
        while message := await wire.receive(self.process.stdout):
            self.inbox.put_nowait(message)
        self.gone.set()
        self.inbox.put_nowait(None)

    async def _overhear(self) -> None:
        """What libraries print goes to the log."""
        assert self.process.stderr is not None
        with contextlib.suppress(ValueError):  # a line longer than the buffer
            async for line in self.process.stderr:
                log.warning(
                    "worker said", extra={"pid": self.process.pid, "text": line.decode("utf-8", "replace").strip()}
                )

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.gone.set()

    async def end(self) -> None:
        self.kill()
        await self.process.wait()
        for task in self.tasks:
            task.cancel()
        shutil.rmtree(self.scratch, ignore_errors=True)


class Pool:
    """`settings.workers` processes, each replaced when it dies. `broken` is set where the first ones cannot start."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.tally = settings, Tally()
        self.taken = self.waiting = 0
        self.workers: dict[int, Worker] = {}  # the ready ones, by their place
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = iter(range(1, sys.maxsize))

    async def __aenter__(self) -> Pool:
        self._folder = tempfile.TemporaryDirectory(prefix="rnr-serve-")
        self.broken: asyncio.Future[SetupError] = asyncio.get_running_loop().create_future()
        for place in range(self.settings.workers):
            self._background(self._keep(place))
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._folder.cleanup()

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, place: int) -> None:
        """A worker at this place, and another one when it has died."""
        pause = 0.0
        while True:
            started = time.monotonic()
            try:
                await self._live(place)
            except SetupError as error:
                log.error("worker cannot start", extra={"reason": str(error)})
                if not self.tally.restarts and not self.broken.done():
                    self.broken.set_result(error)
            except (EOFError, OSError) as error:
                log.error("worker died at its start", extra={"reason": str(error)})
            self.tally.restarts += 1
            pause = min(LAST, 2 * pause + 1) if time.monotonic() - started < LAST else 0.0
            await asyncio.sleep(pause)

    async def _live(self, place: int) -> None:
        """From the start of a worker to its end."""
        scratch = Path(self._folder.name, f"{place}-{self.tally.restarts}")
        scratch.mkdir(exist_ok=True)
        worker = await Worker.start(self.settings, scratch)
        try:
            self.workers[place] = worker
            self._idle.put_nowait(worker)
            await worker.gone.wait()
            log.warning("worker lost", extra={"pid": worker.process.pid, "status": await worker.process.wait()})
        finally:
            self.workers.pop(place, None)
            await worker.end()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """For one request, from its first byte to its answer. Raises ServiceError (429) where all are taken."""
        if self.taken >= self.settings.places:
            self.tally.refused_busy += 1
            raise busy(self.tally.mean_seconds * (self.taken + 1) / self.settings.workers)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def run(
        self, task: Task, data: bytes, on_event: OnEvent = lambda event: None, deadline: float | None = None
    ) -> Message:
        """The answer of a worker. `deadline` (loop time) is `seconds` from now by default. Raises ServiceError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(loop.time() + self.settings.seconds if deadline is None else deadline):
                return await self._run(task, data, on_event)
        except TimeoutError:
            self.tally.timed_out += 1
            raise timed_out(self.settings.seconds) from None
        except EOFError:
            raise worker_lost() from None

    async def _run(self, task: Task, data: bytes, on_event: OnEvent) -> Message:
        worker = await self._turn()
        started = time.monotonic()
        try:
            answer = await worker.do(next(self._numbers), task, data, on_event)
            self.tally.mean_seconds += 0.2 * (time.monotonic() - started - self.tally.mean_seconds)
            return answer
        finally:
            if worker.job and not worker.gone.is_set():  # cancelled, or its time is up
                self.tally.cancelled += 1
                self._background(self._reclaimed(worker))
            else:
                self._idle.put_nowait(worker)

    async def _turn(self) -> Worker:
        """The next worker that is free, first come, first served."""
        self.waiting += 1
        try:
            while (worker := await self._idle.get()).gone.is_set():
                pass
            return worker
        finally:
            self.waiting -= 1

    async def _reclaimed(self, worker: Worker) -> None:
        started = time.monotonic()
        await worker.reclaim()
        log.info("worker free again", extra={"pid": worker.process.pid, "seconds": time.monotonic() - started})
        self._idle.put_nowait(worker)
