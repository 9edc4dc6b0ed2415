import keras
import numpy as np
import pytest

from fmnist_bench.models.networks._backend import prepare_backend
from fmnist_bench.models.networks._layers import (
    FusedBatchNormalization,
    PatchWhitening,
    SmallPlaneDepthwiseConv2D,
    adapt_layers,
)

pytestmark = pytest.mark.networks


@pytest.fixture(autouse=True)
def exact():
    """Undo what networks of other tests have asked of TensorFlow."""
    prepare_backend("float32")


@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (40, 3), (1, 2, 2, 3), (1, 1, 1, 3), (1, 3)])
@pytest.mark.parametrize("arguments", [{}, {"center": False, "scale": False}])
def test_it_is_batch_normalisation(shape, arguments):
    images = np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)
    inputs = keras.Input(shape[1:])
    ours = keras.Model(inputs, FusedBatchNormalization(momentum=0.9, **arguments)(inputs))
    theirs = keras.Model(inputs, keras.layers.BatchNormalization(momentum=0.9, **arguments)(inputs))
    for training in (True, True, False):
        found, expected = (keras.ops.convert_to_numpy(model(images, training=training)) for model in (ours, theirs))
        np.testing.assert_allclose(found, expected, atol=1e-4)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-4)


def test_gradients_are_those_of_keras():
    generator = np.random.default_rng(0)
    images, targets = generator.normal(size=(32, 6, 6, 2)), generator.normal(size=(32, 6, 6, 2))
    trained = []
    for layer in (FusedBatchNormalization, keras.layers.BatchNormalization):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6, 6, 2))
        model = keras.Model(inputs, layer()(keras.layers.Conv2D(2, 3, padding="same")(inputs)))
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        model.fit(images, targets, batch_size=8, epochs=3, shuffle=False, verbose=0)
        trained.append(model.get_weights())
    for mine, other in zip(*trained, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-3)


def test_a_frozen_one_keeps_its_statistics():
    layer = FusedBatchNormalization()
    layer.build((None, 2, 2, 3))
    layer.trainable = False
    layer(np.full((4, 2, 2, 3), 9.0, np.float32), training=True)
    assert not keras.ops.convert_to_numpy(layer.moving_mean).any()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it is Keras' layer elsewhere")
@pytest.mark.parametrize(
    ("plane", "kernel"), [((2, 2), 5), ((4, 4), 5), ((1, 1), 3), ((2, 2), 3), ((2, 3), (5, 4)), ((4, 4), 3)]
)
def test_small_planes_are_filtered_and_learn_as_in_keras(plane, kernel):
    generator = np.random.default_rng(0)
    images, targets = generator.normal(size=(32, *plane, 3)), generator.normal(size=(32, *plane, 3))
    trained = []
    for layer in (SmallPlaneDepthwiseConv2D, keras.layers.DepthwiseConv2D):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((*plane, 3))
        model = keras.Model(inputs, layer(kernel, padding="same")(layer(kernel, padding="same")(inputs)))
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        model.fit(images, targets, batch_size=8, epochs=3, shuffle=False, verbose=0)
        at_once = keras.ops.convert_to_numpy(model(images, training=False))
        trained.append([*model.get_weights(), model.predict(images, verbose=0), at_once])
    for mine, other in zip(*trained, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_become_uncorrelated_with_variance_one(channels):
    images = np.random.default_rng(0).normal(size=(200, 6, 5, channels)).astype(np.float32)
    images[:, 1:] += 2 * images[:, :-1]
    inputs = keras.Input((6, 5, channels))
    network = keras.Model(inputs, PatchWhitening()(inputs))
    adapt_layers(network, images, 1.0, 0.0)
    found = keras.ops.convert_to_numpy(network(images))
    assert found.shape == (200, 5, 4, 8 * channels)
    half = found.reshape(-1, 8 * channels)[:, : 4 * channels]
    np.testing.assert_allclose(found[..., 4 * channels :], -found[..., : 4 * channels], atol=1e-4)
    np.testing.assert_allclose(np.cov(half, rowvar=False), np.eye(4 * channels), atol=0.02)
    assert network.trainable_variables == []


def test_images_of_one_value_are_whitened_too():
    inputs = keras.Input((4, 4, 1))
    network = keras.Model(inputs, PatchWhitening()(inputs))
    adapt_layers(network, np.ones((3, 4, 4, 1), np.float32), 1.0, 0.0)
    assert np.isfinite(keras.ops.convert_to_numpy(network(np.ones((1, 4, 4, 1), np.float32)))).all()
