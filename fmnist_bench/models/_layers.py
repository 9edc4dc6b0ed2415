"""Layers of our own."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("fmnist_bench")
class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation over the last axis, in training by TensorFlow's one operation for it.

    Keras computes it from a dozen elementwise operations, each of which passes over the whole plane: on a CPU more than
    half of the time of a small network. Arguments, weights and results are those of Keras' layer; on other back ends,
    and for prediction, it is that layer.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise by the batch and follow its statistics, or by these statistics."""
        if not training or not self.trainable or mask is not None or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        shape = tf.shape(inputs)
        planes = inputs if len(inputs.shape) == 4 else tf.reshape(inputs, (-1, 1, 1, inputs.shape[-1]))
        scale = tf.ones(inputs.shape[-1]) if self.gamma is None else tf.convert_to_tensor(self.gamma)
        offset = tf.zeros(inputs.shape[-1]) if self.beta is None else tf.convert_to_tensor(self.beta)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(planes, scale, offset, epsilon=self.epsilon)
        rows = tf.cast(tf.size(planes) // planes.shape[-1], variance.dtype)
        biased = variance * (rows - 1) / rows  # as Keras follows it
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, biased)):
            moving.assign(moving * self.momentum + now * (1.0 - self.momentum))
        return outputs if len(inputs.shape) == 4 else tf.reshape(outputs, shape)
