"""A small network learns from a large classifier, such as an ensemble."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fmnist_bench._utils.probabilities import as_probabilities, check_classes
from fmnist_bench._utils.soft_targets import SoftTargets
from fmnist_bench.data.pixels import as_rows
from fmnist_bench.models.networks._base import KerasClassifier


def distill(
    student: KerasClassifier,
    teacher: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    X_unlabelled: ArrayLike | None = None,
    temperature: float = 4.0,
    share: float = 0.9,
    **fit: Any,
) -> KerasClassifier:
    """Train a network on labels and on the probabilities that a teacher gives the same rows.

    A teacher that has learnt from these rows is surer of them than of others. The temperature makes its answers soft
    again: what remains is which classes it takes for alike. Nothing else is done about it.

    Parameters
    ----------
    student : KerasClassifier
        Trained in place.
    teacher : fitted classifier
        With `predict_proba`, such as a `StackedEnsemble`; of the labels of `y`.
    X : array-like of shape (n, n_features), or images
        Pixels on the teacher's scale; the student gets them as rows, and their shape by its `image_shape`.
    y : array-like of shape (n,)
    X_unlabelled : array-like of shape (m, n_features), or images, or None
        Further rows, such as synthetic ones: their labels are the teacher's most probable classes.
    temperature : float
        By which the logarithms of teacher's and student's probabilities are divided, 1 or more.
    share : float
        Of the loss that the teacher makes, 0 to 1; the labels make the rest.
    **fit
        What else the student's `fit` takes, such as `validation_data` or `deadline`.

    Returns
    -------
    KerasClassifier
        The fitted student; it no longer needs the teacher.

    Raises
    ------
    PredictionError
        Where the teacher has other classes.
    ValueError
        Unusable rows, labels or parameters.

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.ensemble import ExtraTreesClassifier
    >>> from fmnist_bench.models import CNNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> teacher = ExtraTreesClassifier(random_state=0).fit(X[:1500] * 16, y[:1500])
    >>> student = CNNClassifier(n_convs=2, filters=16, batch_size=32, epochs=8, flip=False, random_state=0)
    >>> bool(distill(student, teacher, X[:1500] * 16, y[:1500]).score(X[1500:] * 16, y[1500:]) > 0.9)
    True
    """
    labels, rows = np.asarray(y), np.asarray(as_rows(X))
    check_classes(teacher.classes_, classes := np.unique(labels))
    probabilities = as_probabilities(teacher.predict_proba(rows), len(rows), teacher.classes_)
    if X_unlabelled is not None:
        more = np.asarray(as_rows(X_unlabelled))
        answers = as_probabilities(teacher.predict_proba(more), len(more), teacher.classes_)
        rows, probabilities = np.concatenate([rows, more]), np.concatenate([probabilities, answers])
        labels = np.concatenate([labels, classes[answers.argmax(axis=1)]])
    return student.fit(rows, labels, soft_targets=SoftTargets(probabilities, temperature, share), **fit)
