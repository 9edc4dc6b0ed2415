"""What a classifier predicts, checked where it is predicted: a column a class, in their order, rows that sum to one."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_bench._utils.errors import PredictionError
from fmnist_bench._utils.files import replacing

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


def save_probabilities(path: Path, probabilities: NDArray[Any]) -> None:
    """Write class probabilities in two bytes each, so that those of many models may be kept: their natural logarithms.

    As float16 these are right to 0.1 % above 0.02 and to 1.6 % below. The probabilities themselves would become 0 below
    3e-8, and change the log loss of a model that is too sure of itself. Each row keeps its class.

    Parameters
    ----------
    path : Path
        Is written whole or not at all.
    probabilities : ndarray of shape (n, n_classes)
        0 to 1.
    """
    with np.errstate(divide="ignore"):  # 0 becomes minus infinity, and 0 again
        logs = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), 0.0)).astype(np.float16)
    classes = np.argmax(probabilities, axis=1)
    tied = np.flatnonzero(logs.argmax(axis=1) != classes)
    logs[tied, classes[tied]] = np.nextafter(logs[tied, classes[tied]], np.float16(1))
    with replacing(path) as temporary:
        np.save(temporary, logs, allow_pickle=False)


def read_probabilities(path: Path, n_rows: int, n_classes: int) -> NDArray[np.float32] | None:
    """Read what `save_probabilities` wrote, of shape (n_rows, n_classes); None where there is nothing whole."""
    try:
        with np.errstate(over="ignore"):  # of a damaged file
            found = np.exp(np.load(path, allow_pickle=False), dtype=np.float32)
        check_probabilities(found, n_rows, n_classes)
    except (OSError, ValueError, EOFError, TypeError):
        return None
    return np.asarray(found / found.sum(axis=1, keepdims=True))
