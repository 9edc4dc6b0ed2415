"""From the members' probabilities to one prediction: which members, with which weights, how sure. Pure functions."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

METHODS = ("greedy", "logistic", "mean")
FOLDS = 5
TINY = 1e-15  # least probability whose logarithm is taken
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are looked at

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Combination:
    """How the probabilities of several members become one prediction.

    Attributes
    ----------
    weights : ndarray of shape (n_members,)
        Summing to one; where there is a stacker, each member's share of the coefficients' sizes.
    temperature : float
        By which the logarithms are divided in the end.
    temperatures : ndarray of shape (n_members,) or None
        By which the logarithms of each member are divided first; None changes nothing.
    stacker : LogisticRegression or None
        Combines the logarithms of all members' probabilities, instead of the weighted mean.
    """

    weights: NDArray[np.float64]
    temperature: float = 1.0
    stacker: Any = None
    temperatures: NDArray[np.float64] | None = None

    def apply(self, probabilities: Floats) -> NDArray[np.float64]:
        """Combine probabilities of shape (n_members, n_rows, n_classes) into (n_rows, n_classes)."""
        if self.stacker is None:
            combined = weighted_mean(self._brought_together(probabilities), self.weights)
        else:
            stacked = self.stacker.predict_proba(log_features(probabilities))
            combined = _in_all_classes(stacked, self.stacker.classes_, probabilities.shape[2])
        return combined if self.temperature == 1 else with_temperature(combined, self.temperature)

    def _brought_together(self, probabilities: Floats) -> Floats:
        if self.temperatures is None:
            return probabilities
        pairs = zip(probabilities, self.temperatures, strict=True)
        return np.stack([member if t == 1 else with_temperature(member, float(t)) for member, t in pairs])


def learn_combination(
    probabilities: Floats,
    y: Integers,
    method: str = "greedy",
    max_steps: int = 25,
    calibrate: bool = True,
    costs: ArrayLike | None = None,
    max_cost: float = np.inf,
) -> Combination:
    """Learn from rows that no member was fitted on how to combine the members.

    Parameters
    ----------
    probabilities : ndarray of shape (n_members, n_rows, n_classes)
    y : ndarray of shape (n_rows,)
        Column of the right class.
    method : {"greedy", "logistic", "mean"}
        See `StackedEnsemble`.
    max_steps : int
        Of the greedy selection.
    calibrate : bool
        Find a temperature; for a stacker on what it predicts for rows that it was not fitted on. Greedy selection finds
        one of each member before it chooses: of two equally accurate ones the mean would follow the one that is more
        sure of itself, and networks trained with smoothed labels are not.
    costs, max_cost
        See `greedy_selection`; other methods take every member.

    Warns
    -----
    UserWarning
        Where a stacker would have to learn from rows of one class alone; the plain mean is taken.
    """
    if method == "logistic" and (y == y[0]).all():
        warnings.warn("the rows held out are of one class: the members' plain mean is taken", stacklevel=3)
        method = "mean"
    if method == "logistic":
        stacker, weights = _stack(probabilities, y)
        temperature = _stacked_temperature(stacker, probabilities, y) if calibrate else 1.0
        return Combination(weights, temperature, stacker)
    weights, temperatures = np.full(len(probabilities), 1 / len(probabilities)), None
    if method == "greedy":
        temperatures = np.array([fit_temperature(member, y) if calibrate else 1.0 for member in probabilities])
        together = Combination(weights, temperatures=temperatures)._brought_together(probabilities)
        weights = greedy_selection(together, y, max_steps, costs, max_cost)
    found = Combination(weights, temperatures=temperatures)
    return replace(found, temperature=fit_temperature(found.apply(probabilities), y) if calibrate else 1.0)


def _stack(probabilities: Floats, y: Integers) -> tuple[Any, NDArray[np.float64]]:
    """Fit a stacker; return it, and each member's share of it."""
    stacker = LogisticRegression(C=0.01, max_iter=1000).fit(log_features(probabilities), y)
    sizes = np.abs(stacker.coef_).reshape(len(stacker.coef_), len(probabilities), -1).sum(axis=(0, 2))
    return stacker, sizes / sizes.sum() if sizes.any() else np.full(len(sizes), 1 / len(sizes))


def _stacked_temperature(stacker: Any, probabilities: Floats, y: Integers) -> float:
    """Find the temperature on what the stacker predicts for rows of other folds; a class of one row is in none."""
    counts = np.bincount(y)
    often = counts[y] > 1
    classes = np.unique(y[often])
    if len(classes) < 2:
        return 1.0
    folds = StratifiedKFold(min(FOLDS, int(counts[classes].min())), shuffle=True, random_state=0)
    features = log_features(probabilities)[often]
    outside = cross_val_predict(stacker, features, y[often], cv=folds, method="predict_proba")
    return fit_temperature(_in_all_classes(outside, classes, probabilities.shape[2]), y[often])


