"""Rows by batches: what a network is trained on, an endless stream, shuffled and augmented; and what it computes."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fmnist_bench.models.augmentation._batch import Augment

PREFETCHED = 4  # batches


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """An endless stream of shuffled, augmented batches; batch number `i` depends on the seed and `i` alone."""

    def __init__(
        self,
        images: NDArray[Any],
        targets: NDArray[np.float32],
        batch_size: int,
        augment: Augment,
        seed: int,
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__(workers=1)
        self.weights = weights
        self.images, self.targets, self.augment, self.seed = images, targets, augment, seed
        self.batch_size = min(batch_size, len(images))
        self.batches_per_pass = len(images) // self.batch_size
        self._order = (-1, np.empty(0, np.int64))
        self.first = 0  # number of the batch that the stream begins with

    @property
    def num_batches(self) -> None:
        return None

    def __getitem__(self, index: int) -> tuple[NDArray[Any], ...]:
        index += self.first
        number, place = divmod(index, self.batches_per_pass)
        if self._order[0] != number:
            self._order = (number, np.random.default_rng([self.seed, 0, number]).permutation(len(self.images)))
        rows = self._order[1][place * self.batch_size : (place + 1) * self.batch_size]
        weights = () if self.weights is None else (self.weights[rows],)
        return self.augment(self.images[rows], (self.seed, 1, index)), self.targets[rows], *weights

    def stream(self) -> Any:
        """Return what ``Model.fit`` is given: on TensorFlow a data set that is dropped at once when training ends.

        The one that Keras makes of these batches tunes itself, in a thread whose naps grow to a minute, and whoever
        drops it waits for the end of the nap.
        """
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        arrays = [np.asarray(array) for array in self[0]]
        signature = tuple(tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in arrays)
        batches = tf.data.Dataset.from_generator(
            lambda: map(self.__getitem__, itertools.count()), output_signature=signature
        )
        return batches.prefetch(PREFETCHED).with_options(_untuned())


def outputs_of(network: keras.Model, inputs: NDArray[Any] | list[NDArray[Any]], batch_size: int) -> NDArray[np.float32]:
    """Compute the output of a network that has one.

    The data set that Keras makes of arrays for TensorFlow idles between batches where there is one core.
    """
    if keras.backend.backend() != "tensorflow":
        return network.predict(inputs, batch_size=batch_size, verbose=0)  # type: ignore[no-any-return]
    import tensorflow as tf

    rows = tf.data.Dataset.from_tensor_slices((tuple(inputs) if isinstance(inputs, list) else inputs,))
    return network.predict(rows.batch(batch_size).with_options(_untuned()), verbose=0)  # type: ignore[no-any-return]


def _untuned() -> Any:
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return options
