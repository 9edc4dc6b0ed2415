"""Further training of a fitted network, on the rows that were withheld until it was scored as well."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from fmnist_bench._utils import stage_progress
from fmnist_bench.data.pixels import as_rows
from fmnist_bench.models.augmentation._batch import Augment
from fmnist_bench.models.networks import _backend
from fmnist_bench.models.networks._batches import Batches
from fmnist_bench.models.networks._callbacks import TrainingCallback
from fmnist_bench.models.networks._checkpoint import Checkpoint, about_training
from fmnist_bench.models.networks._exclusive import chance_of_its_own, one_at_a_time
from fmnist_bench.models.networks._parameters import row_weights
from fmnist_bench.models.networks._training import train_network

RATE, EPOCHS = 0.5, 0.7  # of the learning rate, and of the epochs that were made, are those of the second cycle


class FineTuning:
    """The part of a `KerasClassifier` that trains a fitted network on."""

    compresses_schedule: bool

    @available_if(lambda self: self.compresses_schedule)  # type: ignore[untyped-decorator]
    def fine_tune(
        self,
        X: ArrayLike,
        y: ArrayLike,
        validation_data: tuple[ArrayLike, ArrayLike],
        checkpoint: str | Path | None = None,
        deadline: float | None = None,
    ) -> Self:
        """Train the fitted network on, on train and validation rows, once these have scored it.

        A second, lower cycle of the learning rate: half of the peak, seven tenths of the epochs that `fit` made.
        What scores it afterwards must be other rows.

        Parameters
        ----------
        X, y, validation_data
            As they were given to `fit`.
        checkpoint : str, Path or None
            As in `fit`, another file.
        deadline : float or None
            When the training must be over, by ``time.monotonic()``: the schedule is compressed so that it completes.

        Returns
        -------
        Self
            The same estimator. History and attributes are those of `fit`.

        Raises
        ------
        ValueError
            Unusable rows or labels, or a loss that is no longer finite.
        MemoryError
            A batch that does not fit in memory, nor does half of it.

        References
        ----------
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017).
        """
        check_is_fitted(self, "network_")
        with one_at_a_time(), _backend.one_memory_error():
            _fine_tune(self, [(X, y), validation_data], checkpoint, deadline)
        return self


class _SecondCycle(TrainingCallback):
    """Follows a training that nothing scores, and tells how far it is."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_end(batch, logs)
        stage_progress.tell(stage_progress.FINE_TUNING, self.progress())


def _fine_tune(
    estimator: Any,
    pairs: list[tuple[ArrayLike, ArrayLike]],
    checkpoint: str | Path | None,
    deadline: float | None,
) -> None:
    """Train the network of a fitted `KerasClassifier` for a second, lower cycle of the learning rate.

    `pairs` are rows and labels; features of each pair are computed apart, since each may lie in a file. Where an error
    ends it, the network is as it was before.
    """
    started = time.monotonic()
    checked = [validate_data(estimator, as_rows(X), y, dtype="numeric", reset=False) for X, y in pairs]
    parts = [estimator._to_images(rows) for rows, _ in checked]
    images, labels = np.concatenate(parts), np.concatenate([y for _, y in checked])
    targets = np.eye(len(estimator.classes_), dtype=np.float32)[estimator._encoder.transform(labels)]
    weights = row_weights(estimator.class_weight, None, images, labels)
    _backend.prepare_backend(estimator.precision)
    seed = int(check_random_state(estimator.random_state).randint(2**31 - 1, size=3)[2])  # `fit` has the first two
    cycle = _second_cycle(estimator)

    if estimator.patience is not None:
        checkpoint = None  # `fit` has written none, either: there is nothing to go on from
    before = estimator.network_.get_weights()

    def train(batch_size: int) -> None:
        estimator.network_.set_weights(before)  # where a larger batch did not fit in memory they are halfway
        seen = np.concatenate([estimator._embed(part) for part in parts])
        augment = Augment(estimator.flip, estimator.shift, estimator.erase)
        batches = Batches(seen, targets, batch_size, augment, seed, weights)
        keras.utils.set_random_seed(seed)
        about = "" if checkpoint is None else about_training(cycle, batch_size, images, targets, weights)
        kept = None if checkpoint is None else Checkpoint(Path(checkpoint), about)
        course = started, deadline, batches, None, None, 0, kept
        train_network(cycle, batches, _SecondCycle(cycle, estimator._learner(), *course))

    try:
        with chance_of_its_own():
            if not _backend.fits(train, size := min(estimator.batch_size, len(images))):
                train(size // 2)
    except BaseException:
        estimator.network_.set_weights(before)
        raise


def _second_cycle(estimator: Any) -> Any:
    """Give an estimator of the same network, with learning rate and epochs of the second cycle."""
    cycle = object.__new__(type(estimator))  # a copy would have a network of its own
    cycle.__dict__.update(estimator.__dict__)
    cycle.epochs = max(1, math.ceil(EPOCHS * len(estimator.history_["step"])))
    cycle.learning_rate, cycle.patience = RATE * estimator.learning_rate, None
    return cycle
