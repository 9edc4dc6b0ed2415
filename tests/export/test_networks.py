import keras
import numpy as np
import pytest
from onnx import helper
from onnx_files import run

import fmnist_bench.export.layers  # noqa: F401
from fmnist_bench.export.agreement import in_float32
from fmnist_bench.export.graph import FLOAT, UINT8, Graph
from fmnist_bench.export.networks import Value, channels_last, network
from fmnist_bench.export.pipelines import convert
from fmnist_bench.export.registry import NotExportableError
from fmnist_bench.models import CNNClassifier, TransferClassifier
from fmnist_bench.models.networks._backbones import BACKBONES


def computed(model, X):
    """What the converted network computes of images with their channels last."""
    g = Graph()
    value = network(g, model, Value("X", X.shape[1:]))
    said = helper.make_tensor_value_info("Y", FLOAT, None)
    file = g.model(
        [helper.make_tensor_value_info("X", FLOAT, ["n", *X.shape[1:]])], {"Y": (channels_last(g, value), said)}, {}
    )
    return run(file.SerializeToString(), X)[0]


def predicted(estimator, X):
    """Probabilities of a converted classifier."""
    g = Graph()
    found = convert(g, estimator, "X")
    said = helper.make_tensor_value_info("Y", FLOAT, ["n", "m"])
    file = g.model([helper.make_tensor_value_info("X", UINT8, ["n", X.shape[1]])], {"Y": (found, said)}, {})
    return run(file.SerializeToString(), X)[0]


def restless(model):
    """Give a network the weights and statistics of one that has learnt something: none is zero or one."""
    generator = np.random.default_rng(0)
    model.set_weights([np.abs(generator.normal(0.3, 0.2, w.shape)) for w in model.get_weights()])
    return model


def eagerly(model, X):
    """What Keras computes in float32: in a graph TensorFlow may round to bfloat16, as another test asked it to."""
    return keras.ops.convert_to_numpy(model(X, training=False))


def build(*layers, shape=(9, 8, 3)):
    return restless(keras.Sequential([keras.Input(shape), *layers]))


LAYERS = {
    "convolutions": [
        keras.layers.Conv2D(6, 3, padding="same", strides=2, activation="relu"),
        keras.layers.Conv2D(6, 2, dilation_rate=2, groups=3, use_bias=False),
    ],
    "separable": [
        keras.layers.SeparableConv2D(5, 3, padding="same", depth_multiplier=2),
        keras.layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, activation="relu6"),
    ],
    "normalisations": [
        keras.layers.BatchNormalization(),
        keras.layers.LayerNormalization(),
        keras.layers.BatchNormalization(center=False, scale=False),
    ],
    "poolings": [
        keras.layers.ZeroPadding2D(((1, 2), (0, 3))),
        keras.layers.MaxPooling2D(3, 2, padding="same"),
        keras.layers.AveragePooling2D(2, 1, padding="same"),
        keras.layers.GlobalAveragePooling2D(),
    ],
    "dense": [
        keras.layers.Dense(7, activation="gelu"),
        keras.layers.Rescaling([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], offset=0.5),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(4, activation="softmax"),
    ],
    "activations": [
        keras.layers.Rescaling(-1.0, offset=1.0),
        keras.layers.ReLU(1.5),
        keras.layers.LeakyReLU(0.2),
        keras.layers.Activation("silu"),
        keras.layers.Activation("tanh"),
        keras.layers.Reshape((27, 8)),
    ],
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_agree(name):
    X = np.random.default_rng(0).normal(size=(5, 9, 8, 3)).astype(np.float32)
    model = build(*LAYERS[name])
    np.testing.assert_allclose(computed(model, X), eagerly(model, X), rtol=1e-4, atol=1e-5)


def test_a_network_with_branches_and_shared_layers_agrees():
    inputs = keras.Input((8, 8, 2))
    shared = keras.layers.Conv2D(2, 3, padding="same")
    once = shared(inputs)
    twice = shared(once)
    together = keras.layers.Concatenate()([keras.layers.Add()([inputs, once]), keras.layers.Multiply()([once, twice])])
    inner = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Dense(3)])
    model = restless(keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(inner(together))))
    X = np.random.default_rng(0).normal(size=(5, 8, 8, 2)).astype(np.float32)
    np.testing.assert_allclose(computed(model, X), eagerly(model, X), rtol=1e-4, atol=1e-5)


def test_a_layer_without_converter_is_named():
    with pytest.raises(NotExportableError, match="UpSampling2D"):
        computed(build(keras.layers.UpSampling2D()), np.zeros((1, 9, 8, 3), np.float32))


SMALL = {"filters": 8, "batch_size": 64, "epochs": 1, "precision": "float32", "random_state": 0}
NETWORKS = {
    "plain": {"n_convs": 2, "head": "flatten", "n_dense": 2, "dense_units": 16, "dropout": 0.2, "conv_dropout": 0.1},
    "airbench": {"n_convs": 4, "pool": "early", "whiten": True, "flip_average": True},
    "residual": {"n_convs": 4, "block": "residual", "pool": "before", "head": "average", "optimizer": "muon"},
    "separable": {"n_convs": 4, "block": "separable", "batch_norm": False, "logit_scale": 1.0},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_convolutional_classifiers_agree(digits, name):
    X, y = digits.X[:300], digits.y[:300]
    model = CNNClassifier(**SMALL, **NETWORKS[name]).fit(X, y)
    np.testing.assert_allclose(predicted(model, X), model.predict_proba(X), atol=1e-5)


def test_a_network_that_rounds_to_bfloat16_is_compared_in_float32(digits):
    X, y = digits.X[:200], digits.y[:200]
    model = CNNClassifier(**SMALL | {"precision": "mixed_bfloat16"}, n_convs=2).fit(X, y)
    found = predicted(model, X)
    assert np.abs(found - model.predict_proba(X)).max() > 1e-4
    np.testing.assert_allclose(found, in_float32(model).predict_proba(X), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("unfreeze", [0, 1])
def test_transfer_networks_agree(digits, backbone, unfreeze):
    X, y = digits.X[:80], digits.y[:80]
    how = {"weights": None, "image_size": 32, "unfreeze": unfreeze, "dense_units": 16, "epochs": 1}
    model = TransferClassifier(backbone=backbone, precision="float32", random_state=0, **how).fit(X * 15, y)
    np.testing.assert_allclose(predicted(model, X * 15), model.predict_proba(X * 15), atol=1e-4)
