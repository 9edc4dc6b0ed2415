"""Data sets of OpenML by their numbers, through scikit-learn, which keeps and checks their files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench.data.places import own_cache
from fmnist_bench.data.readers.columns import narrow, numbers
from fmnist_bench.data.readers.parts import Part, Reading
from fmnist_bench.data.registry import OPENML

Array = npt.NDArray[Any]


def read_openml(name: Path, part: str, how: Reading) -> Part | None:
    """Fetch all rows of a data set as train rows; OpenML's files know no test rows beside them.

    Parameters
    ----------
    name : Path
        ``openml:`` and the number of the data set, such as ``openml:40996`` for Fashion-MNIST.
    part : {"train", "validation", "test"}
        None is given for what is not train.
    how : Reading

    Raises
    ------
    InputError
        It is no number, cannot be fetched, or is no table of pixels.
    """
    if part != "train":
        return None
    number = str(name).removeprefix(OPENML)
    if not number.isdecimal() or number.startswith("0"):
        raise InputError(f"openml:{number}: needed: the number of a data set, such as openml:40996")
    home = own_cache() / "openml"
    try:
        X, y = _fetch(int(number), home)
    except Exception as error:  # urllib, json and ARFF parsers each fail in ways of their own
        reason = one_line(error) or type(error).__name__
        raise InputError(
            f"openml:{number}: cannot be fetched from https://www.openml.org/d/{number}: {reason}; its files are "
            f"kept in {home}"
        ) from error
    if X.dtype.kind not in "biuf":
        raise InputError(f"openml:{number}: holds something else than pixels; allowed: numbers, none missing")
    return Part(narrow(X), numbers(y.astype(object)), all_rows=True)


def _fetch(number: int, home: Path) -> tuple[Array, Array]:
    from sklearn.datasets import fetch_openml

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A network error occurred")  # it is said once, in the end
        X, y = fetch_openml(
            data_id=number,
            data_home=str(home),
            cache=True,
            as_frame=False,
            parser="pandas",
            return_X_y=True,
            n_retries=1,
            # scikit-learn 1.9 asks pandas for categories, and cannot strip the quotes of those that are numbers.
            read_csv_kwargs={"dtype": {}},
        )
    labels = np.asarray(y)
    if labels.dtype.kind not in "biuf":
        labels = np.array([str(label).strip("'") for label in labels.tolist()], dtype=object)
    return np.asarray(X), labels
