"""What the reasoner's training makes in a second of processor time, by the training itself."""

from __future__ import annotations

import numpy as np
import pytest


def test_the_reasoner_is_timed_by_its_own_training(photographs: dict[str, np.ndarray]):
    pytest.importorskip("trl", reason="the `train` extra is not installed")
    from rnr.evaluation.training_speed import reasoner

    assert 0.1 < reasoner([photographs["coffee"]], seconds=1) < 1000
