"""The two networks of a class-conditional GAN and how they are trained against each other, on any Keras back end."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from fmnist_bench.models.networks._layers import FusedBatchNormalization

SMALLEST = 8  # pixels of the plane that the generator starts from, at most
LONGEST_MEMORY = 0.999  # momentum of the average of the generator's weights, at most
PASSES = 50  # of the averaged generator over synthetic rows, for the statistics of its normalisation
MOVES = 0.15  # share of the height and width by which differentiable augmentation moves images


def doublings(image_shape: tuple[int, int, int]) -> int:
    """How often the generator doubles its plane to reach an image of this shape."""
    return max(1, math.ceil(math.log2(max(image_shape[:2]) / SMALLEST)))


def build_generator(image_shape: tuple[int, int, int], n_classes: int, latent: int, width: int) -> keras.Model:
    """From noise `(n, latent)` and classes `(n,)` to images from -1 to 1 (Radford et al., 2016).

    The class is given to the first layer, and scales and shifts every plane (de Vries et al., 2017; Miyato and Koyama,
    2018).
    """
    height, breadth, channels = image_shape
    levels = doublings(image_shape)
    rows, columns = math.ceil(height / 2**levels), math.ceil(breadth / 2**levels)
    noise, label = keras.Input((latent,)), keras.Input((), dtype="int32")
    x = keras.layers.Concatenate()([noise, keras.layers.Embedding(n_classes, latent, name="classes")(label)])
    x = keras.layers.Dense(rows * columns * width * 2**levels, use_bias=False)(x)
    x = _normalized(keras.layers.Reshape((rows, columns, width * 2**levels))(x), label, n_classes)
    for level in reversed(range(levels)):
        x = keras.layers.Conv2DTranspose(width * 2**level, 4, 2, "same", use_bias=False)(x)
        x = _normalized(x, label, n_classes)
    x = keras.layers.Conv2D(channels, 3, padding="same", activation="tanh")(x)
    surplus = ((0, rows * 2**levels - height), (0, columns * 2**levels - breadth))
    return keras.Model([noise, label], keras.layers.Cropping2D(surplus)(x) if any(map(any, surplus)) else x)


def _normalized(x: keras.KerasTensor, label: keras.KerasTensor, n_classes: int) -> keras.KerasTensor:
    """Normalise by the batch, then scale and shift each plane as the class says."""
    n_planes, embed = x.shape[-1], keras.layers.Embedding
    scale = embed(n_classes, n_planes, embeddings_initializer="ones")(label)
    shift = embed(n_classes, n_planes, embeddings_initializer="zeros")(label)
    x = FusedBatchNormalization(momentum=0.9, center=False, scale=False)(x)
    x = keras.layers.Multiply()([x, keras.layers.Reshape((1, 1, n_planes))(scale)])
    return keras.layers.ReLU()(keras.layers.Add()([x, keras.layers.Reshape((1, 1, n_planes))(shift)]))


def build_discriminator(image_shape: tuple[int, int, int], n_classes: int, width: int, augment: bool) -> keras.Model:
    """From images and classes to scores, above zero for real ones, and to logits of the classes.

    Spectral normalisation of every weight that a score depends on, and a projection of the class on the features
    (Miyato et al., 2018; Miyato and Koyama, 2018). The logits are those of an auxiliary classifier.
    """
    image, label = keras.Input(image_shape), keras.Input((), dtype="int32")
    x = Moves(MOVES)(image) if augment else image
    for level in range(doublings(image_shape) + 1):
        x = _spectral(keras.layers.Conv2D(width * 2**level, 4, 2, "same"))(x)
        x = keras.layers.LeakyReLU(0.1)(x)
    area = x.shape[1] * x.shape[2]
    x = keras.layers.Rescaling(area)(keras.layers.GlobalAveragePooling2D()(x))
    looks = _spectral(keras.layers.Dense(x.shape[-1], use_bias=False))(keras.ops.one_hot(label, n_classes))
    fits_class = keras.layers.Dot(1)([x, looks])
    score = keras.layers.Add()([_spectral(keras.layers.Dense(1))(x), fits_class])
    return keras.Model([image, label], [score, keras.layers.Dense(n_classes)(x)])


def _spectral(layer: keras.layers.Layer) -> keras.layers.Layer:
    return keras.layers.SpectralNormalization(layer)


class Moves(keras.layers.Layer):  # type: ignore[misc]
    """Moves each image by a few pixels, in a way that gradients pass (Zhao et al., 2020).

    Parameters
    ----------
    share : float
        Of height and width, from 0 to 1, by which it may move at most.
    """

    def __init__(self, share: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.share = share
        self.generator = keras.random.SeedGenerator()

    def call(self, images: Any) -> Any:
        """Move; zeros, the middle gray, come in."""
        down, right = (self._shifts(images, axis) for axis in (1, 2))
        return keras.ops.einsum("nab,nbcx,ndc->nadx", down, images, right)

    def _shifts(self, images: Any, axis: int) -> Any:
        """Return matrices `(n, size, size)` that move a row or column of pixels."""
        size = images.shape[axis]
        most = max(1, round(self.share * size))
        steps = keras.random.randint((keras.ops.shape(images)[0], 1, 1), -most, most + 1, seed=self.generator)
        places = keras.ops.arange(size)
        return keras.ops.cast(keras.ops.equal(places[:, None] - places[None, :], steps), images.dtype)


class Adversaries(keras.Model):  # type: ignore[misc]
    """Generator and discriminator that learn from each other by the hinge loss (Lim and Ye, 2017).

    Beside it the generator learns to make images that the discriminator takes for the class asked for (Odena et al.,
    "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017).

    Parameters
    ----------
    generator, discriminator : keras.Model
    latent : int
    learning_rate : float
        Of Adam for both.
    class_weight : float
        Of the auxiliary classifier's verdict in the generator's loss, 0 or more.
    steps : int
        Of the whole training: the generator's weights are averaged over about its last tenth.
    seed : int
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        latent: int,
        learning_rate: float,
        class_weight: float,
        steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.class_weight = class_weight
        self.generator, self.discriminator, self.latent = generator, discriminator, latent
        self.noise = keras.random.SeedGenerator(seed)
        # The average begins with the first weights, and has to have forgotten them in the end.
        momentum = min(LONGEST_MEMORY, max(1 - 10 / steps, 0.0))
        self.generator_optimizer = keras.optimizers.Adam(learning_rate, 0.5, 0.99, use_ema=True, ema_momentum=momentum)
        self.discriminator_optimizer = keras.optimizers.Adam(learning_rate, 0.5, 0.99)
        self.generator_optimizer.build(generator.trainable_variables)
        self.discriminator_optimizer.build(discriminator.trainable_variables)
        self.built = True

    def train_step(self, data: Any) -> dict[str, Any]:
        """Train the discriminator once, then the generator once."""
        images, labels = data
        images = keras.ops.cast(images, "float32") / 127.5 - 1.0
        descend = _descend_torch if keras.backend.backend() == "torch" else _descend_tensorflow
        judged = descend(
            lambda: self._discriminator_loss(images, labels), self.discriminator, self.discriminator_optimizer
        )
        faked = descend(lambda: self._generator_loss(labels), self.generator, self.generator_optimizer)
        return {"discriminator_loss": judged, "generator_loss": faked}

    def finish(self, labels: Any) -> None:
        """Replace the generator's weights by their moving average, and adapt its normalisation to them.

        The statistics of the normalisation were those of the last weights; `labels` of real rows are what they are
        taken over anew.
        """
        self.generator_optimizer.finalize_variable_values(self.generator.trainable_variables)
        for part in np.array_split(labels, PASSES):
            self._fakes(keras.ops.convert_to_tensor(part))

    def _discriminator_loss(self, images: Any, labels: Any) -> Any:
        fakes = keras.ops.stop_gradient(self._fakes(labels))
        both = keras.ops.concatenate([images, fakes]), keras.ops.concatenate([labels, labels])
        score, logits = self.discriminator(both, training=True)
        real, fake = keras.ops.split(score, 2)
        hinge = keras.ops.mean(keras.ops.relu(1.0 - real)) + keras.ops.mean(keras.ops.relu(1.0 + fake))
        return hinge + self._misses(labels, keras.ops.split(logits, 2)[0])

    def _generator_loss(self, labels: Any) -> Any:
        score, logits = self.discriminator([self._fakes(labels), labels], training=True)
        return self.class_weight * self._misses(labels, logits) - keras.ops.mean(score)

    def _misses(self, labels: Any, logits: Any) -> Any:
        """Cross entropy of the auxiliary classifier, which learns from real images alone."""
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))

    def _fakes(self, labels: Any) -> Any:
        noise = keras.random.normal((keras.ops.shape(labels)[0], self.latent), seed=self.noise)
        return self.generator([noise, labels], training=True)


def _descend_tensorflow(loss: Any, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> Any:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss()
    variables = network.trainable_variables
    found = tape.gradient(value, [v.value for v in variables])
    # Those of embeddings have a row for each image; Adam has to see their sums.
    optimizer.apply([tf.convert_to_tensor(gradient) for gradient in found], variables)
    return value


def _descend_torch(loss: Any, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> Any:
    import torch

    variables = network.trainable_variables
    for variable in variables:
        variable.value.grad = None
    value = loss()
    value.backward()
    with torch.no_grad():
        optimizer.apply([variable.value.grad for variable in variables], variables)
    return value.detach()
