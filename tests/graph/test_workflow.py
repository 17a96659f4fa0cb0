"""The workflow on the built-in models: strategies, taking back, budgets, candidates, failures, events."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langgraph.types import Command
from pydantic import TypeAdapter

from rnr.degradation.diagnosis import Belief, Diagnosis, DiagnosisRecord, Finding
from rnr.degradation.kind import kinds
from rnr.graph import Context, Event, Store, build_graph, run_agent, run_of
from rnr.graph.judging import total
from rnr.graph.threads import Run
from rnr.reasoner.instructions import Wish


def holds_together(run: Run, context: Context) -> None:
    """What is true of every run that ended by itself."""
    assert run.status == "done" and run.reason and run.first and run.best
    kept = [run.first, *(s["candidates"][s["chosen"]]["look"] for s in run.steps if s["chosen"] is not None)]
    assert run.best["picture"] == kept[-1]["picture"]
    sums = [total(look) for look in kept]
    assert sums == sorted(sums, reverse=True), "an accepted step raised the damage"
    assert len(run.steps) <= context.max_restorations
    for step in run.steps:
        assert step["decision"] == ("rolled back" if step["chosen"] is None else "accepted")
        assert len(step["candidates"]) == context.candidates and step["reason"]
    assert run.state["candidates"] == [] and run.state["proposal"] is None
    assert context.pictures.get(run.picture).shape == context.pictures.get(run.first["picture"]).shape


@pytest.mark.parametrize("strategy", ["one-pass", "stepwise", "auto"])
def test_each_strategy_ends_with_a_picture_that_is_no_worse(agent: Any, context: Any, dark: Any, strategy: Any) -> None:
    given = context(strategy=strategy)
    run = run_agent(agent, given, "t", dark)
    holds_together(run, given)
    assert run.steps and (strategy != "one-pass" or len(run.steps) == 1)
    if strategy == "stepwise":
        assert all(len(step["proposal"]["kinds"]) == 1 for step in run.steps)


def test_nothing_found_leaves_the_picture_as_it_is(agent: Any, context: Any, store: Store, damaged: Any) -> None:
    run = run_agent(agent, context(), "t", store.put(damaged("chelsea")))
    assert run.first and run.first["present"] == [], "the built-in judge sees no damage in this crop"
    assert (run.steps, run.picture, run.reason) == ([], run.state["picture"], "no damage found")


def test_a_clean_picture_is_accepted_and_noise_is_gone(
    agent: Any, context: Any, noisy: Any, fixed: Any, oracle: Any
) -> None:
    run = run_agent(agent, context(restorer=fixed(oracle)), "t", noisy)
    holds_together(run, context())
    assert run.steps[0]["decision"] == "accepted" and run.first and run.best
    assert run.best["severity"]["noise"] < run.first["severity"]["noise"] / 2


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (lambda x: 1 - x, "no longer shows the same"),
        (lambda x: np.full_like(x, 0.5), "no longer shows the same"),
        (lambda x: np.clip(x + np.random.default_rng(0).normal(0, 0.2, x.shape), 0, 1), "a fall of at least"),
        (lambda x: x, "fell by 0.0 only"),
    ],
)
def test_a_bad_step_is_rolled_back(agent: Any, context: Any, noisy: Any, fixed: Any, result: Any, reason: str) -> None:
    given = context(restorer=fixed(result, f"bad {id(result)}"), strategy="auto")
    run = run_agent(agent, given, "t", noisy)
    assert run.steps and all(step["decision"] == "rolled back" for step in run.steps)
    assert run.picture == noisy and run.status == "done"
    assert reason in run.steps[0]["reason"]


def test_the_budget_of_steps_counts_what_was_rolled_back(agent: Any, context: Any, dark: Any, fixed: Any) -> None:
    given = context(restorer=fixed(lambda x: 1 - x, "negative"), strategy="stepwise", max_restorations=1)
    run = run_agent(agent, given, "t", dark)
    assert len(run.steps) == 1 and run.first and len(run.first["present"]) > 1
    assert run.reason == "the budget of 1 restorations is used up"


def test_the_budget_of_seconds_ends_it_before_the_next_step(agent: Any, context: Any, dark: Any) -> None:
    run = run_agent(agent, context(seconds=1e-6), "t", dark)
    assert (run.steps, run.picture) == ([], dark) and "1e-06 seconds" in run.reason


def test_candidates_compete_and_the_best_is_kept(agent: Any, context: Any, rainy: Any) -> None:
    given = context(candidates=3, strategy="one-pass")
    run = run_agent(agent, given, "t", rainy)
    holds_together(run, given)
    (step,) = run.steps
    assert [c["number"] for c in step["candidates"]] == [0, 1, 2]
    assert len({c["picture"]["sha256"] for c in step["candidates"]}) == 3
    good = [total(c["look"]) for c in step["candidates"] if c["accepted"]]
    assert len(good) > 1 and total(step["candidates"][step["chosen"]]["look"]) == min(good)
    assert step["reason"].endswith(f"of {len(good)} candidates that passed, the one with the least damage in all")


def test_an_order_is_followed(agent: Any, context: Any, dark: Any, fixed: Any) -> None:
    given = context(restorer=fixed(lambda x: 1 - x, "negative"), strategy="stepwise")
    found = run_agent(agent, given, "a", dark).first
    assert found
    order = found["plan"][::-1]
    run = run_agent(agent, given, "b", dark, order)
    assert [step["proposal"]["kinds"][0] for step in run.steps] == order


def test_finished_work_is_not_repeated(agent: Any, models: Any, damaged: Any, tmp_path: Path, fixed: Any) -> None:
    store, restorer = Store(tmp_path / "own"), fixed(lambda x: x**0.8)
    given = Context(models[0], restorer, store, strategy="one-pass")
    ref = store.put(damaged(noise=60))
    first, calls = run_agent(agent, given, "a", ref), restorer.calls
    second = run_agent(agent, given, "b", ref)
    assert calls == restorer.calls == 1
    assert (first.picture, first.steps) == (second.picture, second.steps)
    run_agent(agent, Context(models[0], restorer, store, strategy="one-pass", seed=1), "c", ref)
    assert restorer.calls == 2  # another seed is another step


class Failing:
    """Fails at each call, or only so many times, with this error."""

    def __init__(self, inner: Any, method: str, error: Exception, times: int = 10**9) -> None:
        self.inner, self.error, self.times = inner, error, times
        setattr(self, method, lambda *args, **rest: self._call(getattr(inner, method), *args, **rest))

    def _call(self, real: Any, *args: Any, **rest: Any) -> Any:
        self.times -= 1
        if self.times >= 0:
            raise self.error
        return real(*args, **rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_a_restorer_that_fails_ends_it_with_the_picture_as_it_came(
    agent: Any, context: Any, models: Any, noisy: Any
) -> None:
    given = context(restorer=Failing(models[1], "restore", RuntimeError("out of luck")), seed=9)
    run = run_agent(agent, given, "t", noisy)
    assert (run.status, run.picture) == ("failed", noisy)
    assert run.reason == "restore failed (RuntimeError: out of luck)"
    again = run_agent(agent, context(seed=9), "t", noisy)  # the same thread, once it works again
    assert again.status == "done" and again.steps


def test_a_judge_that_fails_later_leaves_the_best_picture(
    agent: Any, context: Any, models: Any, damaged: Any, store: Store, fixed: Any, oracle: Any
) -> None:
    noisy = store.put(damaged(noise=60, seed=5))
    run_agent(agent, context(strategy="one-pass"), "before", noisy)  # the first look is in the store from here on
    broken = Failing(models[0], "diagnose", RuntimeError("no answer"))
    run = run_agent(agent, context(reasoner=broken, restorer=fixed(lambda x: x**0.9)), "t", noisy)
    assert (run.status, run.picture) == ("failed", noisy) and run.reason == "judge failed (RuntimeError: no answer)"


def test_what_was_kept_outlives_a_failure_and_an_interrupt(
    agent: Any, context: Any, noisy: Any, fixed: Any, damaged: Any
) -> None:
    def half(pixels: np.ndarray) -> np.ndarray:  # and no second time
        if first.calls > 1:
            raise RuntimeError("out of luck")
        return damaged(noise=35) / np.float32(255)

    def press_ctrl_c(event: Any) -> None:
        if event["event"] == "planned" and event["number"] == 2:
            raise KeyboardInterrupt

    first = fixed(half, "first")
    with pytest.raises(KeyboardInterrupt):
        run_agent(agent, context(restorer=first), "t", noisy, on_event=press_ctrl_c)
    cut_off, failed = run_of(agent, "t"), run_agent(agent, context(restorer=first), "t", noisy)
    assert (cut_off.status, failed.status, first.calls) == ("cut off", "failed", 2)
    kept = [step["candidates"][0]["picture"] for step in failed.steps]
    assert kept == [cut_off.picture] == [failed.picture] != [noisy]


def test_a_judge_that_cannot_even_begin(agent: Any, context: Any, models: Any, store: Store, damaged: Any) -> None:
    ref = store.put(damaged(noise=33))
    broken = Failing(models[0], "diagnose", RuntimeError("no answer"))
    run = run_agent(agent, context(reasoner=broken), "t", ref)
    assert (run.status, run.picture, run.steps, run.best) == ("failed", ref, [], None)


def test_outside_failures_are_tried_again_and_only_those(agent: Any, context: Any, models: Any, noisy: Any) -> None:
    passing = Failing(models[1], "restore", ConnectionError("reset"), times=2)
    assert run_agent(agent, context(restorer=passing, seed=21), "a", noisy).status == "done"
    assert passing.times < 0
    once = Failing(models[1], "restore", OSError(errno.ENOSPC, "No space left on device"), times=1)
    run = run_agent(agent, context(restorer=once, seed=22), "b", noisy)
    assert run.status == "failed" and "No space left" in run.reason and once.times == 0


class FullDisk(Store):
    """A store whose disk is full after so many files."""

    room = 10**9

    def _write(self, path: Path, data: bytes) -> None:
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        super()._write(path, data)


@pytest.mark.parametrize("room", [1, 2, 3])
def test_a_full_disk_ends_it_clearly(agent: Any, models: Any, damaged: Any, tmp_path: Path, room: int) -> None:
    store = FullDisk(tmp_path / "disk")
    ref = store.put(damaged(noise=60))
    store.room = room
    run = run_agent(agent, Context(*models, store), "t", ref)
    assert (run.status, run.picture) == ("failed", ref) and "No space left" in run.reason
    store.room = 10**9
    assert run_agent(agent, Context(*models, store), "t", ref).status == "done"


def test_a_model_that_is_gone_is_named(agent: Any, context: Any, noisy: Any, tmp_path: Path) -> None:
    run = run_agent(agent, context(reasoner=str(tmp_path / "lost")), "t", noisy)
    assert run.status == "failed" and str(tmp_path / "lost") in run.reason and run.picture == noisy


def test_events_tell_the_run_as_it_goes(agent: Any, context: Any, noisy: Any) -> None:
    events: list[Any] = []
    run = run_agent(agent, context(strategy="one-pass"), "t", noisy, on_event=events.append)
    names = [event["event"] for event in events]
    assert names[:4] == ["diagnosed", "planned", "restoring", "restored"] and names[-2:] == ["decided", "finished"]
    assert all(event["thread"] == "t" and event["time"] > 0 for event in events)
    seen = events[0]
    assert seen["model_hash"] and seen["prompt_version"] and seen["seconds"] > 0 and seen["passes"] > 0
    assert events[-1]["picture"] == run.picture["sha256"]


def test_every_node_is_heard_of_in_both_stream_modes(agent: Any, context: Any, rainy: Any) -> None:
    """`updates` says which node is through, `custom` what it has to tell, each event of its type."""
    config: Any = {"configurable": {"thread_id": "t"}}
    given, nodes = context(strategy="one-pass", candidates=2, ask=True), set(agent.get_graph().nodes)
    updated, reported = [], []
    begins: list[Any] = [{"picture": rainy}, Command(resume={"action": "approve"})]
    for begin in begins:
        for mode, chunk in agent.stream(begin, config, context=given, stream_mode=["updates", "custom"]):
            updated.extend(chunk) if mode == "updates" else reported.append(chunk)
    assert updated == ["diagnose", "plan", "__interrupt__", "approve", "restore", "restore", "judge", "decide",
                       "plan", "finish"]  # fmt: skip
    assert set(updated) - {"__interrupt__"} == {name for name in nodes if not name.startswith("__")}
    assert [event["node"] for event in reported if event["event"] in ("judged", "answered")] == [
        "approve",
        *["judge"] * 2,
    ]
    assert {event["node"] for event in reported} == set(updated) - {"__interrupt__"}
    typed = TypeAdapter(Event, config={"extra": "forbid"})
    assert [typed.validate_python(event, strict=True) for event in reported] == reported


def test_a_failure_is_told_where_it_happens(agent: Any, context: Any, models: Any, noisy: Any) -> None:
    events: list[Any] = []
    given = context(restorer=Failing(models[1], "restore", RuntimeError("out of luck")), seed=31)
    run = run_agent(agent, given, "t", noisy, on_event=events.append)
    reported = [(event["event"], event.get("reason")) for event in events[-2:]]
    assert reported == [("failed", run.reason), ("finished", run.reason)] and "restore" in events[-2]["node"]


def test_a_path_will_do_and_no_checkpointer_is_needed(context: Any, store: Store, noisy: Any) -> None:
    state = build_graph().invoke({"picture": str(store.path(noisy))}, context=context(strategy="one-pass"))
    assert state["first"]["picture"] == noisy and state["status"] == "done"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"strategy": "magic"}, "one-pass or stepwise"),
        ({"max_restorations": 0}, "1..32"),
        ({"candidates": 9}, "1..8"),
        ({"seconds": 0}, "more than 0"),
        ({"seed": -1}, "0 or more"),
    ],
)
def test_a_context_that_cannot_be(settings: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Context(**settings)


class Doubtful:
    """A judge that finds noise in any picture, with P(present) = 0.6."""

    identity: Any = {"model": "doubtful", "model_hash": "", "prompt": "", "prompt_version": ""}

    def diagnose(self, pictures: Any, **settings: Any) -> list[DiagnosisRecord]:
        found = Diagnosis(findings={"noise": Finding(present=True, severity=60)}, plan=["noise"])
        belief = Belief(probability=0.6, severity_if_present=60, spread=8)
        return [DiagnosisRecord(diagnosis=found, beliefs={"noise": belief}, text=found.to_json()) for _ in pictures]


@pytest.mark.parametrize(
    ("remove", "proposed", "changed"),
    [
        (["noise"], True, True),  # named: overrules the doubt
        ([kind for kind in kinds() if kind != "haze"], False, False),  # not one by one: what is doubtful stays
        (list(kinds()), True, False),  # limits nothing: as without a wish
        (["rain"], False, False),
    ],
)
def test_a_wish_overrules_doubt_where_it_names_few_kinds(
    agent: Any, context: Any, noisy: Any, remove: list[str], proposed: bool, changed: bool
) -> None:
    given = context(reasoner=Doubtful(), strategy="one-pass", wish=Wish(tuple(remove)))
    run = run_agent(agent, given, "t", noisy)
    assert run.status == "done" and bool(run.steps) == proposed
    assert any(c["picture"] != noisy for step in run.steps for c in step["candidates"]) == changed


def test_a_wish_names_kinds_that_there_are() -> None:
    with pytest.raises(ValueError, match="sunshine"):
        Context(wish=Wish(("sunshine",)))
