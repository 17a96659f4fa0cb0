"""Doses that were kept are tried first on the next picture with such a diagnosis, if a run is to remember."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rnr.degradation.strength import scaled
from rnr.graph import Store, build_graph
from rnr.graph.memory import ENOUGH, place, recall, remember
from rnr.graph.state import Candidate, Draw, Look, Proposal, Step

REF = {"sha256": "0" * 64, "width": 8, "height": 8, "bits": 8}


def look(**severity: float) -> Look:
    return Look(picture=REF, record="", severity=severity, present=list(severity), plan=list(severity), given=False)  # type: ignore[typeddict-item]


def step(start: Look, *tried: tuple[float, bool, float]) -> Step:
    """Candidates by (dose, accepted, points by which damage fell)."""
    candidates = [
        Candidate(
            number=number, draw=Draw(steps=1, seed=0, eta=0, dose=dose), picture=REF, seconds=0, accepted=accepted,  # type: ignore[typeddict-item]
            change={"removed": fell, "new": 0, "over": 0, "content": 1, "before": 50},
        )
        for number, (dose, accepted, fell) in enumerate(tried)
    ]  # fmt: skip
    proposal = Proposal(number=1, strategy="one-pass", kinds=start["present"], why="")
    return Step(proposal=proposal, start=start, candidates=candidates, chosen=0, decision="accepted", reason="")


def test_the_dose_with_the_highest_mean_gain_is_recalled_once_it_was_kept_often_enough(tmp_path):
    store, noisy = Store(tmp_path), look(noise=45.0)
    for number in range(ENOUGH):
        assert recall(store, noisy, ["noise"]) is None
        remember(store, step(noisy, (100, number == 0, 30), (70, True, 20)))
    found = recall(store, look(noise=55.0), ["noise"])
    assert found is not None and (found.dose, found.kept, found.tried, found.gain) == (70, 2, 2, 20)
    assert str(found) == "dose 70% was kept on 2 of 2 pictures with such a diagnosis"
    assert recall(store, look(noise=65.0), ["noise"]) is None, "another fifth of the scale"
    assert recall(store, look(noise=45.0, haze=30.0), ["noise"]) is None, "another diagnosis"
    assert place(noisy, ["noise"]) != place(noisy, ["haze"])


def test_a_strength_is_scaled_for_all_kinds():
    assert scaled(80.0, 0.5) == 40
    half = scaled({"haze": 50.0}, 0.5)
    assert isinstance(half, dict) and half["haze"] == 25 and half["noise"] == 50


@pytest.mark.parametrize("memory", [True, False])
def test_a_run_begins_with_what_was_kept_before(
    context: Callable[..., Any], damaged: Callable[..., np.ndarray], tmp_path, memory: bool
):
    store = Store(tmp_path / str(memory))
    first = context(store=store, strategy="one-pass", candidates=3, memory=memory)
    doses = []
    for _ in range(ENOUGH):  # the same picture again: its models' answers are notes, the memory counts on
        state = build_graph().invoke({"picture": store.put(damaged(noise=60))}, context=first)
        kept = [c["draw"]["dose"] for c in state["steps"][0]["candidates"] if c["accepted"]]
        doses = [c["draw"]["dose"] for c in state["steps"][0]["candidates"]]
    assert sorted(doses) == [40, 70, 100] and kept
    later = context(store=store, strategy="one-pass", memory=memory)
    state = build_graph().invoke({"picture": store.put(damaged(noise=60))}, context=later)
    proposal, (candidate,) = state["steps"][0]["proposal"], state["steps"][0]["candidates"]
    assert ("was kept on 2 of 2 pictures" in proposal["why"]) == memory
    assert candidate["draw"]["dose"] == (proposal["dose"] if memory else 100)
