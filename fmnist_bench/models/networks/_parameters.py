"""Values that parameters of networks may have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight

from fmnist_bench.models.networks._backend import check_precision

OPTIMIZERS = ("sgd", "adamw", "muon")


def check_least(estimator: Any, **least: float) -> None:
    """Refuse parameters below these values.

    Raises
    ------
    ValueError
    """
    for name, low in least.items():
        if not getattr(estimator, name) >= low:
            raise ValueError(f"{name}={getattr(estimator, name)!r}: must be at least {low}")


def check_shares(estimator: Any, *names: str) -> None:
    """Refuse parameters that are not from 0 to below 1.

    Raises
    ------
    ValueError
    """
    for name in names:
        if not 0 <= getattr(estimator, name) < 1:
            raise ValueError(f"{name}={getattr(estimator, name)!r}: must be from 0 to below 1")


def check_training(estimator: Any) -> None:
    """Refuse what a `KerasClassifier` cannot train with.

    Raises
    ------
    ValueError
    """
    check_least(estimator, epochs=1, batch_size=1, shift=0, weight_decay=0)
    check_shares(estimator, "warm_up", "label_smoothing")
    if estimator.optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer={estimator.optimizer!r}: must be one of {', '.join(OPTIMIZERS)}")
    if estimator.patience is not None:
        check_least(estimator, patience=1)
    if not 0 <= estimator.erase <= 1:
        raise ValueError(f"erase={estimator.erase!r}: must be from 0 to 1")
    if not estimator.learning_rate > 0:
        raise ValueError(f"learning_rate={estimator.learning_rate!r}: must be above 0")
    check_precision(estimator.precision)


def row_weights(
    class_weight: Any, sample_weight: ArrayLike | None, rows: NDArray[Any], labels: NDArray[Any]
) -> NDArray[np.float32] | None:
    """Give what the loss of each row is multiplied by: 1 in the mean, so that the learning rate keeps its meaning.

    Parameters
    ----------
    class_weight : "balanced", dict or None
    sample_weight : array-like of shape (n,) or None
    rows, labels : ndarray

    Returns
    -------
    ndarray of shape (n,), or None
        None where all weigh the same.

    Raises
    ------
    ValueError
        Weights below zero, none above it, or not one for each row.
    """
    if class_weight is None and sample_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
    weights = weights * compute_sample_weight(class_weight, labels)
    if not weights.sum() > 0:
        raise ValueError("sample_weight, class_weight: the weights of all rows are zero")
    result: NDArray[np.float32] = (weights / weights.mean()).astype(np.float32)
    return result
