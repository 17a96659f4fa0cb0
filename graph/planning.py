"""What to do next, as a pure function of the state: the same state, the same step.

one-pass: everything that was found, at once, once. stepwise: one kind at a time in the planned order, planned anew
after each look. auto: one pass; where damage remains, or the pass was rolled back, stepwise from there. A kind is not
tried twice on the same picture and not accepted more than twice, so a run ends by itself, budgets or not.
"""

from __future__ import annotations

from collections.abc import Collection

from rnr.degradation.kind import kind_named
from rnr.degradation.kind import kinds as all_kinds
from rnr.degradation.strength import FULL, Strength, strength_of
from rnr.graph.judging import total
from rnr.graph.state import AgentState, Look, Proposal, Step, Strategy

# `Kind.second_pass_helps` was measured on 64 mixtures of 2-3 kinds, a step for one kind after the first pass: haze, low
# light and rain gain 1.6, 2.7 and 0.6 dB where the judge accepts it; blur loses 0.8 dB while the judge believes in it;
# compression changes little. So auto treats such kinds on the picture as it came only.
REMAINS = 25.0  # severity points in sum below which auto leaves it at one pass
TWICE = 2


def propose(state: AgentState, strategy: Strategy, strength: Strength = FULL) -> Proposal | str:
    """The next step, or why there is none. `strength`: a kind of 0 is left alone, one below 100 is treated once."""
    best, steps = state["best"], state["steps"]
    if not best["present"]:
        return "no damage found" if not steps else "no damage is left that the judge can see"
    wanted = _ordered(state, strength)
    if not wanted:
        return f"nothing of what was to be removed {'is left' if steps else 'was found'}"
    if strategy != "stepwise" and not steps:
        what = "everything that was found" if set(wanted) == set(best["present"]) else "what is to be removed"
        return _proposal(steps, "one-pass", wanted, f"{what}, at once")
    if strategy == "one-pass":
        return "a person rejected the pass" if steps[0]["decision"] == "rejected" else "one pass was made"
    kinds = [kind for kind in wanted if not _spent(kind, best, steps, strength)]
    if strategy == "auto" and best["picture"] != state["first"]["picture"]:
        if (left := total(best, wanted)) < REMAINS:
            return f"little damage is left: {left:.0f}"
        kinds = [kind for kind in kinds if kind_named(kind).second_pass_helps]
        if not kinds:
            return "what is left is better left alone: a second pass over it was measured to do harm, or nothing"
    if not kinds:
        return "every kind that is left was tried"
    return _proposal(steps, "stepwise", kinds[:1], _why(kinds, steps))


def limited(strength: Strength, wished: Collection[str] | None) -> Strength:
    """A strength that is 0 for each kind that is not wished away.

    Example:
        >>> limited(60.0, ["rain"])["rain"], limited(60.0, ["rain"])["haze"]
        (60.0, 0.0)
    """
    if wished is None:
        return strength
    return {kind: strength_of(strength, kind) if kind in wished else 0.0 for kind in all_kinds()}


def _ordered(state: AgentState, strength: Strength) -> list[str]:
    """Kinds to remove from the best picture, in order: as asked for, or as diagnosed."""
    best = state["best"]
    planned = [*best["plan"], *(kind for kind in best["present"] if kind not in best["plan"])]
    wanted = [kind for kind in state.get("order") or planned if strength_of(strength, kind) > 0]
    return [kind for kind in wanted if kind in best["present"]]


def _spent(kind: str, best: Look, steps: list[Step], strength: Strength) -> bool:
    partly = [s for s in steps if s["decision"] == "accepted" and kind in s["proposal"]["kinds"]]
    if partly and strength_of(strength, kind) < FULL:
        return True
    mine = [step for step in steps if step["proposal"]["kinds"] == [kind]]
    here = best["picture"]["sha256"]
    in_vain = any(s["start"]["picture"]["sha256"] == here and s["decision"] != "accepted" for s in mine)
    return in_vain or sum(step["decision"] == "accepted" for step in mine) >= TWICE


def _proposal(steps: list[Step], strategy: Strategy, kinds: list[str], why: str) -> Proposal:
    return Proposal(number=len(steps) + 1, strategy=strategy, kinds=kinds, why=why)


def _why(kinds: list[str], steps: list[Step]) -> str:
    if steps and steps[-1]["decision"] != "accepted":
        return f"another way, since the last step was {steps[-1]['decision']}"
    rest = ", ".join(kind.replace("_", " ") for kind in kinds[1:])
    return f"first in the plan; then {rest}" if rest else "the only kind left to remove"
