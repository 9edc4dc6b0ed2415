"""How far a training has come, in a file: one that was killed goes on from there."""

from __future__ import annotations

import json
import time
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.digests import digest_of
from fmnist_bench._utils.errors import describe
from fmnist_bench._utils.files import replacing

LENGTH = ("epochs", "cache_dir", "weights_dir")  # parameters that do not change what a step does
SAVE_SECONDS = 30.0  # how often to save: what a kill costs at most


@dataclass(frozen=True)
class Position:
    """A moment of a training.

    Attributes
    ----------
    steps : int
        Batches that were learnt from.
    progress : float
        Share of the schedule that was over, 0 to 1.
    history : dict of str to list of float
        Of the epochs that were over.
    seconds : float
        That the training had taken.
    """

    steps: int
    progress: float
    history: dict[str, list[float]]
    seconds: float = 0.0


def about_training(estimator: Any, batch_size: int, *arrays: NDArray[Any] | None) -> str:
    """Say what a training depends on, but for its length: a checkpoint of another one is not gone on from."""
    given = [array for array in arrays if array is not None]
    parameters = {name: value for name, value in estimator.get_params().items() if name not in LENGTH}
    shapes = [(array.dtype, array.shape) for array in given]
    return digest_of(f"{type(estimator).__qualname__} {sorted(parameters.items())} {shapes} {batch_size}", *given)


class Checkpoint:
    """The file that keeps a training's position, weights, random states and momentum.

    Parameters
    ----------
    path : Path
        Read where it is there, written while the training goes on.
    about : str
        What the training depends on; a file about anything else is not read.
    """

    def __init__(self, path: Path, about: str) -> None:
        self.path, self.about = path, about
        self._saved = time.monotonic()
        self._variables: list[keras.Variable] = []
        self._values: list[Any] = []

    def attach(self, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> Position | None:
        """Take note of the variables, and of what the file holds; tell its position, None where there is none."""
        optimizer.build(network.trainable_variables)
        self._variables = [*network.variables, *optimizer.variables]
        self._saved = time.monotonic()
        try:
            with np.load(self.path, allow_pickle=False) as found:
                values = [found[f"v{i}"] for i in range(len(self._variables))]
                about, position = json.loads(str(found["about"])), json.loads(str(found["position"]))
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        if about != self.about or [v.shape for v in values] != [tuple(v.shape) for v in self._variables]:
            return None
        self._values = values
        return Position(**position)

    def restore(self) -> None:
        """Set the variables as the file says: when the training begins, since Keras draws random numbers before."""
        for variable, value in zip(self._variables, self._values, strict=False):
            variable.assign(value)
        self._values = []

    def is_due(self) -> bool:
        """Whether the last position is old enough."""
        return time.monotonic() - self._saved >= SAVE_SECONDS

    def save(self, position: Position) -> None:
        """Write the variables as they are now; the file is replaced whole. A full disk must not end the training."""
        values = {f"v{i}": _array(variable) for i, variable in enumerate(self._variables)}
        texts: dict[str, Any] = {"about": json.dumps(self.about), "position": json.dumps(position.__dict__)}
        self._saved = time.monotonic()
        try:
            with replacing(self.path) as temporary, temporary.open("wb") as file:
                np.savez(file, **values, **texts)
        except OSError as error:
            warnings.warn(f"the training was not saved: {describe(error)}", stacklevel=2)


def _array(variable: keras.Variable) -> Any:
    """Copy a variable; NumPy knows no bfloat16, which float32 holds without loss."""
    found = keras.ops.convert_to_numpy(variable)
    return found.astype(np.float32) if found.dtype.kind not in "biuf" else found
