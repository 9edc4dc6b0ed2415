"""Rows as the members of an ensemble get them: frames with their columns' names, or arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import sklearn.pipeline
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing, check_consistent_length, get_tags
from sklearn.utils.validation import _check_feature_names, _check_n_features, validate_data

from fmnist_bench.data.pixels import as_rows

REFUSED = "[]<"  # by XGBoost in the names of columns


def check_table(owner: Any, X: Any, y: Any = None, *, fitting: bool = False) -> Any:
    """Check rows, and labels where `fitting`; the columns of a frame stay what they are, words too.

    Parameters
    ----------
    owner : estimator
        Whose columns they are, or become.
    X : array-like, frame or images
    y : array-like
    fitting : bool

    Returns
    -------
    DataFrame or ndarray; with labels, a tuple of both

    Raises
    ------
    ValueError
    """
    if isinstance(X, pd.DataFrame) and len(X) and X.shape[1]:
        labels = validate_data(owner, "no_validation", y) if fitting else None  # also forgets earlier names
        _check_feature_names(owner, X, reset=fitting)
        _check_n_features(owner, X, reset=fitting)
        if not fitting:
            return X
        check_consistent_length(X, labels)
        return X, labels
    finite = not get_tags(owner).input_tags.allow_nan
    given = (as_rows(X), y) if fitting else (as_rows(X),)
    return validate_data(owner, *given, reset=fitting, ensure_all_finite=finite)


def numbers_of(X: Any) -> NDArray[Any]:
    """The table as numbers; if some columns are not numeric, one hash for each row."""
    array = np.asarray(X)
    return array if array.dtype.kind in "buif" else pd.util.hash_pandas_object(X, index=False).to_numpy()[:, None]


def part_of(X: Any, rows: NDArray[np.int64] | slice) -> Any:
    """Take some rows of a table."""
    return _safe_indexing(X, rows)


def to_fit(estimator: Any, X: Any, names: NDArray[Any] | None) -> Any:
    """Give rows as this estimator is fitted on them: a frame where they came in one.

    XGBoost refuses some names, and that two columns share one: it gets an array then.
    """
    if not isinstance(X, pd.DataFrame) and names is not None:
        X = pd.DataFrame(X, columns=names, copy=False)  # they came in a frame of another kind
    is_xgboost = any(kind.__module__.startswith("xgboost.") for kind in type(first_step(estimator)).__mro__)
    return X.to_numpy() if isinstance(X, pd.DataFrame) and is_xgboost and _are_refused(list(X.columns)) else X


def to_predict(estimator: Any, X: Any) -> Any:
    """Give rows as this estimator was fitted on them."""
    names = names_of(estimator)
    if isinstance(X, pd.DataFrame):
        was_array = names is None and hasattr(first_step(estimator), "n_features_in_")
        return X.to_numpy() if was_array else X
    return X if names is None else pd.DataFrame(X, columns=names, copy=False)


def names_of(estimator: Any) -> NDArray[Any] | None:
    """Names of the columns that an estimator was fitted on."""
    return getattr(first_step(estimator), "feature_names_in_", None)


def first_step(estimator: Any) -> Any:
    """Find what sees the columns: of a pipeline the first step that is none to skip."""
    while isinstance(estimator, sklearn.pipeline.Pipeline):
        estimator = next((step for _, step in estimator.steps if step not in (None, "passthrough")), None)
    return estimator


def _are_refused(names: Sequence[Any]) -> bool:
    return len(set(names)) < len(names) or any(set(REFUSED) & set(str(name)) for name in names)


def common_names(members: Sequence[tuple[str, Any]]) -> NDArray[Any] | None:
    """Names of the columns that members were fitted on, where some were on a frame.

    Raises
    ------
    ValueError
        Where they are not the same for all of these.
    """
    found = {name: list(names) for name, each in members if (names := names_of(each)) is not None}
    first = next(iter(found), None)
    if other := [name for name in found if first is not None and found[name] != found[first]]:
        raise ValueError(f"members: {', '.join(other)} and {first} were fitted on different columns")
    return None if first is None else np.array(found[first], dtype=object)


def aligned(estimator: Any, X: Any, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities in the columns of `classes`; zero for a class that the estimator has not seen."""
    found = np.zeros((len(X), len(classes)))
    found[:, np.searchsorted(classes, estimator.classes_)] = estimator.predict_proba(to_predict(estimator, X))
    return found
