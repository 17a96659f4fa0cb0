"""What comes next, from states made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from rnr.degradation.kind import kinds
from rnr.graph.planning import limited, propose
from rnr.graph.state import AgentState, Look, Proposal, Step
from rnr.graph.store import ImageRef


def look(sha: str, **severity: float) -> Look:
    ref = ImageRef(sha256=sha * 64, width=1, height=1, bits=8)
    return Look(picture=ref, record="r", severity=severity, present=[*severity], plan=[*severity], given=False)


def step(start: Look, kinds: list[str], decision: Any, strategy: Any = "stepwise") -> Step:
    proposal = Proposal(number=1, strategy=strategy, kinds=kinds, why="")
    chosen = 0 if decision == "accepted" else None
    return Step(proposal=proposal, start=start, candidates=[], chosen=chosen, decision=decision, reason="")


def state(first: Look, best: Look | None = None, steps: list[Step] | None = None, order: Any = ()) -> AgentState:
    return AgentState(first=first, best=best or first, steps=steps or [], order=list(order))


FIRST = look("a", noise=40, haze=30, blur=20)


def kinds_of(answer: Proposal | str) -> list[str]:
    assert not isinstance(answer, str), answer
    return answer["kinds"]


def test_nothing_found_is_nothing_to_do() -> None:
    for strategy in ("auto", "one-pass", "stepwise"):
        assert propose(state(look("a")), strategy) == "no damage found"  # type: ignore[arg-type]


def test_the_first_step_of_each_strategy() -> None:
    assert kinds_of(propose(state(FIRST), "one-pass")) == ["noise", "haze", "blur"]
    assert kinds_of(propose(state(FIRST), "auto")) == ["noise", "haze", "blur"]
    assert kinds_of(propose(state(FIRST), "stepwise")) == ["noise"]


def test_an_order_is_kept_and_limits() -> None:
    assert kinds_of(propose(state(FIRST, order=["haze", "noise"]), "stepwise")) == ["haze"]
    assert kinds_of(propose(state(FIRST, order=["haze", "noise"]), "one-pass")) == ["haze", "noise"]
    assert propose(state(FIRST, order=["rain"]), "stepwise") == "nothing of what was to be removed was found"


def test_one_pass_is_one_pass() -> None:
    for decision in ("accepted", "rolled back"):
        assert propose(state(FIRST, steps=[step(FIRST, ["noise"], decision)]), "one-pass") == "one pass was made"


def test_what_was_rolled_back_is_not_tried_again_on_the_same_picture() -> None:
    tried = [step(FIRST, ["noise"], "rolled back")]
    assert kinds_of(propose(state(FIRST, steps=tried), "stepwise")) == ["haze"]
    tried.append(step(FIRST, ["haze"], "accepted"))
    later = look("b", noise=40, blur=20)
    assert kinds_of(propose(state(FIRST, later, tried), "stepwise")) == ["noise"]


def test_a_kind_is_accepted_twice_at_most() -> None:
    steps = [step(look(sha, noise=40), ["noise"], "accepted") for sha in "ab"]
    assert propose(state(FIRST, look("c", noise=30), steps), "stepwise") == "every kind that is left was tried"


def test_auto_goes_on_where_damage_remains_but_not_with_what_it_knows_to_do_harm() -> None:
    done = [step(FIRST, ["noise", "haze", "blur"], "accepted", "one-pass")]
    assert "little damage" in propose(state(FIRST, look("b", noise=9, haze=9), done), "auto")
    assert kinds_of(propose(state(FIRST, look("b", blur=40, haze=30), done), "auto")) == ["haze"]
    assert "left alone" in propose(state(FIRST, look("b", blur=40), done), "auto")


def test_auto_goes_stepwise_from_the_input_where_the_pass_was_rolled_back() -> None:
    back = [step(FIRST, ["noise", "haze", "blur"], "rolled back", "one-pass")]
    assert kinds_of(propose(state(FIRST, steps=back), "auto")) == ["noise"]
    only = look("a", blur=50)
    assert not kinds()["blur"].second_pass_helps and kinds_of(propose(state(only), "auto")) == ["blur"]
    # the pass was this very step
    assert "tried" in propose(state(only, steps=[step(only, ["blur"], "rolled back", "one-pass")]), "auto")


def test_a_strength_leaves_kinds_out_and_treats_the_others_once() -> None:
    assert kinds_of(propose(state(FIRST), "auto", {"haze": 0})) == ["noise", "blur"]
    assert propose(state(FIRST), "one-pass", 0) == "nothing of what was to be removed was found"
    second, done = look("b", noise=20, haze=30), [step(FIRST, ["noise"], "accepted")]
    assert kinds_of(propose(state(FIRST, second, done), "stepwise", 50)) == ["haze"]
    assert kinds_of(propose(state(FIRST, second, done), "stepwise")) == ["noise"]
    only_noise = {"noise": 50, "haze": 0}
    assert propose(state(FIRST, second, done), "stepwise", only_noise) == "every kind that is left was tried"


@pytest.mark.parametrize("strategy", ["auto", "one-pass", "stepwise"])
def test_it_ends_whatever_the_judge_says(strategy: Any) -> None:
    """All pictures keep all kinds for ever: the steps run out all the same."""
    for decisions in (["accepted"], ["rolled back"], ["accepted", "rolled back"]):
        held, best = FIRST, FIRST
        steps: list[Step] = []
        for number in range(100):
            answer = propose(state(FIRST, best, steps), strategy)
            if isinstance(answer, str):
                break
            decision = decisions[number % len(decisions)]
            steps.append(step(best, answer["kinds"], decision, answer["strategy"]))
            if decision == "accepted":
                best = {**held, "picture": {**held["picture"], "sha256": f"{number:064d}"}}
        assert len(steps) < 20


def test_a_kind_that_is_not_wished_away_is_no_step_and_no_damage_that_is_left() -> None:
    noise = limited(100.0, ["noise"])
    assert kinds_of(propose(state(FIRST), "auto", noise)) == ["noise"]
    done = [step(FIRST, ["noise"], "accepted", "one-pass")]
    left = "nothing of what was to be removed is left"
    assert propose(state(FIRST, look("b", haze=30, blur=20), done), "auto", noise) == left
    assert propose(state(FIRST, look("b", noise=9, haze=60), done), "auto", noise) == "little damage is left: 9"
    assert limited({"noise": 60.0}, ["noise", "haze"]) == {**dict.fromkeys(kinds(), 0.0), "noise": 60.0, "haze": 100.0}
