"""Transfer learning: a network that has learned from ImageNet with a new head; its last blocks trained on demand."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_bench._utils.cache import cached_array, source_digest
from fmnist_bench._utils.digests import digest_of
from fmnist_bench._utils.stage_progress import in_parts
from fmnist_bench.data.pixels import WHITE, white_of
from fmnist_bench.models.networks._backbones import BACKBONES, ToBackbone, load_backbone, split_at
from fmnist_bench.models.networks._backend import PRECISIONS, compiles, fits, prepare_backend
from fmnist_bench.models.networks._base import KerasClassifier
from fmnist_bench.models.networks._batches import outputs_of
from fmnist_bench.models.networks._layers import FusedBatchNormalization
from fmnist_bench.models.networks._parameters import check_least, check_shares
from fmnist_bench.models.networks._weights import WEIGHTS

EMBED_BATCH = 256  # images at a time through the frozen part: bounds its memory
EMBEDDED = 8 * EMBED_BATCH  # images whose features are put away at a time


@dataclass(kw_only=True, eq=False, repr=False)
class TransferClassifier(KerasClassifier):
    """A classifier on top of a pretrained network.

    What the frozen part makes of the images is computed once and, with `cache_dir`, kept by content for every later
    trial, so that only the head and the last `unfreeze` blocks cost training time. Batch normalisation inside the
    backbone stays as it was trained.

    Parameters
    ----------
    backbone : {"efficientnet_lite0", "resnet50", "convnext_tiny"}
    weights : {"imagenet"} or None
        None starts from random weights; it has to be asked for.
    weights_dir : str or None
        Folder to look for files of weights in, before Keras' cache.
    image_size : int
        Height and width, pixels, to which images are resized; at least 32.
    unfreeze : int
        Number of last blocks that are trained, from 0.
    tail_rate : float
        Learning rate of these blocks as a share of that of the head, above 0 to 1.
    dense_units : int
        Width of a hidden layer of the head; 0 for none.
    dropout : float
        Before the last layer, from 0 to below 1.
    cache_dir : str or None
        Folder of what the frozen part made of images.
    weight_decay : float
        Decoupled weight decay of the head, 0 or more.
    learning_rate, warm_up, label_smoothing, batch_size, epochs, patience, precision, image_shape, \
