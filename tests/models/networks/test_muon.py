"""Muon, against a plain NumPy step; on every back end."""

import keras
import numpy as np
import pytest

from fmnist_bench.models.networks._muon import COEFFICIENTS, Muon, orthogonalize

pytestmark = pytest.mark.networks


def newton_schulz(matrix, steps):
    a, b, c = COEFFICIENTS
    x = matrix / np.linalg.norm(matrix)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


@pytest.mark.parametrize("shape", [(9, 32), (72, 48), (32, 32), (5, 2)])
def test_singular_values_come_near_one(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = keras.ops.convert_to_numpy(orthogonalize(matrix, 5))
    np.testing.assert_allclose(found, newton_schulz(matrix.astype(np.float64), 5), atol=1e-3)
    values = np.linalg.svd(found, compute_uv=False)
    assert 0.3 < values.min() <= values.max() < 1.3


def test_a_matrix_of_zeros_stays_one():
    assert not keras.ops.convert_to_numpy(orthogonalize(np.zeros((9, 4), np.float32), 5)).any()


def test_two_steps_are_those_of_numpy():
    generator = np.random.default_rng(0)
    filters, first, second = (generator.normal(size=(3, 3, 2, 4)) for _ in range(3))
    variable = keras.Variable(filters, dtype="float32")
    optimizer = Muon(0.4, conv_rate=0.25, conv_momentum=0.5)
    momentum = np.zeros_like(filters)
    for gradient in (first, second):
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        momentum = 0.5 * momentum + gradient
        step = newton_schulz((gradient + 0.5 * momentum).reshape(18, 4), 5).reshape(filters.shape)
        filters = filters * 2 / np.linalg.norm(filters) - 0.1 * step
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), filters, atol=1e-3)


@pytest.mark.parametrize("shape", [(6, 3), (3,), (3, 3, 4, 1)])
def test_all_but_convolutions_learn_by_gradient_descent(shape):
    generator = np.random.default_rng(0)
    start, *gradients = (generator.normal(size=shape).astype(np.float32) for _ in range(4))
    trained = []
    for optimizer in (Muon(0.1), keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)):
        variable = keras.Variable(start)
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        trained.append(keras.ops.convert_to_numpy(variable))
    np.testing.assert_allclose(*trained, atol=1e-6)


def test_it_is_made_again_from_its_configuration():
    optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(Muon(0.3, conv_rate=0.2, ns_steps=3)))
    assert isinstance(optimizer, Muon)
    assert (optimizer.conv_rate, optimizer.conv_momentum, optimizer.ns_steps) == (0.2, 0.6, 3)
    assert optimizer.nesterov


def test_without_momentum_it_is_refused():
    with pytest.raises(ValueError, match=r"momentum=0\.0: must be above 0"):
        Muon(momentum=0.0)
