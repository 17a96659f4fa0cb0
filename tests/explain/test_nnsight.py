"""nnsight from outside, on our model as it is: the same states by the same names, and the same patch."""

from __future__ import annotations

import pytest
import torch

from rnr.explain import Internals, Run
from tests.explain.conftest import Damaged

nnsight = pytest.importorskip("nnsight", reason="the extra `explain` is not installed")


def test_nnsight_sees_the_states_of_a_field(built_in: Internals, run: Run, damaged: Damaged) -> None:
    model = nnsight.NNsight(built_in.reasoner.model)
    with torch.no_grad(), model.trace(**built_in.arguments(run, damaged.picture)):
        states = model.model.language_model.layers[2].input.save()
    asked = run.script.place("haze.severity").asked
    assert torch.allclose(states[0, asked], run.hidden("haze.severity", 2), atol=1e-3)


def test_nnsight_patches_what_our_hooks_patch(built_in: Internals, run: Run, clean_run: Run, damaged: Damaged) -> None:
    """The state at a question, from the clean picture: the logits are those of `Internals.patch`."""
    ours = built_in.patch(run, damaged.picture, clean_run, "noise.present", 2)
    place, source = run.script.place("noise.present").asked, clean_run.hidden("noise.present", 2)
    model = nnsight.NNsight(built_in.reasoner.model)
    with torch.no_grad(), model.trace(**built_in.arguments(run, damaged.picture)):
        model.model.language_model.layers[2].input[0, place] = source
        logits = model.lm_head.output.save()
    assert torch.allclose(logits[0].float(), ours.logits, atol=1e-3)
    assert not torch.allclose(ours.logits, run.logits, atol=1e-2)
