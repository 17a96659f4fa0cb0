"""A probe finds what is there, and its control finds nothing."""

from __future__ import annotations

import numpy as np
import pytest

from rnr.degradation.errors import Error
from rnr.explain import auroc, bootstrap, fit_probe, mean_of


def test_a_probe_reads_a_direction_and_its_control_none() -> None:
    rng = np.random.default_rng(0)
    x_ND = rng.normal(size=(80, 20))
    x_ND[:, 0] *= 8
    probe = fit_probe(x_ND, x_ND[:, 0] + rng.normal(size=80))
    assert probe.score.low > 0.8 and probe.control.low < 0 < probe.control.high
    assert np.corrcoef(probe(x_ND), x_ND[:, 0])[0, 1] > 0.8


def test_labels_of_two_values_are_scored_by_auroc() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 2
    probe = fit_probe(rng.normal(size=(60, 8)) + 2 * labels[:, None], labels)
    assert probe.score.value > 0.95 and probe.control.low < 0.5 < probe.control.high


def test_no_information_no_score() -> None:
    rng = np.random.default_rng(2)
    probe = fit_probe(rng.normal(size=(40, 80)), rng.normal(size=40))  # more features than samples
    assert probe.score.low < 0.1


def test_too_little_is_refused() -> None:
    with pytest.raises(Error, match="10 samples"):
        fit_probe(np.zeros((4, 2)), [1, 2, 3, 4])
    with pytest.raises(Error, match="different targets"):
        fit_probe(np.zeros((20, 2)), [1] * 20)


def test_statistics() -> None:
    assert auroc([2, 3], [0, 1]) == 1 and auroc([1], [1]) == 0.5 and np.isnan(auroc([], [1]))
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(60):
        found = mean_of(list(rng.normal(size=30)), trial)
        covered += found.low <= 0 <= found.high
    assert covered >= 50  # 95% of 60 is 57; under 50 has a chance of 1 in 1000
    nothing = bootstrap([], lambda drawn: 0.0)
    assert nothing.n == 0 and np.isnan(nothing.value)
