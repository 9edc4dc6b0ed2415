"""Gradient boosted trees that report while they grow and stop in time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import xgboost
from numpy.typing import ArrayLike, NDArray
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets

Monitor = Callable[[int, float], None]
REPORT_EVERY = 5
LABELS = "fmnist_bench_labels"  # attribute of the trees in a file of XGBoost's format


class XGBoostClassifier(xgboost.XGBClassifier):  # type: ignore[misc]
    """XGBoost's classifier with any labels, validation scores for a monitor and a deadline.

    Parameters
    ----------
    early_stopping_rounds : int or None
        Stop after so many rounds without a better validation log loss, or without a better last one of `eval_metric`,
        and predict with the best number of rounds. Ignored where `fit` gets neither `validation_data` nor `eval_set`.
    **kwargs
        Every other parameter of `xgboost.XGBClassifier`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels.
    history_ : dict of list
        `step` (rounds done), `fit_loss`, `fit_accuracy`, and with `validation_data` also
        `valid_loss` and `valid_accuracy`; one entry every five rounds.

    References
    ----------
    Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System" (2016).
    """

    takes_validation_data = takes_monitor = takes_deadline = True

    def __init__(self, *, early_stopping_rounds: int | None = None, **kwargs: Any) -> None:
        if "max_seconds" in kwargs:
            raise TypeError("max_seconds: fit(..., deadline=...) limits the time")
        super().__init__(early_stopping_rounds=early_stopping_rounds, **kwargs)

    @property
    def classes_(self) -> NDArray[Any]:
        """Sorted labels, those of the probabilities' columns."""
        labels: NDArray[Any] | None = self.__dict__.get("labels_")
        return np.arange(self.n_classes_) if labels is None else labels

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        monitor: Monitor | None = None,
        *,
        deadline: float | None = None,
        sample_weight: ArrayLike | None = None,
        eval_set: Sequence[tuple[ArrayLike, ArrayLike]] | None = None,
        verbose: bool | int | None = False,
        **kwargs: Any,
    ) -> Self:
        """Grow the trees.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Features of any numeric type.
        y : array-like of shape (n,)
            Labels of any sortable type, two classes or more.
        validation_data : tuple of array-like or None
            Rows and labels for early stopping and scores.
        monitor : callable or None
            Called every five rounds with the number of rounds and the validation accuracy; an
            exception stops the boosting.
        deadline : float or None
            By ``time.monotonic()``: boosting ends with the last round that fits in.
        sample_weight : array-like of shape (n,) or None
            Weights of the rows.
        eval_set : list of tuple or None
            Further rows and labels to score, as `evals_result` tells; the last ones count as the valid ones where
            there are no `validation_data`. Without them the rows of `X` are scored.
        verbose : bool or int
            Print scores every so many rounds.
        **kwargs
            See `xgboost.XGBClassifier.fit`: `xgb_model`, `base_margin`, `feature_weights`, weights of `eval_set`.

        Returns
        -------
        Self
            The fitted estimator.

        Raises
        ------
        ValueError
            One class only, labels in `validation_data` that `y` lacks, or parameters that XGBoost refuses.
        """
        encoder = _encoder(y)
        if sample_weight is not None and not np.asarray(sample_weight).any():
            raise ValueError("sample_weight: all are zero")
        codes = encoder.transform(y)
        further = [*(eval_set or []), *([validation_data] if validation_data is not None else [])]
        data = [(X, codes)] if eval_set is None else []  # the very objects: XGBoost makes its matrix of them once
        data += [(rows, encoder.transform(labels)) for rows, labels in further]
        given = {"sample_weight": sample_weight, "verbose": verbose, **_for_all(kwargs, len(data))}
        report = _Report(self, deadline, monitor, eval_set is None, len(encoder.classes_))
        self.__dict__.pop("labels_", None)  # the inherited fit expects encoded classes
        self._boost(X, codes, data, report, given)
        self.labels_ = encoder.classes_
        return self

    def save_model(self, fname: str | os.PathLike[str]) -> None:
        """Write the trees in XGBoost's own format, by the ending of `fname`: ``.json`` or ``.ubj``; and the labels.

        Parameters
        ----------
        fname : str or path-like

        Raises
        ------
        ValueError
            Labels that are neither numbers, truth values nor words.
        """
        # As an attribute of the trees, which XGBoost keeps and its other programs ignore.
        self.get_booster().set_attr(**{LABELS: _labels_as_text(self.classes_)})
        try:
            super().save_model(fname)
        finally:
            self.get_booster().set_attr(**{LABELS: None})

    def load_model(self, fname: str | os.PathLike[str] | bytearray) -> None:
        """Read trees that `save_model` or XGBoost has written; one that names no labels answers 0, 1, ...

        Parameters
        ----------
        fname : str, path-like or bytearray
            The file, or its content.

        Raises
        ------
        ValueError
            Labels that are damaged, or not as many as there are classes.
        """
        self.__dict__.pop("labels_", None)
        super().load_model(fname)
        text = self.get_booster().attr(LABELS)
        self.get_booster().set_attr(**{LABELS: None})
        if text is not None:
            self.labels_ = _labels_from_text(text, self.n_classes_)

    def predict(self, X: ArrayLike, *, output_margin: bool = False, **kwargs: Any) -> NDArray[Any]:
        """Return the most probable label of each row.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Features as in `fit`.
        output_margin : bool
            Return the raw scores instead.
        **kwargs
            See `xgboost.XGBClassifier.predict`.

        Returns
        -------
        ndarray of shape (n,)
            Labels out of `classes_`.
        """
        result = super().predict(X, output_margin=output_margin, **kwargs)
        return np.asarray(result) if output_margin else self.classes_[result]

    def __sklearn_tags__(self) -> Tags:
        """Say that a row has one label; XGBoost's own takes several, which it does not answer as labels."""
        tags: Tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the trees as bytes in XGBoost's own format."""
        state = dict(super().__getstate__())
        if "_Booster" in state:
            state["_Booster"] = bytes(self.get_booster().save_raw("ubj"))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a state from `__getstate__`."""
        state = dict(state)
        if "_Booster" in state:
            state["_Booster"] = xgboost.Booster(model_file=bytearray(state["_Booster"]))
        super().__setstate__(state)

    def _boost(self, X: Any, y: Any, scored: list[tuple[Any, Any]], report: _Report, given: dict[str, Any]) -> None:
        names = ("callbacks", "early_stopping_rounds", "eval_metric", "objective")
        before = {name: getattr(self, name) for name in names}
        self.callbacks = [*(self.callbacks or []), report]
        self.eval_metric: Any = report.metrics(self.eval_metric)
        if len(scored) == 1 and report.scores_fit_rows:
            self.early_stopping_rounds = None
        try:
            super().fit(X, y, eval_set=scored, **given)
        finally:
            for name, value in before.items():
                setattr(self, name, value)


class _Report(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """Follows one boosting: keeps the history, calls the monitor, watches the clock."""

    def __init__(
        self,
        model: XGBoostClassifier,
        deadline: float | None,
        monitor: Monitor | None,
        scores_fit_rows: bool,
        n_classes: int,
    ) -> None:
        super().__init__()
        self.monitor, self.scores_fit_rows = monitor, scores_fit_rows
        self.error, self.loss = ("error", "logloss") if n_classes == 2 else ("merror", "mlogloss")
        self.rounds = model.get_num_boosting_rounds()
        self.deadline = np.inf if deadline is None else deadline
        self.slowest = 0.0
        self.history: dict[str, list[Any]] = {"step": []}
        model.history_ = self.history

    def metrics(self, asked: Any) -> list[str]:
        """Return error and loss, and those that the user has asked for; early stopping looks at the last one."""
        further = [asked] if isinstance(asked, str) else [] if asked is None or callable(asked) else list(asked)
        return [*(name for name in (self.error, self.loss) if name not in further), *further]

    def before_iteration(self, model: xgboost.Booster, epoch: int, evals_log: dict[str, Any]) -> bool:
        self.round_started = time.monotonic()
        return False

    def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: dict[str, Any]) -> bool:
        if (epoch + 1) % REPORT_EVERY == 0 or epoch + 1 == self.rounds:
            self._record(epoch + 1, evals_log)
        now = time.monotonic()
        self.slowest = max(self.slowest, now - self.round_started)
        return bool(now + self.slowest >= self.deadline)

    def _record(self, step: int, evals_log: dict[str, Any]) -> None:
        self.history["step"].append(step)
        scored = list(evals_log.values())
        parts = {"fit": scored[0]} if self.scores_fit_rows else {}
        if len(scored) > len(parts):
            parts["valid"] = scored[-1]
        for part, scores in parts.items():
            self.history.setdefault(f"{part}_loss", []).append(scores[self.loss][-1])
            self.history.setdefault(f"{part}_accuracy", []).append(1 - scores[self.error][-1])
        if self.monitor is not None and "valid_accuracy" in self.history:
            self.monitor(step, self.history["valid_accuracy"][-1])


def _for_all(kwargs: dict[str, Any], n: int) -> dict[str, Any]:
    """Append None for the validation rows, which have no weights, to each list of weights of scored rows."""
    lists = {name: list(kwargs[name]) for name in kwargs if name.endswith("_eval_set") and kwargs[name] is not None}
    return {**kwargs, **{name: [*given, *[None] * (n - len(given))] for name, given in lists.items()}}


def _labels_as_text(labels: NDArray[Any]) -> str:
    if not (labels.dtype.kind in "biufU" or all(isinstance(label, str) for label in labels)):
        raise ValueError(f"labels of {labels.dtype}: a file of XGBoost's holds numbers, truth values and words alone")
    return json.dumps([labels.dtype.str, labels.tolist()])


def _labels_from_text(text: str, n_classes: int) -> NDArray[Any]:
    kind, values = json.loads(text)
    labels = np.array(values, dtype=kind)
    if labels.shape != (n_classes,):
        raise ValueError(f"the file has labels of shape {labels.shape} for {n_classes} classes")
    return labels


def _encoder(y: ArrayLike) -> LabelEncoder:
    check_classification_targets(y)
    encoder = LabelEncoder().fit(y)
    if len(encoder.classes_) < 2:
        raise ValueError("y has one class only: a classifier needs at least 2")
    return encoder
