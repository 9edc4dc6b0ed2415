"""The statistics of a report: intervals, calibration, paired comparison, scores by class.

Labels are column numbers of the probability matrix, 0 to `n_classes` - 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, norm
from sklearn import metrics as sk

Array = NDArray[Any]


def accuracy_interval(n_correct: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Give the score interval of an accuracy (Wilson, 1927).

    Parameters
    ----------
    n_correct : int
        Rows that were classified correctly, 0 to `n`.
    n : int
        Rows in all, at least 1.
    level : float
        Confidence level between 0 and 1.

    Returns
    -------
    tuple of float
        Lower and upper end, within 0 and 1.

    Raises
    ------
    ValueError
        If `n_correct` is not between 0 and `n`, or `n` is 0.

    Examples
    --------
    >>> low, high = accuracy_interval(9450, 10000)
    >>> print(f"{low:.2%} to {high:.2%}")
    94.04% to 94.93%
    """
    interval = binomtest(int(n_correct), int(n)).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def log_loss(probabilities: Array, y: Array) -> float:
    """Give scikit-learn's log loss in nats, also where `y` lacks some of the classes.

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_classes)
        Rows sum to 1.
    y : ndarray of int, shape (n,)
        True labels.

    Returns
    -------
    float
        Mean negative log-likelihood of a row; 0 is best.
    """
    exact = probabilities.astype(np.float64)  # float32 rows sum to one only nearly
    exact /= exact.sum(axis=1, keepdims=True)
    return float(sk.log_loss(y, exact, labels=np.arange(probabilities.shape[1])))


class ConfidenceBin(NamedTuple):
    """Rows of similar confidence: the bin's lower edge, their number, mean confidence, accuracy and its 95 % interval.

    All but the number of rows are shares between 0 and 1.
    """

    above: float
    rows: int
    confidence: float
    accuracy: float
    low: float
    high: float


def expected_calibration_error(probabilities: Array, y: Array, n_bins: int = 15) -> float:
    """Give the mean gap between confidence and accuracy over bins of equal width (Guo et al., 2017).

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_classes)
        Rows sum to 1; a row's confidence is its largest entry.
    y : ndarray of int, shape (n,)
        True labels.
    n_bins : int
        Bins ((m - 1) / n_bins, m / n_bins].

    Returns
    -------
    float
        Between 0 (calibrated) and 1, each bin weighted by its rows.
    """
    confidence, correct, bins = _binned(probabilities, y, n_bins)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(y))


def reliability(probabilities: Array, y: Array, n_bins: int = 10) -> list[ConfidenceBin]:
    """Tell how often rows are right of which a model is about equally sure.

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_classes)
        Rows sum to 1; a row's confidence is its largest entry.
    y : ndarray of int, shape (n,)
        True labels.
    n_bins : int
        Bins ((m - 1) / n_bins, m / n_bins].

    Returns
    -------
    list of ConfidenceBin
        Those that hold a row, the least sure first.
    """
    confidence, correct, bins = _binned(probabilities, y, n_bins)
    counted = []
    for number in np.unique(bins):
        inside = bins == number
        rows, right = int(inside.sum()), int(correct[inside].sum())
        interval = accuracy_interval(right, rows)
        counted.append(ConfidenceBin(number / n_bins, rows, float(confidence[inside].mean()), right / rows, *interval))
    return counted


def _binned(probabilities: Array, y: Array, n_bins: int) -> tuple[Array, Array, Array]:
    """Give the confidence of each row, whether it is right, and the number of its bin, closed above."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = np.digitize(confidence, np.linspace(0, 1, n_bins + 1)[1:-1], right=True)
    return confidence, probabilities.argmax(axis=1) == y, bins


@dataclass(frozen=True)
class McNemarResult:
    """Two classifiers on the same rows; `difference` is the first one's accuracy minus the second one's.

    `low` and `high` bound the difference with 95 % confidence; `p_value` is two-sided.
    """

    only_first_correct: int
    only_second_correct: int
    p_value: float
    difference: float
    low: float
    high: float


def mcnemar(y: Array, first_pred: Array, second_pred: Array) -> McNemarResult:
    """Compare two classifiers on the same rows.

    The test is McNemar's (1947) in its exact binomial form; the interval is Tango's score interval
    for paired proportions (1998), which keeps its coverage where few rows tell the two apart.

    Parameters
    ----------
    y, first_pred, second_pred : ndarray of int, shape (n,)
        True labels and the two predictions, at least one row.

    Returns
    -------
    McNemarResult
        Counts of the rows that only one got right, p-value, difference and its 95 % interval.
    """
    first, second = first_pred == y, second_pred == y
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    p_value = float(binomtest(b, b + c).pvalue) if b + c else 1.0
    low, high = _tango(b, c, len(y))
    return McNemarResult(b, c, p_value, (b - c) / len(y), low, high)


def _tango(b: int, c: int, n: int, level: float = 0.95) -> tuple[float, float]:
    z2 = float(norm.ppf(0.5 + level / 2)) ** 2

    def excess(delta: float) -> float:
        # The squared score statistic minus its quantile, times its variance: no division where that is zero.
        half = (2 * n - b + c) * delta - b - c
        root = math.sqrt(max(0.0, half * half + 8 * n * c * delta * (1 - delta)))
        share = (root - half) / (4 * n)
        return (b - c - n * delta) ** 2 - z2 * n * (2 * share + delta * (1 - delta))

    centre, step = (b - c) / n, 1e-9  # the centre itself is a false root where the variance is zero
    low = brentq(excess, -1.0, centre - step) if centre > step - 1 else -1.0
    high = brentq(excess, centre + step, 1.0) if centre < 1 - step else 1.0
    return float(low), float(high)


def scores(probabilities: Array, y: Array) -> dict[str, float]:
    """Give accuracy, its interval (`low`, `high`), log loss and calibration error of class probabilities by name."""
    n_correct = int((probabilities.argmax(axis=1) == y).sum())
    low, high = accuracy_interval(n_correct, len(y))
    losses = {"log_loss": log_loss(probabilities, y), "calibration_error": expected_calibration_error(probabilities, y)}
    return {"accuracy": n_correct / len(y), "low": low, "high": high, **losses}


@dataclass(frozen=True)
class PerClass:
    """Scores by class, arrays of shape (n_classes,); NaN where a score is not defined."""

    precision: Array
    recall: Array
    support: Array


def per_class(y: Array, pred: Array, n_classes: int) -> PerClass:
    """Give precision, recall and the number of true rows of each class.

    Parameters
    ----------
    y, pred : ndarray of int, shape (n,)
        True and predicted labels, 0 to `n_classes` - 1.
    n_classes : int
        Number of classes, present or not.

    Returns
    -------
    PerClass
        Precision is NaN for a class never predicted, recall for a class without rows.
    """
    precision, recall, _, support = sk.precision_recall_fscore_support(
        y, pred, labels=np.arange(n_classes), zero_division=np.nan
    )
    return PerClass(precision, recall, support)
