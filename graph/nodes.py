"""The nodes. Each reads the state, asks a model through the store's notes, and says where to go.

Nodes catch nothing: outside failures are tried again by their retry policy, any other error ends the run by `give_up`
with the best picture so far. What a model has answered once is a note in the store, so a node that runs again after a
kill goes on where it was.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any, Literal

from langgraph.errors import NodeError
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, interrupt

from rnr.degradation.diagnosis import Diagnosis, DiagnosisRecord
from rnr.degradation.files import short_hash
from rnr.degradation.intent import Intent
from rnr.degradation.kind import PHYSICS, kinds
from rnr.degradation.strength import FULL, scaled
from rnr.graph import judging, memory, planning
from rnr.graph.context import Context, lock_of
from rnr.graph.events import Answered, Decided, Failed, Finished, Judged, Planned, Restored, Restoring, tell
from rnr.graph.looking import look_at, read_pixels, wished
from rnr.graph.state import (
    SCHEMA_VERSION,
    AgentInput,
    AgentState,
    Answer,
    Candidate,
    ContextError,
    Draw,
    Look,
    Proposal,
    Question,
    Step,
    ThreadError,
    check_version,
)


def diagnose(state: AgentInput, runtime: Runtime[Context]) -> Command[Literal["plan"]]:
    """The first look. Everything in the state begins here, also that of a thread that is started again."""
    store = context_of(runtime).pictures
    picture = state["picture"]
    strange = [kind for kind in state.get("order") or [] if kind not in kinds()]
    if strange:
        raise ValueError(f"the order names {', '.join(strange)}; there are: {', '.join(kinds())}")
    ref = store.put(read_pixels(picture)) if isinstance(picture, str) else picture
    look, seconds = look_at(ref, runtime)
    fresh = AgentState(
        schema_version=SCHEMA_VERSION, picture=ref, order=state.get("order") or [], first=look, best=look,
        proposal=None, problem="", candidates=[], steps=[], spent=seconds, reason="",
    )  # fmt: skip
    return Command(update={**fresh, "candidates": None}, goto="plan")


def context_of(runtime: Runtime[Context]) -> Context:
    """The run's context. Raises ContextError where a run was started without one."""
    if runtime.context is None:
        raise ContextError("the run has no context; pass one: graph.invoke(..., context=rnr.graph.Context())")
    return runtime.context


def plan(state: AgentState, runtime: Runtime[Context]) -> Command[Literal["approve", "restore", "finish"]]:
    """The next step within the budgets, or the end."""
    check_version(state)
    context = runtime.context
    strength = planning.limited(context.strength, wished(state["best"], context))
    proposal: Proposal | str = over_budget(state, context) or planning.propose(state, context.strategy, strength)
    if isinstance(proposal, str):
        return Command(update={"proposal": None, "status": "done", "reason": proposal}, goto="finish")
    if context.memory and (known := memory.recall(context.pictures, state["best"], proposal["kinds"])):
        proposal = Proposal(**{**proposal, "dose": known.dose, "why": f"{proposal['why']}; {known}"})  # type: ignore[typeddict-item]
    tell(runtime, Planned(event="planned", **proposal))
    update = {"proposal": proposal, "problem": ""}
    return Command(update=update, goto="approve" if context.ask else _fan_out(state["best"], proposal, context))


def over_budget(state: AgentState, context: Context) -> str:
    """Why no further step may be made; empty if one may."""
    made = sum(step["decision"] != "rejected" for step in state["steps"])
    if made >= context.max_restorations:
        return f"the budget of {context.max_restorations} restorations is used up"
    if state["spent"] >= context.seconds:
        return f"the budget of {context.seconds:g} seconds is used up"
    return ""