class_weight, random_state
        See `KerasClassifier`; there are no flips, and `precision` is "auto" or "float32": the frozen part computes in
        float32 in any case, a GPU in float32 altogether.

    Attributes
    ----------
    weights_ : str
        "random", or "imagenet" and the beginning of the hash of the file that it began with.
    classes_, network_, history_
        See `KerasClassifier`.

    References
    ----------
    Yosinski et al., "How transferable are features in deep neural networks?" (2014).
    """

    backbone: str = "efficientnet_lite0"
    weights: str | None = "imagenet"
    weights_dir: str | None = None
    image_size: int = 64
    unfreeze: int = 0
    tail_rate: float = 0.1
    dense_units: int = 0
    dropout: float = 0.2
    cache_dir: str | None = None
    learning_rate: float = 0.02
    epochs: int = 10
    optimizer: str = field(default="sgd", init=False)
    flip: bool = field(default=False, init=False)
    shift: int = field(default=0, init=False)
    erase: float = field(default=0.0, init=False)
    flip_average: bool = field(default=False, init=False)

    def _build(self, image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
        """Return the network from pixels to logits, in two parts: ``frozen`` and ``learner``."""
        frozen, tail = split_at(
            load_backbone(self.backbone, self.image_size, self.weights, self.weights_dir), self.backbone, self.unfreeze
        )
        pixels = keras.Input(image_shape)
        embed = keras.Model(pixels, self._embedding(frozen, pixels, tail is None), name="frozen")
        embed.trainable = False
        learner = self._head(embed.output_shape[1:], tail, n_classes)
        return keras.Model(pixels, learner(embed(pixels)))

    def _embedding(self, frozen: keras.Model, pixels: keras.KerasTensor, pooled: bool) -> keras.KerasTensor:
        backbone = BACKBONES[self.backbone]
        x = frozen(ToBackbone(self.image_size, backbone.scale, backbone.offset, backbone.blue_first)(pixels))
        return keras.layers.GlobalAveragePooling2D()(x) if pooled else x

    def _head(self, shape: tuple[int, ...], tail: keras.Model | None, n_classes: int) -> keras.Model:
        inputs = keras.Input(shape)
        x = inputs
        if tail is not None:
            for layer in tail.layers:  # a frozen one goes on with the statistics of its training
                layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
            x = keras.layers.GlobalAveragePooling2D()(tail(x))
        x = FusedBatchNormalization(momentum=0.9, center=False, scale=False)(x)
        if self.dense_units:
            x = keras.layers.Dense(self.dense_units, activation="relu")(x)
        x = keras.layers.Dropout(self.dropout)(x)
        return keras.Model(inputs, keras.layers.Dense(n_classes)(x), name="learner")

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision={self.precision!r}: must be one of {', '.join(PRECISIONS)}")
        check_least(self, dense_units=0)
        check_shares(self, "dropout")
        if not 0 < self.tail_rate <= 1:
            raise ValueError(f"tail_rate={self.tail_rate!r}: must be above 0 and at most 1")

    def _check_rows(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        rows, labels = super()._check_rows(X, y)
        if white_of(rows) != WHITE:
            seen = f"pixels from {rows.min():.4g} to {rows.max():.4g}"
            warnings.warn(f"{seen}: the backbone was trained on pixels from 0 to 255", stacklevel=3)
        return rows, labels

    def _build_network(self, images: NDArray[Any]) -> keras.Model:
        network = self._build(images.shape[1:], len(self.classes_))
        file = WEIGHTS[self.backbone]
        self.weights_ = "random" if self.weights is None else f"imagenet {(file.sha256 or file.md5)[:12]}"
        network.jit_compile = compiles()
        return network

    def _learner(self) -> keras.Model:
        return self.network_.get_layer("learner")

    def _optimizer(self) -> keras.optimizers.Optimizer:
        return SlowTail([v.path for v in self._undecayed()], self.tail_rate, self.learning_rate, self.weight_decay)

    def _undecayed(self) -> list[keras.Variable]:
        """Return what the last blocks have learnt from ImageNet."""
        layers = [layer for layer in self._learner().layers if layer.name == "unfrozen"]
        return [v for layer in layers for v in layer.trainable_variables]

    def _embed(self, images: NDArray[Any]) -> NDArray[Any]:
        """Compute what the frozen part makes of the images, or read it from a file, where float16 halves its size."""
        path = self._cache_file(images)
        if path is None:  # in full, so that probabilities are those of another back end to 1e-4
            return self._through_frozen(images, np.float32)
        return cached_array(path, lambda: self._through_frozen(images, np.float16))

    def _through_frozen(self, images: NDArray[Any], dtype: type) -> NDArray[Any]:
        """Compute features part by part: those of all rows may take gigabytes, which must not be there twice."""
        prepare_backend("float32")  # how TensorFlow rounds to bfloat16 changes when a model is loaded
        frozen = self.network_.get_layer("frozen")
        frozen.jit_compile = compiles()
        features = np.empty((len(images), *frozen.output_shape[1:]), dtype)
        parts = [slice(start, start + EMBEDDED) for start in range(0, len(images), EMBEDDED)]
        batch_size = EMBED_BATCH

        def through(part: slice, size: int) -> None:
            features[part] = outputs_of(frozen, images[part], size)

        for part in in_parts("features", parts):
            if not fits(partial(through, part), batch_size):
                batch_size //= 2
                through(part, batch_size)
        prepare_backend(self.precision)
        return features

    def _cache_file(self, images: NDArray[Any]) -> Path | None:
        if self.cache_dir is None or self.weights is None:
            return None
        file = WEIGHTS[self.backbone]
        what = (self.backbone, file.sha256 or file.md5, self.image_size, self.unfreeze, images.shape, images.dtype)
        made_by = f"{keras.__version__} {keras.backend.backend()} {source_digest(ToBackbone)}"
        return Path(self.cache_dir) / f"{digest_of(f'{what} {made_by}', images)}.npy"


class SlowTail(keras.optimizers.SGD):  # type: ignore[misc]
    """Gradient descent with Nesterov momentum that takes smaller steps for some variables.

    Parameters
    ----------
    slow : list of str
        Paths of these variables.
    share : float
        Their learning rate as a share of that of the others.
    learning_rate, weight_decay : float
    """

    def __init__(self, slow: list[str], share: float, learning_rate: float, weight_decay: float) -> None:
        super().__init__(learning_rate, momentum=0.9, nesterov=True, weight_decay=weight_decay or None)
        self.slow, self.share = frozenset(slow), share

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Make a step; momentum and step are linear in the gradient, so a smaller one is a smaller rate."""
        variables = trainable_variables or self._trainable_variables
        scaled = [g * self.share if v.path in self.slow else g for g, v in zip(grads, variables, strict=True)]
        super().apply(scaled, trainable_variables)
