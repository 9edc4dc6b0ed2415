"""A network as the bytes of a `.keras` file, read only where it is made of what networks are made of."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import keras
from keras.src.backend.common import global_state

from fmnist_bench.models.networks._allowed import check_config
from fmnist_bench.models.networks._backend import compiles
from fmnist_bench.models.networks._contents import read_parts

FREE = 2**20  # weights that a network may have beside those of its file


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

    Before Keras sees the file, it is checked what it holds and what it names. Then the network is built without its
    weights, to count them: a file of a large network holds as many.

    Raises
    ------
    ValueError
        Where the file is no such archive or a bomb, names what no network is made of, or describes a larger network
        than it has weights for.
    """
    text, n_stored = read_parts(content)
    check_config(json.loads(text))
    if (n_needed := _count_weights(json.loads(text))) > n_stored + FREE:
        raise ValueError(f"the network would have {n_needed} weights, its file has {n_stored}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        path.write_bytes(content)
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    network.jit_compile = compiles()
    return network


def _count_weights(config: dict[str, Any]) -> int:
    """Count the weights of a network whose configuration was checked; none is made."""
    config["compile_config"] = None
    try:
        with keras.StatelessScope(initialize_variables=False):
            network = keras.saving.deserialize_keras_object(config, safe_mode=True)
        return sum(math.prod(variable.shape) for variable in network.variables)
    finally:
        global_state.set_global_attribute("uninitialized_variables", [])  # or the next scope makes them
