"""The fault drill, as a process of its own: python drill.py FOLDER KILLS

Loads the models once. Each round forks children that run the agent and kills them (SIGKILL) at random moments, one at
least, until one comes to its end; a last line of JSON holds the results, that of the unbroken run first, and the kills.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch

torch.set_num_threads(1)  # a forked child must not inherit a pool of threads

from rnr.graph import Context, Store, build_graph, open_checkpoints, run_agent  # noqa: E402
from rnr.reasoner import Reasoner  # noqa: E402
from rnr.restorer import RestorePipeline  # noqa: E402


def work(folder: Path, models: tuple) -> str:
    """One run in `folder`; the hash of its result with the decisions that led to it."""
    import numpy as np

    store = Store(folder / "store")
    pixels = np.load(folder.parent / "picture.npy")
    with open_checkpoints(folder / "threads.sqlite") as saver:
        context = Context(*models, store=store, candidates=2, max_restorations=3)
        run = run_agent(build_graph(saver), context, "drill", store.put(pixels))
    assert run.status == "done", run.reason
    return json.dumps([run.picture["sha256"], [step["decision"] for step in run.steps]])


def child(folder: Path, models: tuple) -> int:
    """A forked process that does the work and leaves its answer in a file."""
    pid = os.fork()
    if pid:
        return pid
    try:
        (folder / "answer").write_text(work(folder, models))
        os._exit(0)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)


def kill_or_wait(pid: int, after: float | None) -> int | None:
    """SIGKILL after so many seconds; the exit status if it ended before, None if it was killed."""
    deadline = time.monotonic() + (1e9 if after is None else after)
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def broken(folder: Path, models: tuple, rng: random.Random, whole: float) -> tuple[int, float]:
    """A run that is killed at least once, then gone on with to its end; (kills, seconds of a whole run)."""
    killed = 0
    while not (folder / "answer").exists() or not killed:
        if (folder / "answer").exists():  # too fast for us: begin again
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=True)
        started = time.monotonic()
        status = kill_or_wait(child(folder, models), rng.uniform(0.02, 0.8) * whole)
        assert status in (None, 0), status
        killed += status is None
        whole = whole if killed else min(whole, time.monotonic() - started)
    return killed, whole


def main(root: Path, rounds: int) -> None:
    models = Reasoner.from_pretrained("built-in"), RestorePipeline.from_pretrained("built-in")
    rng, killed, started = random.Random(0), 0, time.monotonic()
    (root / "round0").mkdir()
    assert kill_or_wait(child(root / "round0", models), None) == 0
    whole = time.monotonic() - started
    for number in range(1, rounds + 1):
        kills, whole = broken(root / f"round{number}", models, rng, whole)
        killed += kills
    folders = [root / f"round{number}" for number in range(rounds + 1)]
    for folder in folders:
        Store(folder / "store")  # sweeps as the next run would
    print(json.dumps({"results": [(folder / "answer").read_text() for folder in folders], "killed": killed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
