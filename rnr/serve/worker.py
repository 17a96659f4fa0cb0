"""A worker: `python -m rnr.serve.worker`. It loads the models once, then does the tasks that come on stdin, one by one.

Messages (wire.py): in {settings, scratch}, then {id, task} with the picture, or {cancel: id}; out {ready}, then for a
task any number of {id, event} and one of {id, done}, {id, error} or {id, cancelled}. The end of stdin ends the process
at once, whatever it does: so no worker outlives its service.
"""

from __future__ import annotations

import _thread
import importlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from rnr.serve import wire
from rnr.serve.errors import ServiceError
from rnr.serve.settings import Settings
from rnr.serve.wire import Message
from rnr.serve.work import AnyTask, Shop, refusal, trace_of

TASKS = (
    "rnr.graph.build", "rnr.graph.threads", "rnr.graph.checkpoints", "rnr.images.previews", "rnr.judge.reading",
    "rnr.report.agent", "rnr.work.agents", "rnr.work.plain_worker", "rnr.work.request", "rnr.work.restoring",
)  # fmt: skip  # what tasks import


class Cancelled(BaseException):
    """Not an Exception: nothing between the models and the worker may take it for a failure that can be tried again."""


@dataclass
class Job:
    id: int
    task: dict[str, Any]
    data: bytes
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled


class Worker:
    """Tasks from `inlet`, answers to `outlet`."""

    def __init__(self, inlet: BinaryIO, outlet: BinaryIO) -> None:
        self.inlet, self.outlet = inlet, outlet
        self.jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self.current: Job | None = None

    def run(self) -> None:
        start = wire.read(self.inlet)
        if start is None:
            return
        try:
            shop = _shop(start.head)
        except ValueError as error:  # SetupError: no such model, no such device
            self.say({"broken": str(error)})
            return
        threading.Thread(target=self._listen, daemon=True).start()
        self._watch()
        self.say({"ready": {"models": list(shop.models.names), "device": shop.models.device}})
        for job in self._jobs():
            self._do(shop, job)

    def say(self, head: dict[str, Any], blobs: list[bytes] | None = None) -> None:
        self.outlet.write(Message(head, blobs or []).packed())
        self.outlet.flush()

    def _listen(self) -> None:
        """In a thread of its own, so that a cancellation is heard while the models work."""
        waiting: dict[int, Job] = {}
        while (message := wire.read(self.inlet)) is not None:
            if "cancel" in message.head:
                if job := waiting.get(message.head["cancel"]):
                    job.cancelled.set()
                    _thread.interrupt_main()
            else:
                job = Job(message.head["id"], message.head["task"], message.blobs[0])
                waiting = {job.id: job}  # the front sends the next one after the answer to this one
                self.jobs.put(job)
        os._exit(0)  # the front has gone

    def _jobs(self) -> Iterator[Job]:
        while True:
            yield self.jobs.get()

    def _watch(self) -> None:
        """Where a cancelled task ends: as if by Ctrl-C, between any two steps of the main thread; and before the next
        layer of any model, because the agent calls models from threads of its own."""
        from torch.nn.modules.module import register_module_forward_pre_hook

        signal.signal(signal.SIGINT, lambda number, frame: self._look())  # a real Ctrl-C finds nothing cancelled
        register_module_forward_pre_hook(lambda module, inputs: self._look())

    def _look(self) -> None:
        if (job := self.current) is not None:
            job.check()

    def _do(self, shop: Shop, job: Job) -> None:
        """The task, and its one answer. `current` is set only where the work may be cut off, never within a message."""

        def tell(event: dict[str, Any]) -> None:
            self.current = None
            self.say({"id": job.id, "event": event})
            self.current = job
            job.check()

        head: dict[str, Any]
        blobs: list[bytes] = []
        try:
            self.current = job
            job.check()
            answer = AnyTask.validate_python(job.task).perform(shop, job.data, tell)
            self.current = None
            head, blobs = {"done": answer.head}, answer.blobs
        except Cancelled:
            self.current, head = None, {"cancelled": True}
        except Exception as error:
            self.current = None
            said = refusal(error)
            found = {"status": said.status, "code": said.code, "message": said.message}
            head = {"error": found, "trace": trace_of(error) if said.status >= 500 else ""}
        self.say({"id": job.id, **head}, blobs)


def _shop(start: dict[str, Any]) -> Shop:
    """The models, loaded. Raises SetupError."""
    import cv2
    import torch

    from rnr.work.models import Models

    settings = Settings(**start["settings"])
    torch.set_num_threads(settings.threads)
    cv2.setNumThreads(settings.threads)
    models = Models(settings.reasoner, settings.restorer, settings.device)
    models.load()
    for module in TASKS:  # a cancellation in the middle of an import leaves half a module behind
        importlib.import_module(module)
    scratch = Path(start["scratch"])
    return Shop(models, settings.megapixels, settings.seconds, scratch, settings.agent_folder)


def error_of(head: dict[str, Any]) -> ServiceError:
    """The error that a worker has answered with."""
    return ServiceError(**head["error"], retry_after=5 if head["error"]["status"] == 503 else None)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the front ends this process when it is done
    outlet = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the messages
    Worker(sys.stdin.buffer, outlet).run()
    os._exit(0)


if __name__ == "__main__":
    main()
