"""A user's own `keras_tuner.HyperModel` as a classifier over rows of pixels."""

from __future__ import annotations

import contextlib
import inspect
import math
import time
from typing import Any, Self

import keras
import keras_tuner
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from fmnist_bench.models.networks._backend import check_policy, prepare_backend, under_policy
from fmnist_bench.models.networks._base import KerasClassifier, Pair
from fmnist_bench.models.networks._batches import outputs_of
from fmnist_bench.models.networks._callbacks import PREDICT_BATCH, Monitor, not_finite, softmax
from fmnist_bench.models.networks._exclusive import chance_of_its_own
from fmnist_bench.models.networks._hypermodel_network import are_logits, bare, has_own_layers, wants_codes, width
from fmnist_bench.models.networks._hypermodel_space import build_network, discover
from fmnist_bench.models.networks._parameters import row_weights

ACCURACIES = ("accuracy", "acc", "categorical_accuracy", "sparse_categorical_accuracy")


class HyperModelClassifier(KerasClassifier):
    """Classifier by a network that a user's `keras_tuner.HyperModel` builds, compiles and fits.

    The HyperModel gets images as 32-bit floats, in the shape that its network takes, or else
    `(n, height, width, channels)`. It gets labels as whole numbers from 0 if its loss is called
    sparse or it has compiled none, otherwise as one-hot rows. Its network has an output for each
    class, or one for two classes: probabilities or logits, whichever they are when it is trained.
    Keras must be able to load the network again in its safe mode: no Lambda layers, own layers
    registered as serializable.

    Parameters
    ----------
    hypermodel : keras_tuner.HyperModel or its class
        A model that was saved may have a name in its place: it can predict, and not be fitted again.
    epochs, batch_size : int or None
        Are passed on to the `fit` of the HyperModel; None leaves them to it. One that has a `fit` of its own, and asks
        for a hyperparameter of that name, is not passed it.
    divide_by : float
        The pixels are divided by this; 1 leaves them.
    precision : str
        `"auto"` computes in bfloat16 in TensorFlow where the CPU has instructions for it, else as the HyperModel says;
        any other value is the name of a Keras dtype policy, over which one that the HyperModel sets itself wins.
    image_shape, class_weight, random_state
        See `KerasClassifier`.
    **values
        Values of hyperparameters by their names; the HyperModel's defaults for all others.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels.
    network_ : keras.Model
        Fitted network, from divided pixels.
    logits_ : bool
        Whether the network's outputs are logits.
    history_ : dict of list
        `step` (epochs done), `fit_loss`, `fit_accuracy`, `valid_loss`, `valid_accuracy`, by the HyperModel's
        own loss and metrics; empty if its `fit` leaves out the callbacks that it gets.
    """

    takes_checkpoint = takes_soft_targets = False  # it compiles its network with a loss of its own
    compresses_schedule = False  # its learning rate is the HyperModel's own; a deadline cuts it off
    free_arguments = True  # the names of hyperparameters are known to the HyperModel alone
    discover = staticmethod(discover)

    def __init__(
        self,
        hypermodel: Any = None,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        divide_by: float = 255.0,
        precision: str = "auto",
        image_shape: tuple[int, ...] | None = None,
        class_weight: Any = None,
        random_state: int | np.random.RandomState | None = None,
        **values: Any,
    ) -> None:
        self.hypermodel = hypermodel
        self.epochs = epochs  # type: ignore[assignment]
        self.batch_size = batch_size  # type: ignore[assignment]
        self.divide_by = divide_by
        self.precision = precision
        self.image_shape = image_shape
        self.class_weight = class_weight
        self.random_state = random_state
        self.values = values

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, values of hyperparameters included."""
        return {**super().get_params(deep), **self.values}

    def set_params(self, **params: Any) -> Self:
        """Set parameters; what is no argument of the constructor is the value of a hyperparameter."""
        own = {name: value for name, value in params.items() if name in self._get_param_names()}
        super().set_params(**own)
        self.values.update({name: value for name, value in params.items() if name not in own})
        return self

    def _fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        validation_data: Pair,
        monitor: Monitor | None,
        sample_weight: Any,
        checkpoint: Any,
        deadline: float | None,
        soft_targets: Any = None,
    ) -> Self:
        """Let the HyperModel build and train a new network; how it trains is not known, so nothing is checkpointed."""
        self._check_parameters()
        if soft_targets is not None:
            raise ValueError("soft targets: a HyperModel compiles its network with a loss of its own")
        rows, labels = self._check_rows(X, y)
        codes = self._encode(labels).argmax(axis=1)
        weights = row_weights(self.class_weight, sample_weight, rows, labels)
        valid = self._check_valid(validation_data, len(rows))
        prepare_backend(self.precision)
        with chance_of_its_own():
            keras.utils.set_random_seed(int(check_random_state(self.random_state).randint(2**31 - 1)))
            hypermodel, space = self._hypermodel(), self._space()
            self.network_ = self._network(hypermodel, space)
            self.logits_: bool | None = None
            watch = _Watch(self, deadline, valid, monitor)
            keywords = self._keywords(hypermodel, space, None if valid is None else self._pair(*valid), watch)
            if weights is not None:
                keywords["sample_weight"] = weights
            hypermodel.fit(space, self.network_, *self._pair(self._to_images(rows), codes), **keywords)
        self.network_ = bare(self.network_)
        self.logits_ = are_logits(self._outputs(self._to_images(rows[:PREDICT_BATCH])))
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return the state; of the HyperModel its class, where the network has layers of its own, or its name."""
        state = super().__getstate__()
        made = self.hypermodel
        maker = made if made is None or isinstance(made, (type, str)) else type(made)
        own_layers = "network_" in state and has_own_layers(self.network_)
        state["hypermodel"] = _dotted(maker) if isinstance(maker, type) and not own_layers else maker
        return state

    def _build(self, image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
        return self._network(self._hypermodel(), self._space())

    def _check_parameters(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value!r}: must be above 0 or None")
        check_policy(self.precision)
        if not self.divide_by > 0:
            raise ValueError(f"divide_by={self.divide_by!r}: must be above 0")

    def _hypermodel(self) -> keras_tuner.HyperModel:
        made = self.hypermodel() if isinstance(self.hypermodel, type) else self.hypermodel
        if not isinstance(made, keras_tuner.HyperModel):
            raise ValueError(f"hypermodel={made!r}: must be a keras_tuner.HyperModel, or its class")
        return made

    def _space(self) -> keras_tuner.HyperParameters:
        """Keep the values until the HyperModel asks for them, `epochs` and `batch_size` perhaps among them."""
        space = keras_tuner.HyperParameters()
        values = {"epochs": self.epochs, "batch_size": self.batch_size, **self.values}
        space.values = {name: value for name, value in values.items() if value is not None}
        return space

    def _network(self, hypermodel: keras_tuner.HyperModel, space: keras_tuner.HyperParameters) -> keras.Model:
        with under_policy(None if self.precision == "auto" else self.precision):
            network = build_network(hypermodel, space)
        if (outputs := width(network)) is not None:
            self._check_width(outputs)
        return network

    def _check_width(self, outputs: int) -> None:
        classes, made = len(self.classes_), self.hypermodel
        if outputs != classes and (outputs, classes) != (1, 2):
            name = made if isinstance(made, str) else _dotted(made if isinstance(made, type) else type(made))
            raise ValueError(f"the network of {name} has {outputs} outputs for {classes} classes")

    def _keywords(
        self, hypermodel: keras_tuner.HyperModel, space: keras_tuner.HyperParameters, valid: Any, watch: _Watch
    ) -> dict[str, Any]:
        """Give what the `fit` of the HyperModel takes, without what one of its own asks the space for."""
        own_fit = type(hypermodel).fit is not keras_tuner.HyperModel.fit
        asked = {"verbose", *(parameter.name for parameter in space.space)} if own_fit else {}
        given: dict[str, Any] = {"epochs": self.epochs, "batch_size": space.values.get("batch_size"), "verbose": 0}
        given = {name: value for name, value in given.items() if value is not None and name not in asked}
        given |= {"validation_data": valid, "callbacks": [watch]}
        parameters = inspect.signature(hypermodel.fit).parameters
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        return {name: value for name, value in given.items() if takes_all or name in parameters}

    def _pair(self, images: NDArray[Any], codes: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Give images and labels as the network takes them."""
        if width(self.network_) == 1:
            return self._inputs(images), codes[:, np.newaxis].astype(np.float32)
        one_hot = np.eye(len(self.classes_), dtype=np.float32)
        return self._inputs(images), codes if wants_codes(self.network_) else one_hot[codes]

    def _inputs(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Divide the pixels, and give the images the shape that the network takes, where it says so."""
        divided: NDArray[np.float32] = np.divide(images, self.divide_by, dtype=np.float32)
        with contextlib.suppress(AttributeError, TypeError):
            shape = tuple(self.network_.input_shape[1:])
            if None not in shape and math.prod(shape) == math.prod(images.shape[1:]):
                return divided.reshape(-1, *shape)
        return divided

    def _probabilities(self, images: NDArray[Any]) -> NDArray[np.float32]:
        outputs = self._outputs(images)
        logits = are_logits(outputs) if self.logits_ is None else self.logits_  # None while it is trained
        if outputs.shape[1] == 1:
            outputs = np.hstack([0 * outputs, outputs] if logits else [1 - outputs, outputs])
        result = softmax(outputs) if logits else outputs / outputs.sum(axis=1, keepdims=True)
        return np.asarray(result, dtype=np.float32)

    def _outputs(self, images: NDArray[Any]) -> NDArray[np.float64]:
        prepare_backend(self.precision)
        outputs = outputs_of(self.network_, self._inputs(images), PREDICT_BATCH).astype(np.float64)
        self._check_width(outputs.shape[1])  # of a network that was built when it saw its first rows
        return outputs


def _dotted(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Follows a training that a HyperModel runs: watches loss and clock, keeps the history, reports."""

    def __init__(
        self,
        model: HyperModelClassifier,
        deadline: float | None,
        valid: tuple[Any, Any] | None,
        monitor: Monitor | None,
    ) -> None:
        super().__init__()
        self.estimator, self.valid, self.monitor = model, valid, monitor
        self.deadline = math.inf if deadline is None else deadline
        self.step_ended, self.test_seconds = time.monotonic(), 0.0
        self.last_loss: float | None = None
        model.history_ = {}

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.step_started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            epoch = len(self.estimator.history_.get("step", ())) + 1
            raise ValueError(not_finite(loss, epoch, self.last_loss))
        self.last_loss, self.step_ended = loss, time.monotonic()
        step_seconds = self.step_ended - self.step_started if batch else 0.0  # the first one traces the graph
        left = self.deadline - self.step_ended
        if left <= step_seconds + 2.2 * self.test_seconds:  # scored now, predicted after `fit`
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        entry = {"step": float(epoch + 1), **_entry(logs or {})}
        if self.valid is not None and "valid_accuracy" not in entry:
            images, codes = self.valid
            entry["valid_accuracy"] = float((self.estimator._probabilities(images).argmax(axis=1) == codes).mean())
        self.test_seconds = time.monotonic() - self.step_ended
        for name, value in entry.items():
            self.estimator.history_.setdefault(name, []).append(value)
        if self.monitor is not None and "valid_accuracy" in entry:
            self.monitor(epoch + 1, entry["valid_accuracy"])


def _entry(logs: dict[str, Any]) -> dict[str, float]:
    """Take losses and accuracies out of what Keras has logged of an epoch."""
    kinds = {"loss": "loss", **dict.fromkeys(ACCURACIES, "accuracy")}
    parts = {"": "fit", "val_": "valid"}
    found = ((part, kind, prefix + name) for prefix, part in parts.items() for name, kind in kinds.items())
    return {f"{part}_{kind}": float(logs[name]) for part, kind, name in found if name in logs}