def _in_all_classes(stacked: NDArray[Any], classes: Integers, n_classes: int) -> NDArray[np.float64]:
    """Give a column to the classes, too, of which the stacker has seen no row."""
    spread = np.zeros((len(stacked), n_classes))
    spread[:, classes] = stacked
    return spread


def greedy_selection(
    probabilities: Floats,
    y: Integers,
    max_steps: int = 25,
    costs: ArrayLike | None = None,
    max_cost: float = np.inf,
) -> NDArray[np.float64]:
    """Choose members with replacement so that their mean has the lowest log loss (Caruana et al., 2004).

    Each step adds the member that lowers it most, the first of equals; the best step of all is kept. Log loss chooses
    better than accuracy, of which few rows decide: `benchmarks/ensemble/selection.md`.

    Parameters
    ----------
    probabilities : ndarray of shape (n_members, n_rows, n_classes)
    y : ndarray of shape (n_rows,)
        Column of the right class, 0 to n_classes - 1.
    max_steps : int
        At least 1.
    costs : array-like of shape (n_members,) or None
        What each member costs, once however often it is chosen; any unit.
    max_cost : float
        The members chosen cost no more than this together.

    Returns
    -------
    weights : ndarray of shape (n_members,)
        Not negative, summing to one.

    Raises
    ------
    ValueError
        Where every member costs more than `max_cost`.

    Examples
    --------
    >>> sure, unsure, wrong = [[0.9, 0.1], [0.4, 0.6]], [[0.6, 0.4], [0.1, 0.9]], [[0.2, 0.8], [0.7, 0.3]]
    >>> greedy_selection(np.array([sure, unsure, wrong]), np.array([0, 1]), max_steps=4)
    array([0.5, 0.5, 0. ])
    """
    right = np.asarray(probabilities, dtype=np.float64)[:, np.arange(len(y)), y]
    price = np.zeros(len(right)) if costs is None else np.asarray(costs, dtype=np.float64)
    counts, total, spent = np.zeros(len(right), dtype=np.int64), np.zeros(len(y)), 0.0
    best_score, best_counts = -np.inf, counts.copy()
    for step in range(1, max_steps + 1):
        affordable = np.flatnonzero((counts > 0) | (spent + price <= max_cost))  # what was chosen costs no more
        if not len(affordable):
            raise ValueError(f"max_cost={max_cost:g}: the cheapest member costs {price.min():.4g}")
        scores = {int(i): float(np.log((total + right[i]) / step + TINY).mean()) for i in affordable}
        chosen = max(scores, key=lambda i: (scores[i], -i))
        spent += 0.0 if counts[chosen] else price[chosen]
        counts[chosen] += 1
        total += right[chosen]
        if scores[chosen] > best_score:
            best_score, best_counts = scores[chosen], counts.copy()
    return np.asarray(best_counts / best_counts.sum())


def weighted_mean(probabilities: Floats, weights: ArrayLike) -> NDArray[np.float64]:
    """Mean over the members of probabilities of shape (n_members, n_rows, n_classes); rows sum to one."""
    mean = np.tensordot(np.asarray(weights, dtype=np.float64), probabilities, axes=1)
    return np.asarray(mean / mean.sum(axis=1, keepdims=True))


def fit_temperature(probabilities: Floats, y: Integers) -> float:
    """Find the temperature at which probabilities have the lowest log loss (Guo et al., 2017).

    The labels are taken for wrong in one row more than there are (Platt, 1999): where every row is right, no log loss
    is low enough, and the model would be made as sure of itself as can be.

    Parameters
    ----------
    probabilities : ndarray of shape (n_rows, n_classes)
        Of rows that the model was not fitted on.
    y : ndarray of shape (n_rows,)
        Column of the right class.

    Returns
    -------
    float
        Above 1 where the model is too sure of itself, below 1 where it is too modest.
    """
    logs = np.log(np.clip(np.asarray(probabilities, dtype=np.float64), TINY, None))
    n_rows, n_classes = logs.shape
    targets = np.full(logs.shape, 1 / (n_rows + 2) / max(1, n_classes - 1))
    targets[np.arange(n_rows), y] = (n_rows + 1) / (n_rows + 2)

    def loss(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        return float((np.logaddexp.reduce(scaled, axis=1) - (targets * scaled).sum(axis=1)).mean())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def with_temperature(probabilities: Floats, temperature: float) -> NDArray[np.float64]:
    """Divide the logarithms by `temperature`; the order of the classes stays, and 1 changes nothing."""
    logs = np.log(np.clip(np.asarray(probabilities, dtype=np.float64), TINY, None)) / temperature
    return np.asarray(np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True)))


def log_features(probabilities: Floats) -> NDArray[np.float64]:
    """Put the members' log probabilities side by side: what a logistic stack learns from.

    Parameters
    ----------
    probabilities : ndarray of shape (n_members, n_rows, n_classes)

    Returns
    -------
    ndarray of shape (n_rows, n_members * n_classes)
    """
    logs = np.log(np.clip(np.asarray(probabilities, dtype=np.float64), 1e-6, None))
    return np.asarray(np.moveaxis(logs, 0, 1).reshape(logs.shape[1], -1))
