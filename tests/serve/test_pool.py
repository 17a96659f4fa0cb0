"""A pool of one worker: its time, cancellation, death. The pool lives in a loop of its own thread."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from rnr.serve.errors import ServiceError
from rnr.serve.hostile import Upload
from rnr.serve.pool import Pool, Worker
from rnr.serve.settings import Settings
from rnr.serve.wire import Message
from rnr.serve.work import Agent, Diagnose, Restore, Task

FREE = 1.0  # seconds within which a cancelled worker must be free
T = TypeVar("T")


@dataclass
class Driver:
    """What the tests do with the pool."""

    loop: asyncio.AbstractEventLoop
    pool: Pool

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(300)

    def run(self, task: Task, data: bytes, seconds: float = 300) -> Message:
        async def limited() -> Message:
            return await self.pool.run(task, data, deadline=self.loop.time() + seconds)

        return self.wait(limited())

    def cancelled(self, task: Task, data: bytes, after: float) -> None:
        async def main() -> None:
            work = asyncio.create_task(self.pool.run(task, data))
            await asyncio.sleep(after)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        self.wait(main())

    def free(self) -> float:
        """Seconds until the worker waits for work."""
        started = time.monotonic()
        while self.pool._idle.empty():
            time.sleep(0.005)
        return time.monotonic() - started

    @property
    def worker(self) -> Worker:
        (worker,) = self.pool.workers.values()
        return worker


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    driver = Driver(loop, Pool(Settings(workers=1, threads=1, device="cpu")))
    driver.wait(driver.pool.__aenter__())
    driver.free()
    pid = driver.worker.process.pid
    yield driver
    driver.wait(driver.pool.__aexit__())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    assert not os.path.exists(f"/proc/{pid}")  # no worker outlives its service


def test_a_cancelled_restoration_of_20_steps_frees_its_worker_within_a_second(driver: Driver, large: Upload) -> None:
    driver.run(Diagnose(), large.data)
    before, worker = driver.pool.tally.cancelled, driver.worker
    for seconds in (0.2, 1.0, 4.0):  # reading, diagnosing, in the middle of a step
        driver.cancelled(Restore(num_inference_steps=20), large.data, seconds)
        assert driver.free() < FREE
    assert driver.pool.tally.cancelled == before + 3 and driver.worker is worker


def test_a_cancelled_agent_frees_its_worker(driver: Driver, photo: Upload) -> None:
    driver.cancelled(Agent(), photo.data, 0.6)
    assert driver.free() < FREE


def test_a_request_whose_time_is_up_frees_its_worker(driver: Driver, large: Upload) -> None:
    with pytest.raises(ServiceError) as late:
        driver.run(Restore(num_inference_steps=20), large.data, seconds=1.5)
    assert (late.value.status, late.value.code) == (504, "timed_out") and driver.free() < FREE


def test_what_was_cancelled_changes_nothing_of_the_next_answer(driver: Driver, photo: Upload, large: Upload) -> None:
    before = driver.run(Restore(num_inference_steps=2), photo.data)
    driver.cancelled(Restore(num_inference_steps=20), large.data, 1.0)
    after = driver.run(Restore(num_inference_steps=2), photo.data)
    assert before.blobs == after.blobs and before.head["summary"] == after.head["summary"]


def test_events_come_in_order_before_the_answer(driver: Driver, photo: Upload) -> None:
    events: list[dict[str, Any]] = []
    driver.wait(driver.pool.run(Agent(strategy="one-pass"), photo.data, events.append))
    names = [event["event"] for event in events]
    assert names[:3] == ["diagnosed", "planned", "restoring"] and names[-1] == "finished"


def test_places_are_counted_and_the_refusal_says_when_to_come_again() -> None:
    pool = Pool(Settings(workers=2, queue=1))
    with pool.place(), pool.place():
        with pool.place(), pytest.raises(ServiceError) as refused, pool.place():
            pass
        assert refused.value.status == 429 and 1 <= (refused.value.retry_after or 0) <= 60
        with pool.place():  # one is free again
            pass
    assert pool.taken == 0


@pytest.mark.slow  # workers load the built-in pair anew
def test_a_killed_worker_is_replaced_and_only_its_own_request_hears_of_it(
    driver: Driver, photo: Upload, large: Upload
) -> None:
    known, worker, restarts = driver.run(Diagnose(), photo.data), driver.worker, driver.pool.tally.restarts

    async def main() -> tuple[Any, Message]:
        work = asyncio.create_task(driver.pool.run(Restore(num_inference_steps=20), large.data))
        waiting = asyncio.create_task(driver.pool.run(Diagnose(), photo.data))
        await asyncio.sleep(1)
        os.kill(worker.process.pid, signal.SIGKILL)
        (lost,) = await asyncio.gather(work, return_exceptions=True)
        return lost, await waiting

    lost, answered = driver.wait(main())
    assert (lost.status, lost.code, lost.retry_after) == (503, "worker_lost", 1)
    assert answered.head["summary"] == known.head["summary"]  # by the next worker
    assert driver.pool.tally.restarts == restarts + 1 and driver.worker is not worker


def test_a_worker_that_does_not_answer_is_killed(
    driver: Driver, large: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnr.serve.pool.GRACE", 0.5)
    worker = driver.worker

    async def main() -> None:
        work = asyncio.create_task(driver.pool.run(Restore(num_inference_steps=20), large.data))
        await asyncio.sleep(0.5)
        os.kill(worker.process.pid, signal.SIGSTOP)  # hangs, as in a call that does not come back
        work.cancel()
        await asyncio.wait_for(worker.gone.wait(), 10)

    driver.wait(main())
    assert driver.wait(worker.process.wait()) == -signal.SIGKILL
