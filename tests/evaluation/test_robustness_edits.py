"""Edits of evidence: which words are forced, and what is counted, with the built-in reasoner."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnr.degradation.kind import kind_named
from rnr.degradation.synthesize import degrade, prescribe
from rnr.evaluation.robustness_edits import FORMS, Form, Moved, edits_of, edits_table, moved
from rnr.evaluation.samples import Batch
from rnr.reasoner import Reasoner
from rnr.reasoner.data import FAR, SHIFT, UNTAUGHT

NAMES = ["noise", "haze"]


@pytest.fixture
def batch(photographs: dict[str, np.ndarray]) -> Batch:
    """One crop with noise and haze of severity 45."""
    clean = torch.from_numpy(photographs["coffee"][:160, :160].copy()).permute(2, 0, 1)[None] / 255
    mixture = prescribe(dict.fromkeys(NAMES, 45), seed=3)
    return Batch(clean, degrade(clean, mixture), mixture, NAMES)


def test_kept_out_edits_lie_beyond_those_of_the_training():
    assert FAR[0] > SHIFT[1] and not FORMS["far, one kind"].together


def test_only_the_named_kind_moves(batch: Batch):
    other = moved(batch.mixture, ["noise"], 20)
    assert float(other.severity("noise") - batch.mixture.severity("noise")) == pytest.approx(20, abs=1)
    assert torch.equal(other.severity("haze"), batch.mixture.severity("haze"))


def test_one_kinds_word_or_all(batch: Batch):
    (alone,), (together,) = (edits_of(batch, FORMS[name], NAMES) for name in ("far, one kind", "near, all kinds"))
    assert {(edit.way, *edit.kinds) for edit in alone} == {(way, kind) for way in (-1, 1) for kind in NAMES}
    assert all(list(edit.words) == [f"findings.{edit.kinds[0]}.evidence"] for edit in alone)
    assert [(edit.way, *edit.kinds, len(edit.words)) for edit in together] == [(-1, *NAMES, 2), (1, *NAMES, 2)]
    texts = kind_named("noise").measurement.texts
    less, more = (texts.index(edit.words["findings.noise.evidence"]) for edit in alone if edit.kinds == ["noise"])
    assert less < more, "more noise is measured as more"


def test_an_edit_beyond_a_kinds_reach_is_left_out(batch: Batch):
    (edits,) = edits_of(batch, Form((80, 90)), NAMES)
    assert edits == []


def test_rows_by_hand():
    row = Moved([(1, 4.0), (-1, -2.0), (-1, 3.0)], [6.0]).row()
    assert (row["n"], row["moves by"], row["range"]) == (3, 1.0, 6.0)
    assert row["right way %"] == pytest.approx(200 / 3)


def test_the_built_in_reasoner_hears_its_evidence(batch: Batch):
    reasoner = Reasoner.from_pretrained("built-in")
    names = reasoner.kinds
    rows = edits_table(reasoner, [Batch(batch.clean_BCHW, batch.degraded_BCHW, batch.mixture, names)]).rows
    assert len(rows) == len(FORMS) * (len(names) + 1)
    assert not any(row["shown"] for row in rows if row["evidence of"] in UNTAUGHT or row["edit"] != "near, all kinds")
    moves = {(row["edit"], row["evidence of"]): row for row in rows}
    assert moves["far, one kind", "noise"]["n"] == 2 and moves["far, one kind", "blur"]["n"] == 0
    assert abs(float(str(moves["far, one kind", "noise"]["range"]))) > 0
