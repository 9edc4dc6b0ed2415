"""What every Keras classifier here shares: training in a time budget, prediction, persistence.

A subclass builds a network and nothing else. The module runs on any Keras 3 back end; importing it
executes no operation and starts no threads of the back end.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fmnist_bench._utils.soft_targets import SoftTargets
from fmnist_bench.data import pixels
from fmnist_bench.models.augmentation._batch import Augment
from fmnist_bench.models.networks import _backend
from fmnist_bench.models.networks._batches import Batches
from fmnist_bench.models.networks._callbacks import Monitor, TrainingCallback, predict_probabilities
from fmnist_bench.models.networks._checkpoint import Checkpoint, about_training
from fmnist_bench.models.networks._exclusive import chance_of_its_own, one_at_a_time
from fmnist_bench.models.networks._fine_tuning import FineTuning
from fmnist_bench.models.networks._layers import adapt_layers
from fmnist_bench.models.networks._muon import Muon
from fmnist_bench.models.networks._parameters import check_training, row_weights
from fmnist_bench.models.networks._saved import NetworkAsBytes
from fmnist_bench.models.networks._targets import encode
from fmnist_bench.models.networks._training import train_network

Pair = tuple[ArrayLike, ArrayLike] | None
SCORED, LEAST_SCORED = 0.1, 1000  # share of the rows trained on, and rows, that are scored after each epoch


@dataclass(kw_only=True, eq=False, repr=False)
class KerasClassifier(FineTuning, ClassifierMixin, NetworkAsBytes, BaseEstimator):  # type: ignore[misc]
    """Base class of classifiers over rows of pixels that train a Keras network.

    A one-cycle learning rate, label smoothing and random flips, shifts and erasing. Subclasses implement `_build`;
    their own parameters are fields of a dataclass, or they have a constructor that calls this one.

    Parameters
    ----------
    optimizer : {"sgd", "adamw", "muon"}
        Stochastic gradient descent with Nesterov momentum 0.9, Adam with decoupled weight decay, or `Muon` for
        convolutions that a normalisation follows and the first for the rest.
    learning_rate : float
        Peak of the learning rate, above 0.
    warm_up : float
        Share of the training in which the learning rate rises, from 0 to below 1.
    weight_decay : float
        Decoupled weight decay of kernels, 0 or more; each step shrinks by `learning_rate * weight_decay`.
    label_smoothing : float
        Probability spread over all classes, from 0 to below 1.
    batch_size : int
        Rows a step, at least 1; fewer when there are fewer rows, and half of it, with a warning, where a batch does
        not fit in memory.
    epochs : int
        Passes over the rows, at least 1.
    patience : int or None
        Epochs without a lower log loss of the validation rows after which training ends early, at least 1; the weights
        of the best epoch are kept. None trains all epochs.
    flip : bool
        Mirror each image left to right with probability one half while training.
    shift : int
        Move each image by up to so many pixels in both directions while training, 0 or more; black moves in.
    erase : float
        Probability, 0 to 1, with which a rectangle of an image gets random pixels of the batch while training.
    flip_average : bool
        Predict the mean over an image and its mirror image, at twice the cost; the image alone where the
        deadline of `fit` leaves too little time for both.
    precision : {"auto", "float32", "mixed_bfloat16", "bfloat16"}
        `"auto"` computes in bfloat16 on a GPU, and in TensorFlow where the CPU has instructions for it; any
        other value is the name of a Keras dtype policy.
    image_shape : tuple of int or None
        `(height, width)` or `(height, width, channels)`; None means that of the images, and of rows square and gray,
        or one pixel high where they make no square.
    class_weight : "balanced", dict or None
        Weights of the classes by their labels, in the loss: "balanced" gives those of few rows more, as
        ``n / (n_classes * bincount(y))``.
    random_state : int, RandomState or None
        Seed. Without a deadline an equal seed and thread count give equal probabilities, bit for bit.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels.
    network_ : keras.Model
        Fitted network, from pixels `(n, height, width, channels)` to logits `(n, n_classes)`.
    history_ : dict of list
        `step` (epochs done), `fit_loss` (with label smoothing), `fit_accuracy`, and with
        `validation_data` also `valid_loss` (log loss) and `valid_accuracy`, of a part of its rows where few are
        trained on, and without the mirror images of `flip_average`.
    flip_average_ : bool
        Whether the deadline left time for the mirror images of `flip_average`.
    embed_seconds_ : float
        Seconds that a frozen part, where there is one, computed on the rows before the first step.
    seconds_before_ : float
        Seconds that the part of the training took that a `checkpoint` held; 0 without one.
    schedule_share_ : float
        Share of the steps of all `epochs` that was made, above 0 to 1; below 1 where a deadline compressed the
        schedule.

    References
    ----------
    Li, Yumer and Ramanan, "Budgeted Training" (2020), for schedules that end with the budget; Zhong et al., "Random
    Erasing Data Augmentation" (2020); Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019).
    """

    takes_validation_data = takes_monitor = takes_checkpoint = takes_deadline = takes_soft_targets = True
    compresses_schedule = True  # a deadline shortens the training to a whole one, it does not cut it off

    optimizer: str = "sgd"
    learning_rate: float = 0.1
    warm_up: float = 0.2
    weight_decay: float = 0.0
    label_smoothing: float = 0.1
    batch_size: int = 128
    epochs: int = 6
    patience: int | None = None
    flip: bool = True
    shift: int = 0
    erase: float = 0.0
    flip_average: bool = False
    precision: str = "auto"
    image_shape: tuple[int, ...] | None = None
    class_weight: Any = None
    random_state: int | np.random.RandomState | None = None

    @abstractmethod
    def _build(self, image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
        """Return an unfitted network from scaled pixels to logits."""

    def _embed(self, images: NDArray[Any]) -> NDArray[Any]:
        """Compute what the trained part of the network sees; the images themselves where all of it is trained."""
        return images

    def _learner(self) -> keras.Model:
        """Return the part of the network that is trained, from what `_embed` gives to logits."""
        return self.network_

    def _optimizer(self) -> keras.optimizers.Optimizer:
        if self.optimizer == "adamw":
            return keras.optimizers.AdamW(self.learning_rate, weight_decay=self.weight_decay)
        kind = Muon if self.optimizer == "muon" else keras.optimizers.SGD
        return kind(self.learning_rate, momentum=0.9, nesterov=True, weight_decay=self.weight_decay or None)

    def _undecayed(self) -> list[keras.Variable]:
        """Return variables without weight decay, beside biases and normalisations."""
        return []

    def _scaling(self, X: NDArray[Any]) -> tuple[float, float]:
        """Return the factor and offset that bring pixels to the scale that `_build` expects."""
        mean, deviation = float(X.mean()), float(X.std()) or 1.0
        return 1 / deviation, -mean / deviation

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        validation_data: Pair = None,
        monitor: Monitor | None = None,
        sample_weight: ArrayLike | None = None,
        checkpoint: str | Path | None = None,
        deadline: float | None = None,
        soft_targets: SoftTargets | None = None,
    ) -> Self:
        """Train a new network.

        Parameters
        ----------
        X : array-like of shape (n, height * width * channels), (n, height, width) or (n, height, width, channels)
            Pixels of any numeric type; uint8 saves memory.
        y : array-like of shape (n,)
            Labels of any sortable type, two classes or more.
        validation_data : tuple of array-like or None
            Rows and labels to score after each epoch.
        monitor : callable or None
            Called with the number of epochs done and the validation accuracy; an exception stops the training.
        sample_weight : array-like of shape (n,) or None
            Weights of the rows in the loss, 0 or more; only how they compare with each other counts.
        checkpoint : str, Path or None
            File that the training is saved to twice a minute. A later `fit` with the same rows, weights, parameters and
            file goes on from there; not with `patience`. Whoever names the file deletes it.
        deadline : float or None
            When training, and predicting the validation rows afterwards, must be over, by ``time.monotonic()``. What
            predicting takes is measured first, and kept aside; the schedule is compressed so that it completes in time.
        soft_targets : SoftTargets or None
            What a teacher says of the rows, to learn from beside the labels; see `distill`.

        Returns
        -------
        Self
            The fitted estimator.

        Raises
        ------
        ValueError
            Unusable rows, labels or parameters, or a loss that is no longer finite.
        MemoryError
            A batch that does not fit in memory, nor does half of it.
        """
        with one_at_a_time(), _backend.one_memory_error():
            return self._fit(X, y, validation_data, monitor, sample_weight, checkpoint, deadline, soft_targets)

    def _fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        validation_data: Pair,
        monitor: Monitor | None,
        sample_weight: Any,
        checkpoint: str | Path | None,
        deadline: float | None,
        soft_targets: SoftTargets | None,
    ) -> Self:
        started = time.monotonic()
        self._check_parameters()
        rows, labels = self._check_rows(X, y)
        targets = self._encode(labels, soft_targets)
        weights = row_weights(self.class_weight, sample_weight, rows, labels)
        _backend.prepare_backend(self.precision)
        generator = check_random_state(self.random_state)
        seeds = [int(generator.randint(2**31 - 1)) for _ in range(2)]
        images = self._to_images(rows)

        def train(batch_size: int) -> None:
            keras.utils.set_random_seed(seeds[0])
            self.network_ = self._build_network(images)
            augment = Augment(self.flip, self.shift, self.erase)
            embedding = time.monotonic()
            seen = self._embed(images)
            self.embed_seconds_ = time.monotonic() - embedding
            batches = Batches(seen, targets, batch_size, augment, seeds[1], weights)
            valid = self._check_valid(validation_data, len(images))
            keras.utils.set_random_seed(seeds[1])  # features that were found in a file have drawn no random numbers
            n_predicted = 0 if validation_data is None else len(np.asarray(validation_data[1]))
            about = "" if checkpoint is None else about_training(self, batch_size, images, targets, weights)
            kept = None if checkpoint is None else Checkpoint(Path(checkpoint), about)
            course = started, deadline, batches, valid, monitor, n_predicted, kept
            callback = TrainingCallback(self, self._learner(), *course)
            self.history_ = callback.history
            train_network(self, batches, callback, soft_targets)
            self.schedule_share_, self.flip_average_ = callback.schedule_share, callback.flip_average
            self.seconds_before_ = callback.seconds_before

        with chance_of_its_own():
            if not _backend.fits(train, size := min(self.batch_size, len(images))):
                train(size // 2)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return class probabilities.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Pixels on the scale of those in `fit`.

        Returns
        -------
        ndarray of shape (n, n_classes), float32
            Rows sum to 1, columns follow `classes_`.
        """
        check_is_fitted(self, "network_")
        pixels.check_image_shape(self.image_shape_, X)
        rows = validate_data(self, pixels.as_rows(X), dtype="numeric", reset=False)
        pixels.check_scale(self._white, rows)
        with one_at_a_time(), _backend.one_memory_error():
            return self._probabilities(self._embed(self._to_images(rows)))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable label, out of `classes_`, of each row of pixels on the scale of those in `fit`."""
        columns = self.predict_proba(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[columns]
        return labels

    def _check_parameters(self) -> None:
        check_training(self)

    def _check_rows(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        self.image_shape_ = self.image_shape or pixels.image_shape_of(X)
        rows, labels = validate_data(self, pixels.as_rows(X), y, dtype="numeric")
        self._white = pixels.white_of(rows)
        return rows, labels

    def _encode(self, y: NDArray[Any], soft_targets: SoftTargets | None = None) -> NDArray[np.float32]:
        self._encoder, targets = encode(y, soft_targets)
        self.classes_ = self._encoder.classes_
        return targets

    def _check_valid(self, validation_data: Pair, n_rows: int) -> tuple[Any, Any] | None:
        """Return what is scored after each epoch: images and codes, few where few rows are trained on."""
        if validation_data is None:
            return None
        X, y = validate_data(self, pixels.as_rows(validation_data[0]), validation_data[1], dtype="numeric", reset=False)
        order = np.random.default_rng(0).permutation(len(X))  # they may be sorted by class
        part = np.sort(order[: max(LEAST_SCORED, round(SCORED * n_rows))])
        # Features of all of them: whoever predicts them in the end finds these in a file.
        return self._embed(self._to_images(X))[part], self._encoder.transform(y[part])

    def _to_images(self, X: NDArray[Any]) -> NDArray[Any]:
        shape = pixels.shape_of_images(X.shape[1], self.image_shape_)
        return np.ascontiguousarray(X if X.dtype == np.uint8 else X.astype(np.float32)).reshape(-1, *shape)

    def _build_network(self, images: NDArray[Any]) -> keras.Model:
        with _backend.under_policy(_backend.dtype_policy(self.precision)):
            scale, offset = self._scaling(images)
            inputs = keras.Input(images.shape[1:], name="pixels")
            scaled = keras.layers.Rescaling(scale, offset)(inputs)
            body = self._build(images.shape[1:], len(self.classes_))
            adapt_layers(body, images, scale, offset)
            logits = body(scaled)
            network = keras.Model(inputs, keras.layers.Activation("linear", dtype="float32", name="logits")(logits))
        network.jit_compile = _backend.compiles()
        return network

    def _probabilities(self, images: NDArray[Any]) -> NDArray[np.float32]:
        _backend.prepare_backend(self.precision)
        return predict_probabilities(self._learner(), images, self.flip_average and self.flip_average_)
