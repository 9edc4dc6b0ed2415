"""Muon: steps of gradient descent whose matrices are made orthogonal."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that brings singular values near 1 fastest
EPSILON = 1e-7


@keras.saving.register_keras_serializable("fmnist_bench")
class Muon(keras.optimizers.SGD):  # type: ignore[misc]
    """Optimizer that trains convolutions by Muon, everything else by SGD with Nesterov momentum.

    The momentum of a convolution's filters is a matrix with a column a filter. Muon replaces it by the nearest
    orthogonal one, so each step moves all directions alike, and keeps the norm of the filters at the square root of
    their number: what follows must be a normalisation. Keras' own Muon leaves convolutions to AdamW.

    Parameters
    ----------
    learning_rate : float
        Of everything but convolutions, above 0.
    momentum : float
        Of everything but convolutions, above 0 and at most 1.
    conv_rate : float
        Learning rate of convolutions as a share of `learning_rate`, above 0.
    conv_momentum : float
        Momentum of convolutions, from 0 to below 1.
    ns_steps : int
        Newton-Schulz iterations a step, at least 1.
    **kwargs
        See `keras.optimizers.SGD`.

    Raises
    ------
    ValueError
        Where `momentum` is not above 0.

    References
    ----------
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); Jordan, "94% on CIFAR-10 in 3.29
    Seconds on a Single GPU" (2024), for the norm of the filters.
    """

    def __init__(
        self,
        learning_rate: float = 0.4,
        momentum: float = 0.9,
        conv_rate: float = 0.15,
        conv_momentum: float = 0.6,
        ns_steps: int = 5,
        **kwargs: Any,
    ) -> None:
        if not momentum > 0:  # without it gradient descent keeps no momentum of convolutions, either
            raise ValueError(f"momentum={momentum!r}: must be above 0")
        super().__init__(learning_rate, momentum, **{"nesterov": True, **kwargs})
        self.conv_rate, self.conv_momentum, self.ns_steps = conv_rate, conv_momentum, ns_steps

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable against its gradient."""
        if not _is_convolution(variable):
            super().update_step(gradient, variable, learning_rate)
            return
        momentum = self.momentums[self._get_variable_index(variable)]
        gradient = ops.cast(gradient, variable.dtype)
        self.assign(momentum, self.conv_momentum * momentum + gradient)
        ahead = self.conv_momentum * momentum + gradient
        step = ops.reshape(orthogonalize(ops.reshape(ahead, (-1, variable.shape[-1])), self.ns_steps), variable.shape)
        filters = normalize(ops.cast(variable, "float32"))
        rate = self.conv_rate * ops.cast(learning_rate, "float32")
        self.assign(variable, ops.cast(filters - rate * step, variable.dtype))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        own = {"conv_rate": self.conv_rate, "conv_momentum": self.conv_momentum, "ns_steps": self.ns_steps}
        return {**super().get_config(), **own}


def _is_convolution(variable: Any) -> bool:
    """Tell a convolution's kernel, (height, width, inputs, filters), from a depthwise one, which is no matrix."""
    return len(variable.shape) == 4 and variable.shape[-1] > 1


def normalize(filters: Any) -> Any:
    """Scale filters so that their norm is the square root of their number."""
    return filters * (filters.shape[-1] ** 0.5 / (ops.sqrt(ops.sum(ops.square(filters))) + EPSILON))


def orthogonalize(matrix: Any, steps: int) -> Any:
    """Bring the singular values of a matrix near 1, from about 0.7 to 1.2, without changing its singular vectors.

    Parameters
    ----------
    matrix : tensor of shape (m, n)
    steps : int
        Newton-Schulz iterations, in float32.

    Returns
    -------
    tensor of shape (m, n), float32
    """
    a, b, c = COEFFICIENTS
    x = ops.cast(matrix, "float32")
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + EPSILON)
    for _ in range(steps):
        gram = ops.matmul(ops.transpose(x), x)
        x = a * x + ops.matmul(x, b * gram + c * ops.matmul(gram, gram))
    return x
