"""Whether a file computes what the ensemble does: both on the same rows, the original in float32."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench.ensemble.estimator import StackedEnsemble
from fmnist_bench.ensemble.selection import Combination
from fmnist_bench.ensemble.tables import aligned

TOLERANCE = 1e-4  # of a probability
ROWS = 1000  # rows that are compared


@dataclass(frozen=True)
class Agreement:
    """How far a file is from the ensemble that it was made of.

    Attributes
    ----------
    rows : int
        Rows that were compared.
    difference : float
        Largest one of two probabilities.
    members : dict of str to float
        The same of each member.
    same_labels : int
        Rows to which both give the same label.
    """

    rows: int
    difference: float
    members: dict[str, float]
    same_labels: int

    @property
    def fault(self) -> str:
        """What is wrong; empty where nothing is."""
        if self.difference <= TOLERANCE:
            return ""
        name = max(self.members, key=lambda each: self.members[each])
        return (
            f"the probabilities differ by {self.difference:.1e} from the original's on {self.rows} rows, at most "
            f"{TOLERANCE:.0e} is allowed; most in member {name}, by {self.members[name]:.1e}"
        )


def compare(ensemble: StackedEnsemble, model: bytes, X: NDArray[np.uint8]) -> Agreement:
    """Compare an ensemble with a model that gives the members' probabilities, too, after its other two outputs."""
    given = X.reshape(len(X), *(ensemble.image_shape_ or (-1,)))
    found, labels, *members = session(model).run(None, {"X": given})
    originals = np.stack(originals_of(ensemble, X))
    combination = Combination(
        ensemble.weights_, ensemble.temperature_, ensemble.stacker_, np.asarray(ensemble.member_temperatures_)
    )
    expected = combination.apply(originals)
    pairs = zip(ensemble.members_, members, originals, strict=True)
    return Agreement(
        rows=len(X),
        difference=_difference(found, expected),
        members={name: _difference(each, original) for (name, _), each, original in pairs},
        same_labels=int((labels == ensemble.classes_[expected.argmax(axis=1)]).sum()),
    )


def _difference(first: NDArray[Any], second: NDArray[Any]) -> float:
    return float(np.abs(first - second).max())


def session(model: bytes | str, threads: int = 0) -> Any:
    """Open a model in onnxruntime, on the processor; 0 threads stands for one a core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def originals_of(ensemble: StackedEnsemble, X: NDArray[np.uint8]) -> Sequence[NDArray[np.float64]]:
    """Give the probabilities of each member for rows, of shape (n, n_classes), computed in float32."""
    known = np.arange(len(ensemble.classes_)) if ensemble.encoded_ else ensemble.classes_
    return [aligned(in_float32(model), X, known) for _, model in ensemble.members_]


def in_float32(model: Any) -> Any:
    """Give an estimator whose network does not round to bfloat16, as the file does not; others as they are."""
    inner = getattr(model, "model_", None)
    if inner is not None and hasattr(inner, "network_"):
        model = copy.copy(model)
        model.model_ = in_float32(inner)
    elif hasattr(model, "network_") and model.precision != "float32":
        model = copy.copy(model)  # with a network that nothing has been computed with yet
        model.precision = "float32"
        config = model.network_.get_config()
        if (plain := _without_bfloat16(config)) != config:
            weights = model.network_.get_weights()
            model.network_ = type(model.network_).from_config(plain)
            model.network_.set_weights(weights)
    return model


def _without_bfloat16(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _without_bfloat16(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_without_bfloat16(each) for each in config)
    return "float32" if config in ("mixed_bfloat16", "bfloat16", "mixed_float16", "float16") else config
