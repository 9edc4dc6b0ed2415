"""A saved ensemble that answers in names: what `predict` prints, and what MLflow's model server posts back."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fmnist_bench._utils.errors import InputError
from fmnist_bench.ensemble.loading import load_ensemble
from fmnist_bench.ensemble.manifest import read_manifest
from fmnist_bench.storage.run_folder import ENSEMBLE

ALLOW_IMPORT = "FMNIST_BENCH_ALLOW_IMPORT"  # of the server's owner: a saved model must not say whom to trust
# Names of columns, here and in `predict_images`, and what a class would be called that makes way for one.
TAKEN = re.compile("(class )*(image|label|probability|inverted)")


class ServedEnsemble:
    """A saved ensemble whose classes have names.

    Parameters
    ----------
    folder : Path
        What a benchmark, or `StackedEnsemble.save`, has saved.
    allow_import : sequence of str
        Prefixes of further types that members may be made of.

    Attributes
    ----------
    ensemble : StackedEnsemble
    labels : ndarray of shape (n_classes,)
        Names of the classes, or the classes themselves where they have none.

    Raises
    ------
    InputError
        Where the folder is none, has changed, or holds a type that is not trusted.
    """

    def __init__(self, folder: Path, allow_import: Sequence[str] = ()) -> None:
        self._folder, self._about = folder, read_manifest(folder)
        self.ensemble = load_ensemble(folder, allow_import)
        self.labels = np.asarray(self._about.get("class_names") or self.ensemble.classes_)

    @property
    def image_shape(self) -> list[int]:
        """Height, width, perhaps channels of the images that it was fitted on."""
        if isinstance(shape := self._about.get("image_shape"), list):
            return [int(size) for size in shape]
        side = int(np.sqrt(n_features := self.ensemble.n_features_in_))
        if side * side != n_features:
            raise InputError(
                f"{self._folder}: does not say what shape its images have, and {n_features} is not a square"
            )
        return [side, side]

    @property
    def background(self) -> float:
        """Mean of the pixels at the edges of the images that it was fitted on, 0 to 255; the middle if nobody knows."""
        found = self._about.get("background", 0.0)  # older ones do not say it: most are of benchmarks on clothes
        return 127.5 if found is None else float(found)

    def predict(self, model_input: ArrayLike, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Classify rows; what MLflow calls.

        Parameters
        ----------
        model_input : array-like of shape (n, n_features), or images
            Of an ensemble that was fitted on pixels, whole numbers of 0 to 255.
        params : mapping or None
            Ignored; MLflow may pass some.

        Returns
        -------
        DataFrame of n rows
            `label`, and a column of probabilities for each class, called as it is, or ``class image`` where a column
            has its name.

        Raises
        ------
        ValueError
            Where a number is no pixel.
        """
        rows = np.asarray(model_input)
        probabilities = self.ensemble.predict_proba(_pixels(rows) if self.ensemble.pixels_ else rows)
        table = pd.DataFrame(probabilities, columns=column_names(self.labels))
        table.insert(0, "label", self.labels[probabilities.argmax(axis=1)])
        return table


def column_names(labels: Iterable[Any]) -> list[str]:
    """Name the columns of the classes' probabilities."""
    return [f"class {label}" if TAKEN.fullmatch(str(label)) else str(label) for label in labels]


def _load_pyfunc(model: str) -> ServedEnsemble:
    """Load the ensemble of an MLflow model, whose MLmodel file names this module; `model` is its folder."""
    prefixes = [prefix for prefix in os.environ.get(ALLOW_IMPORT, "").split(",") if prefix]
    served = ServedEnsemble(Path(model) / ENSEMBLE, prefixes)
    served.predict(np.zeros((1, served.ensemble.n_features_in_)))  # networks are traced now, not for the first caller
    return served


def _pixels(rows: NDArray[Any]) -> NDArray[np.uint8]:
    if rows.dtype == np.uint8:
        return rows
    if rows.dtype.kind == "b":
        raise ValueError("truth values are no pixels: these must be whole numbers from 0 to 255")
    pixels = rows.astype(np.uint8, casting="unsafe") if rows.size and rows.min() >= 0 and rows.max() <= 255 else None
    if pixels is None or not np.array_equal(pixels, rows):
        raise ValueError("pixels must be whole numbers from 0 to 255, as many in each row as the images have")
    return pixels
