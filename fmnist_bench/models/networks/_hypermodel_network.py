"""What can be told of a network that somebody else has built and compiled: its width, its labels, its outputs."""

from __future__ import annotations

import re
from typing import Any

import keras

PROBABILITIES = ("softmax", "sigmoid")


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


def gives_logits(network: keras.Model) -> bool:
    """Whether the outputs are logits: the loss says so, or the last layer ends in neither softmax nor sigmoid."""
    loss: Any = getattr(network, "loss", None)
    if hasattr(loss, "get_config") and loss.get_config().get("from_logits"):
        return True
    last = _last_operation(network)
    activation = getattr(last, "activation", None)
    names = (type(last).__name__.lower(), str(getattr(activation, "__name__", "")))
    return last is not None and not any(name in PROBABILITIES for name in names)


def _last_operation(network: keras.Model) -> Any:
    """Find what the output comes from; None in a network that is all code."""
    try:
        last = network.outputs[0]._keras_history.operation
    except (AttributeError, IndexError, TypeError, ValueError):
        last = network.layers[-1] if isinstance(network, keras.Sequential) and network.layers else None
    return _last_operation(last) if isinstance(last, keras.Model) else last


def bare(network: keras.Model) -> keras.Model:
    """Leave out the state of the optimizer, which would triple what is saved."""
    try:
        return keras.Model(network.inputs, network.outputs)
    except (AttributeError, TypeError, ValueError):
        return network


def has_own_layers(network: keras.Model) -> bool:
    """Whether Keras needs classes of somebody else to load the network."""
    return re.search(r'"registered_name": "[^"]*>', network.to_json()) is not None
