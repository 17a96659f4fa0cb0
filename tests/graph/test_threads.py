"""Threads: going on after a kill, wrong ids, older releases, many at once, a database that is full."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnr.graph.state
from rnr.graph import Answer, Run, Store, ThreadError, build_graph, open_checkpoints, run_agent, run_of

ROOT = Path(__file__).parents[2]


def test_an_unknown_thread(agent: Any) -> None:
    with pytest.raises(ThreadError, match="no thread 'nobody'"):
        run_of(agent, "nobody")


def test_a_thread_belongs_to_one_picture(agent: Any, context: Any, noisy: Any, dark: Any) -> None:
    run_agent(agent, context(seconds=1e-6), "t", noisy)
    with pytest.raises(ThreadError, match="belongs to another picture"):
        run_agent(agent, context(), "t", dark)


def test_a_thread_that_has_ended_is_returned_as_it_is(agent: Any, context: Any, noisy: Any) -> None:
    first = run_agent(agent, context(strategy="one-pass"), "t", noisy)
    events: list[Any] = []
    again = run_agent(agent, context(strategy="one-pass"), "t", noisy, on_event=events.append)
    assert again.state == first.state and events == []


def test_a_thread_has_one_caller_at_a_time(agent: Any, context: Any, noisy: Any) -> None:
    refused: list[str] = []

    def meanwhile(question: Any) -> Answer:
        with ThreadPoolExecutor(1) as pool, pytest.raises(ThreadError, match="at work in another process") as error:
            pool.submit(call, "t").result()
        refused.append(str(error.value))
        assert call("other").status == "waiting"
        return Answer(action="stop")

    def call(thread: str, answer: Any = None) -> Run:
        return run_agent(agent, context(ask=True), thread, noisy, answer=answer)

    assert call("t", meanwhile).status == "stopped" and len(refused) == 1
    assert call("t").status == "stopped"


def test_a_lost_picture_is_made_anew(agent: Any, context: Any, rainy: Any, store: Store) -> None:
    first = run_agent(agent, context(strategy="one-pass"), "t", rainy)
    assert first.picture != rainy
    store.path(first.picture).unlink()
    again = run_agent(agent, context(strategy="one-pass"), "t", rainy)
    assert again.picture == first.picture and store.holds(again.picture)


def test_an_older_schema_is_refused_with_the_remedy(agent: Any, context: Any, noisy: Any, monkeypatch: Any) -> None:
    run_agent(agent, context(ask=True), "t", noisy)
    monkeypatch.setattr(rnr.graph.state, "SCHEMA_VERSION", 2)
    for call in (lambda: run_of(agent, "t"), lambda: run_agent(agent, context(ask=True), "t", noisy)):
        with pytest.raises(ThreadError, match="state schema 1, this release reads 2: .* new thread id"):
            call()
    with pytest.raises(ThreadError, match="state schema 1"):  # and in a graph that somebody else drives
        from langgraph.types import Command

        config = {"configurable": {"thread_id": "t"}}
        agent.invoke(Command(resume={"action": "approve"}), config, context=context(ask=True))


def test_threads_of_the_release_before_one_import_name_are_gone_on_with(context: Any, tmp_path: Path) -> None:
    """`tests/files/agent1` was written by revision 854c236, whose rooms were imported as `graph` and `degradation`."""
    shutil.copytree(ROOT / "tests" / "files" / "agent1", tmp_path / "old")
    store = Store(tmp_path / "old" / "store")
    with open_checkpoints(tmp_path / "old" / "threads.sqlite") as saver:
        agent, given = build_graph(saver), context(strategy="one-pass", ask=True, store=store)
        done, waiting = run_of(agent, "done"), run_of(agent, "waiting")
        assert done.status == "done" and store.holds(done.picture) and done.picture != done.state["picture"]
        assert waiting.question and waiting.question["proposal"]["kinds"] == ["noise", "rain", "blur"]
        approve = Answer(action="approve")
        run = run_agent(agent, given, "waiting", waiting.picture, answer=lambda question: approve)
        assert run.status == "done" and len(run.steps) == 1 and store.holds(run.steps[0]["candidates"][0]["picture"])


def test_the_state_is_plain_data(agent: Any, context: Any, noisy: Any) -> None:
    state = run_agent(agent, context(strategy="one-pass"), "t", noisy).state
    assert json.loads(json.dumps(state)) == state
    assert len(json.dumps(state)) < 10_000


def test_a_full_database_ends_it_with_the_picture(context: Any, noisy: Any, tmp_path: Path) -> None:
    with open_checkpoints(tmp_path / "t.sqlite") as saver:
        agent = build_graph(saver)
        pages = saver.conn.execute("PRAGMA page_count").fetchone()[0]
        saver.conn.execute(f"PRAGMA max_page_count={pages + 1}")
        run = run_agent(agent, context(strategy="one-pass"), "t", noisy)
        assert run.status == "failed" and "database or disk is full" in run.reason and run.picture == noisy
        saver.conn.execute("PRAGMA max_page_count=100000")
        assert run_agent(agent, context(strategy="one-pass"), "t", noisy).status == "done"


def test_a_database_that_is_gone_ends_it_with_the_picture(context: Any, noisy: Any, tmp_path: Path) -> None:
    with open_checkpoints(tmp_path / "t.sqlite") as saver:
        agent, given = build_graph(saver), context(strategy="one-pass", ask=True)
        run_agent(agent, given, "t", noisy)

        def lost(question: Any) -> Answer:
            saver.conn.close()
            return Answer(action="approve")

        run = run_agent(agent, given, "t", noisy, answer=lost)
        assert run.status == "failed" and "closed database" in run.reason and run.picture == noisy
    with open_checkpoints(tmp_path / "t.sqlite") as saver:  # the thread still waits
        run = run_agent(build_graph(saver), given, "t", noisy, answer=lambda question: Answer(action="approve"))
        assert run.status == "done" and len(run.steps) == 1


@pytest.mark.skipif("RNR_POSTGRES" not in os.environ, reason="RNR_POSTGRES=postgresql://... names an empty database")
def test_postgres_opened_at_once_cut_off_and_gone_on_with(context: Any, noisy: Any) -> None:
    url, given = os.environ["RNR_POSTGRES"], context(strategy="one-pass", ask=True)

    def begin(thread: str) -> Run:
        with open_checkpoints(url) as saver:  # the tables are made here
            return run_agent(build_graph(saver), given, thread, noisy)

    with ThreadPoolExecutor(4) as pool:
        assert [run.status for run in pool.map(begin, "abcd")] == ["waiting"] * 4
    with open_checkpoints(url) as saver, open_checkpoints(url) as other:

        def lost(question: Any) -> Answer:
            other.conn.execute("SELECT pg_terminate_backend(%s)", [saver.conn.info.backend_pid])
            return Answer(action="approve")

        assert run_agent(build_graph(saver), given, "a", noisy, answer=lost).status == "failed"
        run = run_agent(build_graph(other), given, "a", noisy, answer=lambda question: Answer(action="approve"))
        assert run.status == "done" and len(run.steps) == 1
        saver.conn.close()


def whole_files_only(folder: Path) -> None:
    """Pictures are what their names say and belong to a run, notes are JSON, nothing else is there."""
    store, seen, spoken_of = Store(folder), set(), set()
    for path in folder.glob("*/*"):
        if path.suffix == ".json":
            note = json.loads(path.read_text())
            spoken_of |= {note["picture"]["sha256"]} if "picture" in note else {path.name.split(".")[0]}
        else:
            assert path.suffix == ".png", path
            import cv2

            pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert pixels is not None, path
            bits = 8 * pixels.itemsize
            store.get({"sha256": path.stem, "width": 0, "height": 0, "bits": bits})
            seen.add(path.stem)
    assert seen == spoken_of


def drill(folder: Path, damaged: Any, kills: int) -> None:
    np.save(folder / "picture.npy", damaged("chelsea", low_light=50, noise=30))
    command = [sys.executable, "-P", str(Path(__file__).with_name("drill.py")), str(folder), str(kills)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    reported = json.loads(done.stdout.splitlines()[-1])
    assert reported["killed"] >= kills
    assert len(set(reported["results"])) == 1 and len(reported["results"]) == kills + 1
    for number in range(kills + 1):
        whole_files_only(folder / f"round{number}" / "store")


@pytest.mark.slow  # five processes load the built-in pair
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_at_three_random_moments_it_comes_to_the_same_end(tmp_path: Path, damaged: Any) -> None:
    drill(tmp_path, damaged, 3)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_at_25_random_moments_it_comes_to_the_same_end(tmp_path: Path, damaged: Any) -> None:
    drill(tmp_path, damaged, 25)


WORKERS = """
import sys, json, multiprocessing, numpy as np, torch
torch.set_num_threads(1)
from rnr.graph import *
from rnr.reasoner import Reasoner
from rnr.restorer import RestorePipeline
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
(root,) = sys.argv[1:]
pictures = np.load(root + "/pictures.npy")
models = Reasoner.from_pretrained("built-in"), RestorePipeline.from_pretrained("built-in")
def work(where, who, threads):
    store = Store(root + "/" + where)
    with open_checkpoints(root + "/threads.sqlite") as saver:
        agent, context = build_graph(saver), Context(*models, store=store, strategy="one-pass")
        call = lambda n: run_agent(agent, context, f"{who}-{n}", store.put(pictures[n // 2])).picture["sha256"]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(call, range(4)))
def processes(count):
    return ProcessPoolExecutor(count, multiprocessing.get_context("fork"))
with processes(2) as pool:
    a, b = pool.map(work, ["store"] * 2, "ab", [4] * 2)
with processes(1) as pool:
    (c,) = pool.map(work, ["alone"], "c", [1])
print(json.dumps([a, b, c]))
"""


@pytest.mark.slow  # three processes load the built-in pair
def test_four_threads_in_each_of_two_processes_share_a_store_and_a_database(tmp_path: Path, damaged: Any) -> None:
    """And come to what one thread alone comes to, each in a process fresh from a fork: rounding depends on what ran
    before. Two threads of each process have the same picture."""
    pictures = [damaged(noise=60, seed=1)[:64, :64], damaged(low_light=50)[:64, :64]]
    np.save(tmp_path / "pictures.npy", np.stack(pictures))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", WORKERS, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    a, b, alone = json.loads(done.stdout.splitlines()[-1])
    assert a == b == alone and a[::2] == a[1::2] and len(set(a)) == 2
    with open_checkpoints(tmp_path / "threads.sqlite") as saver:
        agent = build_graph(saver)
        for number in range(4):
            states = [run_of(agent, f"{who}-{number}").state for who in ("a", "b", "c")]
            assert len({state["picture"]["sha256"] for state in states}) == 1
    whole_files_only(tmp_path / "store")


def test_a_new_database_is_opened_by_many_at_once(tmp_path: Path) -> None:
    """Each has a connection of its own; the first switch to WAL used to fail with "database is locked"."""
    from concurrent.futures import ThreadPoolExecutor

    def opened(path: Path) -> str:
        barrier.wait()
        with open_checkpoints(path) as saver:
            return str(saver.conn.execute("PRAGMA journal_mode").fetchone()[0])

    for number in range(10):
        barrier = threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(opened, [tmp_path / f"{number}.sqlite"] * 8)) == {"wal"}
