"""Check that a saved model can be used: load it as its users will, and predict a few rows again."""

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.errors import InputError, PredictionError, describe
from fmnist_bench._utils.probabilities import check_alike
from fmnist_bench.models.saved import load_named, save_model
from fmnist_bench.pipeline import Pipeline

CHECKED_ROWS = 8  # validation rows that are predicted again


def save_checked(
    pipeline: Pipeline, path: Path, X: NDArray[Any], before: NDArray[np.float32], allow_import: Sequence[str]
) -> str:
    """Save a fitted pipeline if it can be used again; say why not, empty where it can.

    The parameters are those of `fault_of_model`.
    """
    try:
        save_model(pipeline, path)
    except Exception as error:  # skops and the model's own code raise anything
        traceback.print_exc()
        return f"cannot be saved: {describe(error)}"
    if fault := fault_of_model(path, X, before, allow_import):
        path.unlink()
    return fault


def fault_of_model(path: Path, X: NDArray[Any], before: NDArray[np.float32], allow_import: Sequence[str]) -> str:
    """Load a saved model, let it predict a few rows again and say what is wrong with it; empty where nothing is.

    Parameters
    ----------
    path : Path
    X : ndarray of shape (n, n_pixels)
    before : ndarray of shape (n, n_classes)
        What it predicted for these rows before it was saved.
    allow_import : sequence of str
        Prefixes of further types that it may be made of.
    """
    if not path.exists():
        return "the saved model is missing"
    try:
        check_alike(load_named(path, "the saved model", allow_import).predict_proba(X), before)
    except (InputError, PredictionError) as error:
        return str(error)
    except Exception as error:
        traceback.print_exc()
        return f"cannot predict after it was saved and loaded: {describe(error)}"
    return ""