def approve(state: AgentState, runtime: Runtime[Context]) -> Command[Literal["approve", "restore", "plan", "finish"]]:
    """Ask a person. Nothing expensive stands before the interrupt: the node runs again when the answer is there."""
    check_version(state)
    proposal, best, store = state["proposal"], state["best"], runtime.context.pictures
    assert proposal is not None
    shown = (store.note(best["picture"]["sha256"], best["record"]) or {}).get("diagnosis") or {}
    question = Question(proposal=proposal, diagnosis=shown, picture=best["picture"], problem=state["problem"])
    answer = Answer.model_validate(interrupt(question, response_schema=Answer))
    tell(runtime, Answered(event="answered", number=proposal["number"], action=answer.action))
    if answer.action == "stop":
        return Command(update={"status": "stopped", "reason": "a person stopped it"}, goto="finish")
    if answer.action == "reject":
        step = Step(proposal=proposal, start=best, candidates=[], chosen=None, decision="rejected",
                    reason="a person rejected it")  # fmt: skip
        return Command(update={"steps": [*state["steps"], step], "proposal": None}, goto="plan")
    try:
        best, proposal = _edited(answer, best, proposal, runtime)
    except ValueError as error:  # ask again and say why
        return Command(update={"problem": str(error)}, goto="approve")
    order = (answer.plan if answer.action == "edit" else None) or state["order"]
    update = {"best": best, "proposal": proposal, "order": order, "problem": ""}
    return Command(update=update, goto=_fan_out(best, proposal, runtime.context))


def _edited(answer: Answer, best: Look, proposal: Proposal, runtime: Runtime[Context]) -> tuple[Look, Proposal]:
    """Look and proposal by a person's edit. ValueError says what is wrong with it."""
    if answer.action == "approve":
        return best, proposal
    if answer.diagnosis is None and answer.plan is None:
        raise ValueError("an edit names a diagnosis, a plan or both")
    if answer.diagnosis is not None:
        diagnosis = Diagnosis.from_json(json.dumps(answer.diagnosis), "the edited diagnosis")
        record = DiagnosisRecord(diagnosis=diagnosis, model="given by a person", physics=PHYSICS)
        name = "given" + short_hash(diagnosis.to_json())
        runtime.context.pictures.keep_note(best["picture"]["sha256"], name, record.model_dump(mode="json"))
        planned = diagnosis.plan or diagnosis.present
        best = Look(**{**best, "record": name, "present": diagnosis.present, "plan": planned, "given": True})  # type: ignore[typeddict-item]
    allowed = wished(best, runtime.context)
    usual = [kind for kind in best["plan"] if allowed is None or kind in allowed]
    wanted = answer.plan if answer.plan is not None else usual  # a person's own plan overrules the wish
    astray = [kind for kind in wanted if kind not in best["present"]]
    if astray or not wanted:
        found = ", ".join(best["present"]) or "nothing"
        named = f"the plan names {', '.join(astray) or 'nothing'}; the diagnosis holds {found} present"
        raise ValueError(f"{named}; to leave the picture as it is, answer stop")
    chosen = wanted if proposal["strategy"] == "one-pass" else wanted[:1]
    return best, Proposal(**{**proposal, "kinds": chosen, "why": "as a person edited it"})  # type: ignore[typeddict-item]


def _fan_out(best: Look, proposal: Proposal, context: Context) -> list[Send]:
    return [
        Send("restore", {"best": best, "proposal": proposal, "draw": draw, "number": number})
        for number, draw in enumerate(context.draws(proposal.get("dose")))
    ]


def restore(task: dict[str, Any], runtime: Runtime[Context]) -> dict[str, list[Candidate]]:
    """One candidate: picture + diagnosis -> picture. Its note names everything that the result follows from."""
    context, best = runtime.context, task["best"]
    draw: Draw = task["draw"]
    store, sha256 = context.pictures, best["picture"]["sha256"]
    chosen = task["proposal"]["kinds"]
    everything = set(chosen) == set(best["present"]) and wished(best, context) is None
    limited = None if everything else chosen  # None: also what is only suspected
    strength = scaled(context.strength, draw.get("dose", FULL) / FULL)
    intent = Intent(kinds=limited, strength=strength)
    drawn = {name: value for name, value in draw.items() if name != "dose"}
    partly = [strength] if strength != FULL else []  # notes of before know none
    name = "step" + short_hash(best["record"], intent.kinds, drawn, context.restorer_id, *partly)
    note = store.note(sha256, name)
    number = task["number"]
    event = Restoring(event="restoring", number=number, kinds=chosen, model=context.restorer_id, **draw)
    tell(runtime, event)
    if note is None or not store.holds(note["picture"]):
        note = _restore(context, best, intent, draw)
        store.keep_note(sha256, name, note)
    picture, seconds = note["picture"], note["seconds"]
    tell(runtime, Restored(event="restored", number=number, picture=picture["sha256"], seconds=seconds))
    return {"candidates": [Candidate(number=number, draw=draw, picture=picture, seconds=seconds)]}


