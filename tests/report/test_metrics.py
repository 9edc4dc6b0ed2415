"""Statistics against published and hand-computed numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench.report.metrics import (
    accuracy_interval,
    expected_calibration_error,
    log_loss,
    mcnemar,
    per_class,
    reliability,
)


def paired(both, only_first, only_second, neither):
    """Build labels and two predictions with the given counts."""
    first = np.repeat([0, 0, 1, 1], [both, only_first, only_second, neither])
    second = np.repeat([0, 1, 0, 1], [both, only_first, only_second, neither])
    return np.zeros(len(first), dtype=int), first, second


def test_wilson_interval_of_a_known_case():
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I: 81 of 263.
    assert accuracy_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert accuracy_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_accuracy_within_zero_and_one(case):
    n_correct, n = case
    low, high = accuracy_interval(n_correct, n)
    assert 0 <= low <= n_correct / n + 1e-12
    assert n_correct / n - 1e-12 <= high <= 1


def test_wilson_interval_refuses_more_hits_than_rows():
    with pytest.raises(ValueError, match="k"):
        accuracy_interval(11, 10)


def test_log_loss_with_a_class_that_is_absent_from_y():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]])
    assert log_loss(probabilities, np.array([0, 0])) == pytest.approx((np.log(2) + np.log(4)) / 2)


def test_calibration_error_by_hand():
    # Two bins of ten: (0.6, 0.7] holds confidence 0.7 twice, one right; (0.8, 0.9] holds 0.9 twice, both right.
    probabilities = np.array([[0.7, 0.3], [0.3, 0.7], [0.9, 0.1], [0.1, 0.9]])
    y = np.array([0, 0, 0, 1])
    assert expected_calibration_error(probabilities, y, n_bins=10) == pytest.approx(0.5 * 0.2 + 0.5 * 0.1)


def test_calibration_error_is_0_for_sure_and_right_1_for_sure_and_wrong():
    y = np.array([0, 1, 2])
    assert expected_calibration_error(np.eye(3), y) == 0
    assert expected_calibration_error(np.eye(3), (y + 1) % 3) == 1


def test_rows_are_counted_by_confidence_with_the_share_that_is_right():
    probabilities = np.array([[0.7, 0.3], [0.35, 0.65], [0.9, 0.1], [0.1, 0.9]])
    low, high = reliability(probabilities, np.array([0, 0, 0, 1]))
    assert low == pytest.approx((0.6, 2, 0.675, 0.5, *accuracy_interval(1, 2)))
    assert high == pytest.approx((0.8, 2, 0.9, 1.0, *accuracy_interval(2, 2)))


def test_the_gaps_of_the_bins_make_the_calibration_error():
    probabilities = np.random.default_rng(0).dirichlet([0.5] * 4, 500)
    y = np.arange(500) % 4
    gaps = [each.rows * abs(each.accuracy - each.confidence) for each in reliability(probabilities, y, 15)]
    assert sum(gaps) / 500 == pytest.approx(expected_calibration_error(probabilities, y))


def test_calibration_bins_are_closed_above():
    # 0.6 belongs to (0.4, 0.6] and 0.7 to (0.6, 0.8]; in one bin the two gaps would cancel to 0.15.
    probabilities = np.array([[0.6, 0.4], [0.7, 0.3]])
    assert expected_calibration_error(probabilities, np.array([0, 1]), n_bins=5) == pytest.approx((0.4 + 0.7) / 2)


def test_mcnemar_p_value_is_the_exact_binomial_one():
    found = mcnemar(*paired(both=50, only_first=6, only_second=2, neither=3))
    # 2 * (C(8,0) + C(8,1) + C(8,2)) / 2**8
    assert found.p_value == pytest.approx(2 * (1 + 8 + 28) / 256)
    assert (found.only_first_correct, found.only_second_correct) == (6, 2)
    assert found.difference == pytest.approx(4 / 61)
    assert found.low < found.difference < found.high


def test_mcnemar_interval_is_tangos_as_published():
    # Airway hyper-responsiveness (Bentur et al., 2009) in Fagerland, Lydersen and Laake (2014), table IV.
    found = mcnemar(*paired(both=1, only_first=1, only_second=7, neither=12))
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)
    assert found.p_value == pytest.approx(0.0703, abs=5e-5)


def test_mcnemar_of_equal_predictions_has_no_difference_but_an_interval():
    found = mcnemar(*paired(both=90, only_first=0, only_second=0, neither=10))
    assert (found.p_value, found.difference) == (1.0, 0.0)
    z2 = 1.959963984540054**2
    assert (found.low, found.high) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)))


@given(st.tuples(*[st.integers(0, 40)] * 4).filter(sum))
def test_mcnemar_is_antisymmetric_and_bounded(counts):
    y, first, second = paired(*counts)
    one, other = mcnemar(y, first, second), mcnemar(y, second, first)
    assert one.p_value == pytest.approx(other.p_value)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-7)
    assert -1 <= one.low <= one.difference <= one.high <= 1


def test_per_class_has_nan_where_a_score_is_not_defined():
    scores = per_class(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    np.testing.assert_array_equal(scores.precision, [1, 0.5, np.nan])
    np.testing.assert_array_equal(scores.recall, [0.5, 1, np.nan])
    np.testing.assert_array_equal(scores.support, [2, 1, 0])
