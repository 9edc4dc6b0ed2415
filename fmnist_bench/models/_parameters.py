"""Values that parameters of networks may have."""

from __future__ import annotations

from typing import Any

from ._backend import check_precision

OPTIMIZERS = ("sgd", "adamw")


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
    if estimator.max_seconds is not None and not estimator.max_seconds > 0:
        raise ValueError(f"max_seconds={estimator.max_seconds!r}: must be above 0 or None")
    check_precision(estimator.precision)
