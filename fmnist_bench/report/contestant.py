"""What findings are made of: a model and its predictions, a mistake, what a hidden patch costs, what mattered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_bench.config.fidelity import ROWS
from fmnist_bench.storage.trial import Trial

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Contestant:
    """The best trial of a study, or the ensemble, after the test set was opened.

    Parameters
    ----------
    name : str
        Study, or the ensemble's name.
    trial : int or None
        Number of the trial; None for the ensemble and for a study without a complete trial.
    parameters : dict
        Parameters of that trial, by full scikit-learn name.
    n_trials : dict of str to int
        Trials of the study by status.
    valid_probabilities, test_probabilities : ndarray of shape (n, n_classes)
        Rows sum to 1; both empty for a study without a complete trial, the latter where there are no test rows.
    fit_seconds, predict_seconds : float
        Seconds of one fit, and of the prediction of the validation rows.
    search_seconds : float
        Seconds that the study's trials took, added up.
    learnt_from : float
        Share of the train rows; above 1 where validation rows were added in the end. NaN for the ensemble, whose
        members differ.
    """

    name: str
    trial: int | None
    parameters: dict[str, Any]
    n_trials: dict[str, int]
    valid_probabilities: Array
    test_probabilities: Array
    fit_seconds: float
    predict_seconds: float
    search_seconds: float
    learnt_from: float = math.nan

    @property
    def scored(self) -> bool:
        """Whether there are predictions to score."""
        return len(self.valid_probabilities) > 0

    @property
    def test_pred(self) -> Array:
        """Predicted labels of the test rows."""
        return np.asarray(self.test_probabilities.argmax(axis=1))


def learnt_from(trial: Trial) -> float:
    """Share of the train rows that a trial learnt from; above 1 where fine-tuning added the validation rows."""
    return float(trial.settings.get(ROWS, 1.0)) + trial.result.fine_tuned


@dataclass(frozen=True)
class Importances:
    """Which parameters of a study mattered.

    Parameters
    ----------
    n_trials : int
        Trials that it was counted from: the complete ones of the rung that has most.
    shares : dict of str to float
        Share of the variance of validation accuracy that each parameter explains, greatest first; empty for too few
        trials.
    searched : dict of str to bool
        Every parameter that was searched, and whether on a logarithmic scale.
    """

    n_trials: int
    shares: dict[str, float]
    searched: dict[str, bool]


@dataclass(frozen=True, eq=False)
class Mistake:
    """A row that a model got wrong: class numbers, and the probabilities that it gave to both classes."""

    row: int
    true: int
    predicted: int
    confidence: float
    given_to_true: float


class Occlusion(NamedTuple):
    """By how much hiding each patch of a mistaken picture lowers the predicted class's probability; a grid of falls."""

    mistake: Mistake
    falls: Array
