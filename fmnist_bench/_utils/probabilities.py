"""What a classifier predicts, checked where it is predicted: a column a class, in their order, rows that sum to one."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_bench._utils.errors import PredictionError

BELOW_ZERO = 1e-3  # what rounding may leave below zero
SUM = 0.05  # by which the sum of a row may miss one: networks compute in few digits
UNLIKE = 0.05  # by which probabilities may differ that were computed in batches of other sizes


def check_classes(found: ArrayLike, classes: NDArray[Any]) -> None:
    """Refuse a classifier whose classes are not those of the rows that it learnt from.

    Parameters
    ----------
    found : array-like
        The ``classes_`` of the classifier, in any order.
    classes : ndarray of shape (n_classes,)
        Of the rows, sorted.

    Raises
    ------
    PredictionError
    """
    known = np.asarray(found)
    if known.shape != classes.shape:
        raise PredictionError(f"predicts {known.size} classes, the data have {len(classes)}")
    if not np.array_equal(np.sort(known), classes):
        raise PredictionError("its classes_ are others than those of the data")


def as_probabilities(found: ArrayLike, n_rows: int, classes: ArrayLike) -> NDArray[np.float64]:
    """Check what ``predict_proba`` returned, and put its columns into the sorted order of the classes.

    Parameters
    ----------
    found : array-like
        One column for each of `classes`.
    n_rows : int
        How many rows were to be predicted.
    classes : array-like of shape (n_classes,)
        The ``classes_`` of the classifier, in any order.

    Returns
    -------
    ndarray of shape (n_rows, n_classes), float64
        0 to 1, each row sums to one.

    Raises
    ------
    PredictionError
        Where these are no probabilities: other shapes, not finite, below zero, sums that are not about one.
    """
    order, values = np.argsort(np.asarray(classes)), np.asarray(found, dtype=np.float64)
    check_probabilities(values, n_rows, len(order))
    values = np.maximum(values[:, order], 0.0)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def check_probabilities(values: NDArray[Any], n_rows: int, n_classes: int) -> None:
    """Refuse what is no table of class probabilities of so many rows.

    Raises
    ------
    PredictionError
    """
    if values.ndim != 2:
        raise PredictionError(f"predicts an array of shape {values.shape}, not rows of class probabilities")
    if len(values) != n_rows:
        raise PredictionError(f"predicts {len(values)} rows for {n_rows}")
    if values.shape[1] != n_classes:
        raise PredictionError(f"predicts {values.shape[1]} classes, the data have {n_classes}")
    if not np.isfinite(values).all():
        raise PredictionError("predicts probabilities that are not finite")
    if (least := values.min(initial=0.0)) < -BELOW_ZERO:
        raise PredictionError(f"predicts probabilities below zero, such as {least:.3g}")
    sums = values.sum(axis=1, dtype=np.float64)
    if (wrong := np.flatnonzero(np.abs(sums - 1) > SUM)).size:
        raise PredictionError(f"predicts probabilities of a row that sum to {sums[wrong[0]]:.3g}, not to one")


def check_alike(found: NDArray[Any], before: NDArray[Any]) -> None:
    """Refuse a model that predicts something else than it did before it was saved.

    Raises
    ------
    PredictionError
    """
    if found.shape != before.shape or not np.allclose(found, before, rtol=0, atol=UNLIKE):
        raise PredictionError("predicts something else after it was saved and loaded")
