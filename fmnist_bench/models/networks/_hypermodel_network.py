"""What can be told of a network that somebody else has built and compiled: its width, its labels, its outputs."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

ROUNDING = 0.05  # by which probabilities in bfloat16 may miss one: a class has 8 bits


def width(network: keras.Model) -> int | None:
    """Number of outputs; None if the network must run first to know it.

    Raises
    ------
    ValueError
        Where the network has several outputs, or one that is no row for each image.
    """
    try:
        shape = network.output_shape
    except (AttributeError, ValueError):
        return None
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise ValueError(f"the network must have one output of shape (images, classes), found {shape}")
    return None if shape[1] is None else int(shape[1])


def wants_codes(network: keras.Model) -> bool:
    """Whether the loss takes labels as whole numbers, not as one-hot rows."""
    loss = getattr(network, "loss", None)
    name = getattr(loss, "name", None) or getattr(loss, "__name__", None) or loss
    return loss is None or "sparse" in str(name).lower()


def are_logits(outputs: NDArray[Any]) -> bool:
    """Whether outputs are logits: probabilities lie between 0 and 1, and those of several classes sum to 1."""
    several = outputs.shape[1] > 1
    are_probabilities = outputs.min() >= 0 and outputs.max() <= 1
    return not (are_probabilities and (not several or np.abs(outputs.sum(axis=1) - 1).max() < ROUNDING))


def bare(network: keras.Model) -> keras.Model:
    """Leave out the state of the optimizer, which would triple what is saved."""
    try:
        return keras.Model(network.inputs, network.outputs)
    except (AttributeError, TypeError, ValueError):
        return network


def has_own_layers(network: keras.Model) -> bool:
    """Whether Keras needs classes of somebody else to load the network."""
    return re.search(r'"registered_name": "[^"]*>', network.to_json()) is not None
