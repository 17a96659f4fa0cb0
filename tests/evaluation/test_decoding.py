"""Two ways of decoding the same language with the same weights write the same tokens."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("xgrammar", reason="xgrammar belongs to the extra bench")


def test_skeleton_and_constrained_generate_agree(small: dict[str, np.ndarray]):
    """Trained weights: untrained ones may spell a word letter by letter where the grammar lets them."""
    from rnr.evaluation.decoding import compare, summary
    from rnr.reasoner.reasoner import Reasoner

    rows = compare(Reasoner.from_pretrained(), list(small.values())[:1])
    figures = {row["figure"]: row for row in summary(rows).rows}
    assert float(str(figures["identical tokens, %"]["skeleton"])) > 95
    assert figures["valid, %"]["generate"] == 100
    assert float(str(figures["forward passes"]["skeleton"])) < float(str(figures["forward passes"]["generate"]))


def test_untrained_weights_write_valid_diagnoses(small: dict[str, np.ndarray]):
    from rnr.evaluation.random_weights import validity

    row = validity(list(small.values()), 3, seed=1).rows[0]
    assert (row["valid"], row["different"], row["first error"]) == (3, 3, "")
