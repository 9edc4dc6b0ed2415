"""Layers of our own."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

ADAPTED_PIXELS = 4_000_000  # that layers which adapt to images see: 5,000 images of Fashion-MNIST


@keras.saving.register_keras_serializable("fmnist_bench")
class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation over the last axis, in training by the back end's one operation for it.

    Keras computes it from a dozen elementwise operations, each of which passes over the whole plane: on a CPU up to
    half of the time of a small network (`docs/performance.md`). Arguments, weights and results are those of Keras'
    layer; on other back ends than TensorFlow and PyTorch, and for prediction, it is that layer.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise by the batch and follow its statistics, or by these statistics."""
        fused = {"tensorflow": _tensorflow, "torch": _torch}.get(keras.backend.backend())
        one_value = all(size == 1 for size in inputs.shape[:-1])  # a channel, which PyTorch refuses
        if fused is None or one_value or not training or not self.trainable or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        scale = keras.ops.ones(inputs.shape[-1]) if self.gamma is None else keras.ops.convert_to_tensor(self.gamma)
        offset = keras.ops.zeros(inputs.shape[-1]) if self.beta is None else keras.ops.convert_to_tensor(self.beta)
        outputs, mean, variance = fused(inputs, scale, offset, self.epsilon)
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1.0 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable("fmnist_bench")
class SmallPlaneDepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """Depthwise convolution whose filters learn fast on small planes, too.

    At the gradient of filters that are larger than the plane oneDNN is slow: by the sum over the few shifts that
    overlap the last four blocks of EfficientNet-Lite0 train four times as fast (`docs/performance.md`). Arguments,
    weights and results are those of Keras' layer; on other back ends than TensorFlow, with strides, and on larger
    planes, it is that layer.
    """

    def call(self, inputs: Any) -> Any:
        """Filter each channel by itself."""
        plain = self.padding == "same" and self.strides == self.dilation_rate == (1, 1) and self.depth_multiplier == 1
        height, width = inputs.shape[1:3] if self.data_format == "channels_last" else (None, None)
        is_small = None not in (height, width) and height < self.kernel_size[0] and width < self.kernel_size[1]
        if keras.backend.backend() != "tensorflow" or not plain or not is_small:
            return super().call(inputs)
        outputs = _depthwise(inputs, self.kernel)
        return self.activation(outputs if self.bias is None else outputs + self.bias)


@keras.saving.register_keras_serializable("fmnist_bench")
class PatchWhitening(keras.layers.Layer):  # type: ignore[misc]
    """First layer that gives each 2x2 patch of an image uncorrelated coordinates, and their negatives.

    A convolution that is not trained: its filters are the principal directions of the patches that `adapt` sees, scaled
    so that each has variance 1. With the negatives a ReLU behind it loses nothing.

    References
    ----------
    Page, "How to Train Your ResNet 8: Bag of Tricks" (2019); Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU"
    (2024).
    """

    SIDE, FLOOR = 2, 5e-4  # pixels; variance that is added to each direction's, of images of variance 1

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Make the filters, zero until `adapt` has seen images."""
        inputs = self.SIDE**2 * input_shape[-1]
        shape = (self.SIDE, self.SIDE, input_shape[-1], 2 * inputs)
        self.kernel = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="kernel")

    def adapt(self, images: NDArray[Any]) -> None:
        """Set the filters by the patches of images of shape (n, height, width, channels)."""
        patches = np.lib.stride_tricks.sliding_window_view(images, (self.SIDE, self.SIDE), axis=(1, 2))
        rows = np.moveaxis(patches, 3, -1).reshape(-1, self.SIDE**2 * images.shape[-1]).astype(np.float64)
        variances, directions = np.linalg.eigh(np.cov(rows, rowvar=False))
        filters = directions / np.sqrt(np.maximum(variances, 0) + self.FLOOR)
        self.kernel.assign(np.concatenate([filters, -filters], axis=1).reshape(self.kernel.shape))

    def call(self, inputs: Any) -> Any:
        """Return the coordinates of each patch."""
        kernel = keras.ops.cast(self.kernel, inputs.dtype)
        return keras.ops.conv(inputs, kernel, padding="valid", data_format="channels_last")

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Shape of the coordinates."""
        n, height, width, channels = input_shape
        return n, height - self.SIDE + 1, width - self.SIDE + 1, 2 * self.SIDE**2 * channels


def adapt_layers(network: keras.Model, images: NDArray[Any], scale: float, offset: float) -> None:
    """Show some images, scaled as the network gets them, to its layers that adapt to them."""
    layers = [layer for layer in network.layers if isinstance(layer, PatchWhitening)]
    most = max(1, min(len(images), ADAPTED_PIXELS // math.prod(images.shape[1:])))
    for layer in layers:
        layer.adapt(images[:: math.ceil(len(images) / most)].astype(np.float32) * scale + offset)


def _depthwise(inputs: Any, kernel: Any) -> Any:
    import tensorflow as tf

    strides = (1, 1, 1, 1)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def filtered(inputs: Any, kernel: Any) -> tuple[Any, Any]:
        def gradient(outputs: Any) -> tuple[Any, Any]:
            size = tf.shape(inputs)
            through = tf.nn.depthwise_conv2d_backprop_input(size, kernel, outputs, strides, "SAME")
            return through, _by_shifts(inputs, outputs, kernel.shape)

        return tf.nn.depthwise_conv2d(inputs, kernel, strides, "SAME"), gradient

    return filtered(inputs, tf.convert_to_tensor(kernel))  # a gradient of one's own takes no variables


def _by_shifts(inputs: Any, outputs: Any, shape: Any) -> Any:
    """Gradient of the filters: for each of their places the sum over the pixels that it moves onto each other."""
    import tensorflow as tf

    height, width, channels = inputs.shape[1:]
    sums = []
    for down in range(-((shape[0] - 1) // 2), shape[0] // 2 + 1):
        for right in range(-((shape[1] - 1) // 2), shape[1] // 2 + 1):
            if abs(down) >= height or abs(right) >= width:
                sums.append(tf.zeros(channels, inputs.dtype))
                continue
            there = inputs[:, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
            here = outputs[:, max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)]
            sums.append(tf.reduce_sum(tf.reshape(there * here, (-1, channels)), 0))
    return tf.reshape(tf.stack(sums), shape)


def _tensorflow(inputs: Any, scale: Any, offset: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Return the normalised inputs, and mean and biased variance of the batch, which Keras follows."""
    import tensorflow as tf

    planes = inputs if len(inputs.shape) == 4 else tf.reshape(inputs, (-1, 1, 1, inputs.shape[-1]))
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(planes, scale, offset, epsilon=epsilon)
    rows = tf.cast(tf.size(inputs) // inputs.shape[-1], variance.dtype)
    shaped = outputs if len(inputs.shape) == 4 else tf.reshape(outputs, tf.shape(inputs))
    return shaped, mean, variance * (rows - 1) / rows


def _torch(inputs: Any, scale: Any, offset: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Return what `_tensorflow` does."""
    import torch

    mean, variance = torch.zeros_like(scale), torch.ones_like(scale)
    planes = torch.movedim(inputs, -1, 1)
    outputs = torch.nn.functional.batch_norm(planes, mean, variance, scale, offset, True, 1.0, epsilon)
    rows = math.prod(inputs.shape[:-1])
    return torch.movedim(outputs, 1, -1), mean, variance * ((rows - 1) / rows)