def _restore(context: Context, best: Look, intent: Intent, draw: Draw) -> dict[str, Any]:
    import numpy as np

    store = context.pictures
    pixels = store.get(best["picture"])
    record = DiagnosisRecord.model_validate(store.note(best["picture"]["sha256"], best["record"]))
    started = time.perf_counter()
    with lock_of(context.pipeline):
        result = context.pipeline.restore(
            pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max),
            record,
            intent,
            num_inference_steps=draw["steps"],
            seed=draw["seed"],
            eta=draw["eta"],
        )
    ref = best["picture"] if result.untouched else store.put(result.pixels_HWC3)
    return {"picture": ref, "seconds": time.perf_counter() - started}


def judge(state: AgentState, runtime: Runtime[Context]) -> Command[Literal["decide"]]:
    """Look at every candidate again, and judge what changed."""
    check_version(state)
    store, judged, spent = runtime.context.pictures, [], state["spent"]
    for candidate in sorted(state["candidates"], key=lambda c: c["number"]):
        look, seconds = look_at(candidate["picture"], runtime)
        found = judging.changed(store, state["first"], state["best"], look)
        accepted, reason = judging.verdict(state["best"], look, found)
        event = Judged(event="judged", number=candidate["number"], picture=candidate["picture"]["sha256"],
                      change=asdict(found), accepted=accepted, reason=reason)  # fmt: skip
        tell(runtime, event)
        judged.append({**candidate, "look": look, "change": asdict(found), "accepted": accepted, "reason": reason})
        spent += candidate["seconds"] + seconds
    best, proposal = state["best"], state["proposal"]
    assert proposal is not None
    step = _decided(proposal, best, judged)  # type: ignore[arg-type]
    return Command(update={"candidates": None, "steps": [*state["steps"], step], "spent": spent}, goto="decide")


def _decided(proposal: Proposal, best: Look, judged: list[Candidate]) -> Step:
    """Of the candidates that pass, the one with the least damage; otherwise the reason of the one that came nearest."""
    order = sorted(range(len(judged)), key=lambda i: (not judged[i]["accepted"], judging.total(judged[i]["look"]), i))
    chosen, passed = judged[order[0]], sum(candidate["accepted"] for candidate in judged)
    among = f"; of {passed} candidates that passed, the one with the least damage in all" if passed > 1 else ""
    return Step(
        proposal=proposal,
        start=best,
        candidates=judged,
        chosen=order[0] if chosen["accepted"] else None,
        decision="accepted" if chosen["accepted"] else "rolled back",
        reason=chosen["reason"] + among,
    )


def decide(state: AgentState, runtime: Runtime[Context]) -> Command[Literal["plan"]]:
    """Accept the chosen candidate or take the step back; a person's diagnosis is used up by its step."""
    check_version(state)
    step = state["steps"][-1]
    best = step["start"] if step["chosen"] is None else step["candidates"][step["chosen"]]["look"]
    if best["given"]:
        best, _ = look_at(best["picture"], runtime)
    if runtime.context.memory:
        memory.remember(runtime.context.pictures, step)
    event = Decided(event="decided", number=step["proposal"]["number"], decision=step["decision"],
                   reason=step["reason"], severity=best["severity"])  # fmt: skip
    tell(runtime, event)
    return Command(update={"best": best, "proposal": None}, goto="plan")


def finish(state: AgentState, runtime: Runtime[Context]) -> None:
    """Say how it ended."""
    best = state.get("best")
    picture = best["picture"]["sha256"] if best else None
    tell(runtime, Finished(event="finished", status=state["status"], reason=state["reason"], picture=picture))


def give_up(state: AgentState, error: NodeError, runtime: Runtime[Context]) -> Command[Literal["finish"]]:
    """What no retry could help: the run ends, the best picture so far is its result."""
    if isinstance(error.error, ThreadError | ContextError):
        raise error.error
    reason = f"{error.node} failed ({type(error.error).__name__}: {error.error})"
    tell(runtime, Failed(event="failed", reason=reason))
    return Command(update={"status": "failed", "reason": reason, "candidates": None}, goto="finish")
