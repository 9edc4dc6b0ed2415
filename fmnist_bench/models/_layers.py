"""Layers of our own."""

from __future__ import annotations

import math
from typing import Any

import keras


@keras.saving.register_keras_serializable("fmnist_bench")
class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation over the last axis, in training by the back end's one operation for it.

    Keras computes it from a dozen elementwise operations, each of which passes over the whole plane: on a CPU more than
    half of the time of a small network. Arguments, weights and results are those of Keras' layer; on other back ends
    than TensorFlow and PyTorch, and for prediction, it is that layer.
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
