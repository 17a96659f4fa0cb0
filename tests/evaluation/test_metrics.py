"""Scores on examples that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnr.evaluation import metrics


def test_presence_counts_hits_misses_and_inventions():
    truth = [True, True, True, False, False]
    said = [True, True, False, True, False]
    assert metrics.presence(truth, said) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_presence_of_nothing_is_unscored():
    score = metrics.presence([False, False], [False, False])
    assert all(math.isnan(value) for value in score)


def test_f1_is_zero_and_not_unscored_where_everything_was_missed():
    assert metrics.presence([True], [False]).f1 == 0


def test_calibration_error_by_hand():
    """Two bins: 4 at 0.25 of which half are true (off by 0.25), 1 at 0.9 that is true (off by 0.1)."""
    probability, truth = [0.25] * 4 + [0.9], [True, True, False, False, True]
    assert metrics.calibration_error(probability, truth) == pytest.approx((4 * 0.25 + 0.1) / 5)
    assert [row.findings for row in metrics.reliability(probability, truth)] == [4, 1]


def test_probability_one_falls_into_the_last_bin():
    assert metrics.reliability([1.0, 0.95], [True, True]) == [metrics.Bin(0.975, 1.0, 2)]


def test_spearman_by_hand_with_ties():
    # ranks 1.5 1.5 3 4 and 1 2 3.5 3.5: covariance 4, variances 4.5 and 4.5
    assert metrics.spearman([5, 5, 6, 7], [1, 2, 3, 3]) == pytest.approx(4 / 4.5)


def test_spearman_by_hand():
    assert metrics.spearman([1, 2, 3, 4], [10, 100, 1000, 10_000]) == pytest.approx(1)
    assert metrics.spearman([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)
    assert math.isnan(metrics.spearman([1, 1, 1], [1, 2, 3]))


def test_coverage_counts_both_ends():
    assert metrics.coverage([(10, 20), (10, 20), (10, 20), (0, 1)], [10, 20, 20.5, 0.5]) == 0.75


def test_worst_twentieth_is_the_mean_of_the_lowest():
    values = [*range(40, 78), 30.0, math.inf]  # 40 values: the lowest two
    assert metrics.worst_twentieth(values) == pytest.approx(35)
    assert metrics.worst_twentieth([math.inf]) == 60


def test_spectrum_of_white_noise_is_flat_at_its_variance():
    noise = np.random.default_rng(0).normal(0, 0.1, (128, 192))
    spectrum = metrics.radial_spectrum(noise)
    assert np.abs(spectrum[2:] - 10 * math.log10(0.01)).max() < 1.5


def test_spectrum_distance_grows_with_lost_texture():
    import cv2

    texture = np.random.default_rng(0).uniform(0, 1, (96, 96))
    soft, softer = (cv2.GaussianBlur(texture, (0, 0), sd) for sd in (0.5, 1.5))
    assert metrics.spectrum_distance(texture, texture) == 0
    assert 0 < metrics.spectrum_distance(soft, texture) < metrics.spectrum_distance(softer, texture)
