"""A person in the loop: every answer, and answers that are wrong."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.types import Command

from rnr.graph import Answer, run_agent, run_of
from rnr.reasoner.instructions import Wish


def answers(*given: Answer) -> Any:
    """Answers in turn; fails if one too many is asked for. Questions are kept in `.asked`."""
    left = list(given)

    def answer(question: Any) -> Answer:
        answer.asked.append(question)  # type: ignore[attr-defined]
        return left.pop(0)

    answer.asked = []  # type: ignore[attr-defined]
    return answer


APPROVE, REJECT, STOP = (Answer(action=action) for action in ("approve", "reject", "stop"))  # type: ignore[arg-type]


def test_without_an_answer_it_waits_and_goes_on_later(agent: Any, context: Any, noisy: Any) -> None:
    given = context(ask=True, strategy="one-pass")
    run = run_agent(agent, given, "t", noisy)
    assert run.status == "waiting" and run.question and run.picture == noisy and run.steps == []
    assert run.question["proposal"]["kinds"] and run.question["diagnosis"]["findings"]
    assert run_agent(agent, given, "t", noisy).question == run.question
    asked = answers(APPROVE)
    done = run_agent(agent, given, "t", noisy, answer=asked)
    assert done.status == "done" and asked.asked == [run.question]
    free = run_agent(agent, context(strategy="one-pass"), "u", noisy)
    assert (done.picture, done.steps) == (free.picture, free.steps)


def test_stop_returns_the_best_so_far(agent: Any, context: Any, noisy: Any) -> None:
    run = run_agent(agent, context(ask=True), "t", noisy, answer=answers(STOP))
    assert (run.status, run.picture, run.steps) == ("stopped", noisy, [])
    assert run_agent(agent, context(ask=True), "t", noisy, answer=answers()).status == "stopped"


def test_a_rejected_step_is_not_made_and_another_is_planned(agent: Any, context: Any, dark: Any) -> None:
    asked = answers(REJECT, STOP)
    run = run_agent(agent, context(ask=True, strategy="auto"), "t", dark, answer=asked)
    assert [step["decision"] for step in run.steps] == ["rejected"] and run.steps[0]["candidates"] == []
    assert len(asked.asked) == 2 or run.reason == "every kind that is left was tried"


def test_an_edited_diagnosis_is_obeyed_and_then_used_up(agent: Any, context: Any, noisy: Any, store: Any) -> None:
    given = context(ask=True, strategy="one-pass")
    question = run_agent(agent, given, "t", noisy).question
    assert question
    diagnosis = question["diagnosis"]
    factors = {"type": "gaussian", "sigma": 60, "colour": "per_channel"}
    diagnosis["findings"]["noise"] |= {"present": True, "severity": 65, "factors": factors}
    diagnosis["plan"] = ["noise"]
    run = run_agent(agent, given, "t", noisy, answer=answers(Answer(action="edit", diagnosis=diagnosis)))
    start = run.steps[0]["start"]
    assert start["given"] and start["plan"] == ["noise"] and run.best and not run.best["given"]
    kept = store.note(noisy["sha256"], start["record"])
    assert kept["model"] == "given by a person" and kept["diagnosis"]["findings"]["noise"]["severity"] == 65


def test_an_edited_plan_limits_and_orders(agent: Any, context: Any, dark: Any) -> None:
    given = context(ask=True, strategy="one-pass")
    first = run_agent(agent, given, "t", dark).first
    assert first
    plan = first["plan"][-1:]
    run = run_agent(agent, given, "t", dark, answer=answers(Answer(action="edit", plan=plan)))
    assert run.steps[0]["proposal"]["kinds"] == plan and run.state["order"] == plan


def test_a_wish_limits_an_edited_diagnosis_but_not_a_plan_that_a_person_writes(
    agent: Any, context: Any, dark: Any
) -> None:
    given = context(ask=True, strategy="one-pass", wish=Wish(("noise",)))
    question = run_agent(agent, given, "t", dark).question
    assert question and question["proposal"]["kinds"] == ["noise"]
    seen = Answer(action="edit", diagnosis=question["diagnosis"])
    assert run_agent(agent, given, "t", dark, answer=answers(seen)).steps[0]["proposal"]["kinds"] == ["noise"]
    own = Answer(action="edit", plan=["low_light"])
    assert run_agent(agent, given, "u", dark, answer=answers(own)).steps[0]["proposal"]["kinds"] == ["low_light"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(action="edit"), "names a diagnosis, a plan or both"),
        (Answer(action="edit", plan=[]), "the plan names nothing"),
        (Answer(action="edit", plan=["sunshine"]), "the plan names sunshine"),
        (Answer(action="edit", diagnosis={"findings": {"sunshine": {"present": True, "severity": 3}}}), "unknown kind"),
        (
            Answer(action="edit", diagnosis={"findings": {"noise": {"present": True, "severity": 0}}}),
            "severity is 0 if",
        ),
        (Answer(action="edit", diagnosis={"schema_version": "0", "findings": {}}), "schema version '0'"),
        (Answer(action="edit", diagnosis={}), "findings: Field required"),
    ],
)
def test_a_wrong_edit_is_asked_again_with_the_reason(
    agent: Any, context: Any, noisy: Any, answer: Answer, problem: str
) -> None:
    asked = answers(answer, STOP)
    run = run_agent(agent, context(ask=True), "t", noisy, answer=asked)
    assert run.status == "stopped" and problem in asked.asked[1]["problem"]


def test_an_answer_of_another_shape_leaves_the_question_open(agent: Any, context: Any, noisy: Any) -> None:
    given = context(ask=True)
    question = run_agent(agent, given, "t", noisy).question
    config = {"configurable": {"thread_id": "t"}}
    with pytest.raises(ValueError, match="action"):
        agent.invoke(Command(resume={"action": "dance"}), config, context=given)
    assert run_of(agent, "t").question == question
