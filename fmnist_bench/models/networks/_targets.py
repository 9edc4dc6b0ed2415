"""What a network learns from: labels, and beside them perhaps the probabilities of a teacher."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets

from fmnist_bench._utils.soft_targets import SoftTargets


def encode(y: NDArray[Any], soft: SoftTargets | None = None) -> tuple[LabelEncoder, NDArray[np.float32]]:
    """Turn labels into targets.

    Returns
    -------
    LabelEncoder
    ndarray of shape (n, n_classes), float32
        One in each row is 1; with soft targets there are twice as many columns, these the second half.

    Raises
    ------
    ValueError
        Labels that are none of classes, or all of one class; soft targets of other rows or classes.
    """
    check_classification_targets(y)
    encoder = LabelEncoder().fit(y)
    if (n_classes := len(encoder.classes_)) < 2:
        raise ValueError("y has one class only: a classifier needs at least 2")
    targets: NDArray[np.float32] = np.eye(n_classes, dtype=np.float32)[encoder.transform(y)]
    if soft is None:
        return encoder, targets
    soft.check(len(y), n_classes)
    return encoder, np.concatenate([targets, soft.softened()], axis=1)


class DistillationLoss(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy to the labels and, at a temperature, to the teacher; targets stand side by side.

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), with the factor of the squared
    temperature.
    """

    def __init__(self, label_smoothing: float, soft: SoftTargets) -> None:
        super().__init__()
        self.label_smoothing, self.temperature, self.share = label_smoothing, soft.temperature, soft.share

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each row of logits."""
        labels, softened = keras.ops.split(y_true, 2, axis=1)
        entropy = keras.losses.categorical_crossentropy
        hard = entropy(labels, y_pred, from_logits=True, label_smoothing=self.label_smoothing)
        soft = entropy(softened, y_pred / self.temperature, from_logits=True)
        return (1 - self.share) * hard + self.share * self.temperature**2 * soft


def loss_and_accuracy(label_smoothing: float, soft: SoftTargets | None) -> tuple[keras.losses.Loss, Any]:
    """Give what a network is compiled with; the accuracy is that of the labels."""
    if soft is None:
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing), "accuracy"
    return DistillationLoss(label_smoothing, soft), keras.metrics.MeanMetricWrapper(_accuracy, name="accuracy")


def _accuracy(y_true: Any, y_pred: Any) -> Any:
    return keras.metrics.categorical_accuracy(keras.ops.split(y_true, 2, axis=1)[0], y_pred)
