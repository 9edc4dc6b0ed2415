"""Members of an ensemble: the rows they learn from, their training, and their probabilities in one order of classes."""

import warnings
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np
import sklearn.pipeline
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metadata_routing import _raise_for_params, process_routing
from sklearn.utils.parallel import Parallel, delayed  # joblib's own does not carry the configuration into threads
from sklearn.utils.validation import _check_method_params

from fmnist_bench.ensemble.tables import part_of, to_fit
from fmnist_bench.pipeline import Pipeline, takes, tell_image_shape

Members = Sequence[tuple[str, Any]]


def default_estimators(random_state: Any) -> Members:
    """Default estimators, which suit any table of numbers."""
    return [
        ("logistic_regression", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))),
        ("random_forest", RandomForestClassifier(random_state=random_state)),
        ("extra_trees", ExtraTreesClassifier(random_state=random_state)),
    ]


def hold_out(
    codes: NDArray[np.integer[Any]], valid_size: float, random_state: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into a part to train members on, in which every class is, and a stratified rest.

    Parameters
    ----------
    codes : ndarray of shape (n,)
        Classes, from 0.
    valid_size : float
        Share of the rest, between 0 and 1.
    random_state : int, RandomState or None

    Returns
    -------
    fit, valid : ndarray of int64
        Row numbers; the same array of all rows twice, with a warning, where either part would be smaller than the
        number of classes.
    """
    counts = np.bincount(codes)
    alone = counts[codes] == 1
    rows, n_classes = np.flatnonzero(~alone), int((counts > 1).sum())
    n_valid = max(round(valid_size * len(rows)), n_classes)
    if not n_classes or len(rows) - n_valid < n_classes:
        warnings.warn("too few rows to hold any out: the members are chosen on those they learn from", stacklevel=3)
        return (whole := np.arange(len(codes))), whole
    fit, valid = train_test_split(rows, test_size=n_valid, stratify=codes[rows], random_state=random_state)
    _, first = np.unique(codes[valid], return_index=True)
    lost = first[~np.isin(codes[valid[first]], codes[fit])]  # a class of few rows may be in the other part alone
    return np.concatenate([fit, valid[lost], np.flatnonzero(alone)]), np.delete(valid, lost)


def routed(owner: Any, metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the metadata for the `fit` of each member of `owner` that has asked for some, by its name.

    Raises
    ------
    ValueError
        Where there are some and scikit-learn's metadata routing is not enabled.
    """
    _raise_for_params(metadata, owner, "fit")
    return {name: each.fit for name, each in process_routing(owner, "fit", **metadata).items()} if metadata else {}


def train(
    members: Members,
    X: Any,
    y: NDArray[Any],
    rows: NDArray[np.int64],
    *,
    metadata: Mapping[str, dict[str, Any]],
    image_shape: tuple[int, ...] | None,
    n_jobs: int | None,
    names: NDArray[Any] | None = None,
    validation_data: tuple[Any, NDArray[Any]] | None = None,
) -> list[tuple[str, Any]]:
    """Fit clones of estimators on some of the rows, side by side.

    They get columns under these `names`. Those that have no `image_shape` of their own get this one, those that declare
    ``takes_validation_data`` these, each the `metadata` under its name.
    """
    clones = [(name, tell_image_shape(clone(estimator), image_shape)) for name, estimator in members]

    def fit(name: str, estimator: Any) -> tuple[str, Any]:
        given = _check_method_params(X, metadata.get(name, {}), rows)
        if validation_data is not None and takes(estimator, "validation_data"):
            X_valid, y_valid = validation_data
            given.setdefault("validation_data", (to_fit(estimator, X_valid, names), y_valid))
        return name, estimator.fit(to_fit(estimator, part_of(X, rows), names), y[rows], **given)

    return list(Parallel(n_jobs, prefer="threads")(delayed(fit)(*pair) for pair in clones))


def check_fitted(members: Members, probabilities: NDArray[Any], y: NDArray[Any]) -> None:
    """Refuse members that do not belong together, or to these validation probabilities and labels.

    Raises
    ------
    ValueError
    """
    if not members:
        raise ValueError("members: at least one fitted estimator is needed")
    classes = np.asarray(members[0][1].classes_)
    if other := [name for name, member in members if not np.array_equal(member.classes_, classes)]:
        raise ValueError(f"members: {', '.join(other)} and {members[0][0]} have different classes_")
    if (shape := probabilities.shape) != (expected := (len(members), len(y), len(classes))):
        raise ValueError(f"valid_probabilities have the shape {shape}: must be {expected}, members x rows x classes")
    if not np.isfinite(probabilities).all():
        raise ValueError("valid_probabilities: not all are finite")
    if unknown := np.setdiff1d(y, classes).tolist():
        raise ValueError(f"y_valid: no member knows {', '.join(map(str, unknown))}")


def with_length_found(estimator: Any, fitted: Any) -> Any:
    """Clone an estimator so that it trains for as many rounds or epochs as were best, and no longer stops early.

    Knows the parameters of scikit-learn (`early_stopping`, `n_iter_no_change`), of XGBoost (`early_stopping_rounds`)
    and of the networks (`patience`, `epochs`), also of the last step of a pipeline and of the model of a `Pipeline`.

    Parameters
    ----------
    estimator : estimator
    fitted : the same, fitted

    Returns
    -------
    estimator
        Not fitted.
    """
    settled = clone(estimator)
    _settle(settled, fitted)
    return settled


def _settle(estimator: Any, fitted: Any) -> None:
    if isinstance(estimator, sklearn.pipeline.Pipeline):
        _settle(estimator.steps[-1][1], fitted.steps[-1][1])
    elif isinstance(estimator, Pipeline):
        _settle(estimator.model, fitted.model_)
    elif hasattr(estimator, "get_params"):
        estimator.set_params(**_found(estimator.get_params(deep=False), fitted))


def _found(parameters: dict[str, Any], fitted: Any) -> dict[str, Any]:
    if parameters.get("early_stopping"):  # "auto", too
        scores = getattr(fitted, "validation_scores_", None)  # a perceptron goes back to its best epoch
        return {"early_stopping": False, "max_iter": int(np.argmax(scores)) + 1 if scores else int(fitted.n_iter_)}
    if parameters.get("n_iter_no_change") and hasattr(fitted, "n_estimators_"):
        return {"n_iter_no_change": None, "n_estimators": int(fitted.n_estimators_)}
    if parameters.get("early_stopping_rounds") and hasattr(fitted, "best_iteration"):
        return {"early_stopping_rounds": None, "n_estimators": int(fitted.best_iteration) + 1}
    if hasattr(fitted, "get_booster"):
        rounds = int(fitted.get_booster().num_boosted_rounds())
        return {"n_estimators": rounds} if rounds < fitted.get_num_boosting_rounds() else {}  # a deadline ended it
    kept, own = getattr(fitted, "history_", None), signature(type(fitted).__init__).parameters
    history = kept if isinstance(kept, Mapping) else {}
    steps = history.get("step")
    if steps and parameters.get("patience") and "patience" in own:
        losses = history.get("valid_loss") or [-step for step in steps]
        return {"patience": None, "epochs": int(np.argmin(losses)) + 1}
    return {"epochs": len(steps)} if steps and "epochs" in own else {}
