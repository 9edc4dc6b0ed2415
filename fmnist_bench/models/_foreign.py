"""What can be told of a network that somebody else has built and compiled, and how its training is followed."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from ._training import Monitor, not_finite

if TYPE_CHECKING:
    from .hypermodel import HyperModelClassifier

ACCURACIES = ("accuracy", "acc", "categorical_accuracy", "sparse_categorical_accuracy")
PROBABILITIES = ("softmax", "sigmoid")


def width(network: keras.Model) -> int | None:
    """Number of outputs; None of a network that shows it only once it has run.

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


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Follows a training that a HyperModel runs: watches loss and clock, keeps the history, reports."""

    def __init__(
        self, model: HyperModelClassifier, started: float, valid: tuple[Any, Any] | None, monitor: Monitor | None
    ) -> None:
        super().__init__()
        self.estimator, self.valid, self.monitor = model, valid, monitor
        self.deadline = math.inf if model.max_seconds is None else started + model.max_seconds
        self.step_seconds = self.test_seconds = 0.0
        self.last_loss: float | None = None
        model.history_ = {}

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.step_started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            epoch = len(self.estimator.history_.get("step", ())) + 1
            raise ValueError(not_finite(loss, epoch, self.last_loss))
        self.last_loss = loss
        now = time.monotonic()
        self.step_seconds = now - self.step_started if batch else 0.0  # the first one traces the graph
        if now + self.step_seconds + 2.2 * self.test_seconds >= self.deadline:  # scored now, predicted after `fit`
            self.model.stop_training = True

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.test_started = time.monotonic()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.test_seconds = time.monotonic() - self.test_started

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        entry = {"step": float(epoch + 1), **_entry(logs or {})}
        if self.valid is not None and "valid_accuracy" not in entry:
            entry["valid_accuracy"] = self._accuracy(*self.valid)
        for name, value in entry.items():
            self.estimator.history_.setdefault(name, []).append(value)
        if self.monitor is not None and "valid_accuracy" in entry:
            self.monitor(epoch + 1, entry["valid_accuracy"])

    def _accuracy(self, images: NDArray[Any], codes: NDArray[np.int64]) -> float:
        return float((self.estimator._probabilities(images).argmax(axis=1) == codes).mean())


def _entry(logs: dict[str, Any]) -> dict[str, float]:
    """Take losses and accuracies out of what Keras has logged of an epoch."""
    entry: dict[str, float] = {}
    for prefix, part in (("", "fit"), ("val_", "valid")):
        named = {"loss": ("loss",), "accuracy": ACCURACIES}
        for kind, names in named.items():
            entry |= {f"{part}_{kind}": float(logs[prefix + name]) for name in names if prefix + name in logs}
    return entry
