"""A network as the bytes of a `.keras` file, and what such a file may name."""

from __future__ import annotations

import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from fmnist_bench._utils.archives import check_stored
from fmnist_bench.models.networks._backend import compiles

# What a network may be made of. Layers, models, and operations such as an addition are a `keras.Operation`.
KINDS = (
    keras.Operation,
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.DTypePolicy,
    keras.random.SeedGenerator,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
)
# Layers that run code or read files which the configuration names.
REFUSED = ("Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer", "IndexLookup", "TextVectorization")
VALUES = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__")
FUNCTIONS = (keras.activations, keras.losses, keras.metrics)
PUBLIC = (
    keras,
    keras.layers,
    keras.initializers,
    keras.regularizers,
    keras.constraints,
    keras.losses,
    keras.metrics,
    keras.optimizers,
)


class NetworkAsBytes:
    """What pickles an estimator's `network_` as the bytes of a `.keras` file; stands before `BaseEstimator`."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the network as the bytes of a `.keras` file."""
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[call-overload]
        if "network_" in state:
            state["network_"] = to_bytes(self.network_)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a state without running code that the network's file may carry."""
        state = dict(state)
        stored = state.pop("network_", None)
        super().__setstate__(state)  # type: ignore[misc]
        if stored is not None:
            self.network_ = from_bytes(stored)


def to_bytes(network: keras.Model) -> bytes:
    """Return what a `.keras` file of the network holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        keras.saving.save_model(network, path)
        return path.read_bytes()


def from_bytes(content: bytes) -> keras.Model:
    """Build the network of a `.keras` file without running code that it may carry.

    Raises
    ------
    ValueError
        Where the file is a bomb, or names what no network is made of.
    """
    check_stored(io.BytesIO(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        check_names(json.loads(archive.read("config.json")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        path.write_bytes(content)
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    network.jit_compile = compiles()
    return network


def check_names(config: Any) -> None:
    """Refuse a configuration that names anything but parts of networks.

    Keras looks up what a configuration names among all that it offers, and calls it: functions that download files, and
    layers that read some, were found in its safe mode, too. Here only classes of `KINDS` pass, functions that networks
    have as activations and losses, and what the program itself has registered as serializable.

    Raises
    ------
    ValueError
    """
    refused = sorted({_full_name(entry) for entry in _entries(config) if not _is_part_of_a_network(entry)})
    if refused:
        raise ValueError(f"the network's configuration names what no network is made of: {', '.join(refused)}")


def _entries(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every table that names something, at any depth."""
    left = [config]
    while left:
        found = left.pop()
        if isinstance(found, dict):
            if "class_name" in found:
                yield found
            left.extend(found.values())
        elif isinstance(found, list):
            left.extend(found)


def _full_name(entry: dict[str, Any]) -> str:
    name = entry.get("config") if entry.get("class_name") == "function" else entry["class_name"]
    return f"{entry.get('module')}.{name}"


def _is_part_of_a_network(entry: dict[str, Any]) -> bool:
    name, module = entry["class_name"], entry.get("module")
    if not isinstance(name, str):
        return False
    if name in VALUES or str(entry.get("registered_name", name)) in keras.saving.get_custom_objects():
        return True
    if name == "function":
        function = entry.get("config")
        return isinstance(function, str) and any(callable(vars(place).get(function)) for place in FUNCTIONS)
    places = PUBLIC if module is None else [sys.modules.get(str(module))] if _is_of_keras(module) else []
    return any(_is_part(vars(place).get(name)) for place in places if place is not None)


def _is_of_keras(module: Any) -> bool:
    return str(module).partition(".")[0] == "keras"


def _is_part(found: Any) -> bool:
    if not isinstance(found, type) or not issubclass(found, KINDS):
        return False
    # On JAX every layer derives from one of the back end that is called JaxLayer, too.
    kinds = (kind for kind in found.__mro__ if not kind.__module__.startswith("keras.src.backend."))
    return not any(kind.__name__ in REFUSED for kind in kinds)
