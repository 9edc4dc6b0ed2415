"""Convolutional networks trained from scratch."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from fmnist_bench.models.networks._base import KerasClassifier
from fmnist_bench.models.networks._layers import FusedBatchNormalization, PatchWhitening
from fmnist_bench.models.networks._parameters import check_least, check_shares

HEADS = ("flatten", "max", "average")
BLOCKS = ("plain", "residual", "separable")
POOLS = ("after", "before", "early")
SHRINK = 4
SMALLEST_POOLED = 4


@dataclass(kw_only=True, eq=False, repr=False)
class CNNClassifier(KerasClassifier):
    """Classifier by a convolutional network.

    The convolutions stand in blocks. Each has a 2x2 max pooling as long as the plane is at least 4 pixels high and
    wide; with a global head the last block ends with the global pooling.

    Parameters
    ----------
    n_convs : int
        Convolutions, at least 1.
    convs_per_block : int
        Convolutions before each pooling, at least 1.
    block : {"plain", "residual", "separable"}
        Residual blocks add their input to their output; separable ones filter each channel, then mix the channels.
    filters : int
        Filters of the convolutions in the first block.
    growth : float
        Factor on the filters from one block to the next.
    kernel_size : int
        Height and width of the convolutions.
    batch_norm : bool
        Batch normalisation after every convolution and hidden dense layer.
    pool : {"after", "before", "early"}
        Where a block pools: after its last convolution, or before that one's normalisation and activation, which have
        fewer pixels to work on then, or already so after its first convolution.
    whiten : bool
        Begin with uncorrelated coordinates of the 2x2 patches of the images, see `PatchWhitening`.
    head : str
        `"flatten"`, or global pooling by `"max"` or `"average"`.
    n_dense : int
        Hidden dense layers between the convolutions and the output.
    dense_units : int
        Units of the first hidden dense layer; each further one has a quarter.
    conv_dropout : float
        Dropout after every convolution but the first, from 0 to below 1.
    dropout : float
        Dropout after every hidden dense layer, or before the output if there is none.
    logit_scale : float
        Factor on the output of the last layer.
    optimizer, learning_rate, warm_up, weight_decay, label_smoothing, batch_size, epochs, patience, flip, shift, \
erase, flip_average
        How to train, see `KerasClassifier`.
    precision, image_shape, class_weight, random_state
        See `KerasClassifier`.

    References
    ----------
    Simonyan and Zisserman, "Very Deep Convolutional Networks" (2015), for the blocks; Ioffe and
    Szegedy, "Batch Normalization" (2015); Lin, Chen and Yan, "Network In Network" (2014), for
    global pooling; He et al., "Deep Residual Learning" (2016); Chollet, "Xception" (2017); Page,
    "How to Train Your ResNet" (2018), for the scaled logits and the pooling before the normalisation; Jordan, "94% on
    CIFAR-10 in 3.29 Seconds on a Single GPU" (2024), for early pooling.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = CNNClassifier(n_convs=2, filters=16, batch_size=32, epochs=8, flip=False, random_state=0)
    >>> bool(model.fit(X[:1500] * 16, y[:1500]).score(X[1500:] * 16, y[1500:]) > 0.9)
    True
    """

    n_convs: int = 6
    convs_per_block: int = 2
    block: str = "plain"
    filters: int = 32
    growth: float = 2.0
    kernel_size: int = 3
    batch_norm: bool = True
    pool: str = "after"
    whiten: bool = False
    head: str = "max"
    n_dense: int = 0
    dense_units: int = 128
    conv_dropout: float = 0.0
    dropout: float = 0.0
    logit_scale: float = 0.125
    learning_rate: float = 0.4

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_least(self, n_convs=1, convs_per_block=1, filters=1, kernel_size=1, n_dense=0)
        check_least(self, dense_units=min(self.n_dense, 1))
        check_shares(self, "conv_dropout", "dropout")
        for name, allowed in {"head": HEADS, "block": BLOCKS, "pool": POOLS}.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: must be one of {', '.join(allowed)}")

    def _build(self, image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
        inputs = keras.Input(image_shape)
        features = self._stem(inputs)
        for first in range(0, self.n_convs, self.convs_per_block):
            features = self._block(features, range(first, min(first + self.convs_per_block, self.n_convs)))
        outputs = keras.layers.Dense(n_classes)(self._hidden(self._flat(features)))
        if self.logit_scale != 1:
            outputs = keras.layers.Rescaling(self.logit_scale)(outputs)
        return keras.Model(inputs, outputs)

    def _stem(self, x: keras.KerasTensor) -> keras.KerasTensor:
        fits = min(x.shape[1:3]) >= SMALLEST_POOLED
        return keras.layers.ReLU()(PatchWhitening()(x)) if self.whiten and fits else x

    def _block(self, x: keras.KerasTensor, convs: range) -> keras.KerasTensor:
        before = x
        for conv in convs:
            x = self._conv(x, conv)
        return keras.layers.Add()([x, self._shortcut(before, x)]) if self.block == "residual" else x

    def _shortcut(self, x: keras.KerasTensor, like: keras.KerasTensor) -> keras.KerasTensor:
        """Bring the input of a block to the shape of its output."""
        if x.shape[1:3] != like.shape[1:3]:
            x = keras.layers.AveragePooling2D(2)(x)
        return x if x.shape[-1] == like.shape[-1] else keras.layers.Conv2D(like.shape[-1], 1)(x)

    def _conv(self, x: keras.KerasTensor, conv: int) -> keras.KerasTensor:
        filters = round(self.filters * self.growth ** (conv // self.convs_per_block))
        kind = keras.layers.SeparableConv2D if self.block == "separable" and conv else keras.layers.Conv2D
        x = kind(filters, self.kernel_size, padding="same", use_bias=not self.batch_norm)(x)
        pooled = self._has_pooling(conv) and min(x.shape[1:3]) >= SMALLEST_POOLED
        if pooled and self.pool != "after":
            x = keras.layers.MaxPooling2D()(x)
        x = self._activate(x)
        if pooled and self.pool == "after":
            x = keras.layers.MaxPooling2D()(x)
        return keras.layers.Dropout(self.conv_dropout)(x) if conv and self.conv_dropout else x

    def _has_pooling(self, conv: int) -> bool:
        if self.pool == "early":
            return conv % self.convs_per_block == 0
        last = conv == self.n_convs - 1
        return self.head == "flatten" if last else (conv + 1) % self.convs_per_block == 0

    def _activate(self, x: keras.KerasTensor) -> keras.KerasTensor:
        # The default momentum of 0.99 remembers the random start for longer than small trainings last.
        x = FusedBatchNormalization(momentum=0.9)(x) if self.batch_norm else x
        return keras.layers.ReLU()(x)

    def _flat(self, x: keras.KerasTensor) -> keras.KerasTensor:
        layers = {
            "flatten": keras.layers.Flatten,
            "max": keras.layers.GlobalMaxPooling2D,
            "average": keras.layers.GlobalAveragePooling2D,
        }
        return layers[self.head]()(x)

    def _hidden(self, x: keras.KerasTensor) -> keras.KerasTensor:
        for layer in range(self.n_dense):
            units = max(1, self.dense_units // SHRINK**layer)
            x = self._activate(keras.layers.Dense(units, use_bias=not self.batch_norm)(x))
            x = keras.layers.Dropout(self.dropout)(x) if self.dropout else x
        return keras.layers.Dropout(self.dropout)(x) if self.dropout and not self.n_dense else x
