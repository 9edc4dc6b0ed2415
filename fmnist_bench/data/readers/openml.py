"""Data sets of OpenML by their numbers, through scikit-learn, which keeps and checks their files."""

from __future__ import annotations

import hashlib
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench.data.pixels import WHITE
from fmnist_bench.data.places import own_cache
from fmnist_bench.data.readers.columns import narrow, numbers
from fmnist_bench.data.readers.idx import IDX_FILES
from fmnist_bench.data.readers.parts import Part, Reading
from fmnist_bench.data.registry import OPENML, entries

TRAIN_ROWS, TEST_ROWS, SIDE = 60_000, 10_000, 28  # of Fashion-MNIST, and pixels each way
NOTE = "the rows are those of Fashion-MNIST, by their digests: its official test rows are kept"

Array = npt.NDArray[Any]


def read_openml(name: Path, part: str, how: Reading) -> Part | None:
    """Fetch the rows of a data set; where they are known by their digests its official test rows are kept apart.

    A data set of OpenML has no test rows: its tasks divide it, such as those of Fashion-MNIST into ten folds. All rows
    are train rows then, and some of them are held out.

    Parameters
    ----------
    name : Path
        ``openml:`` and the number of the data set, such as ``openml:40996`` for Fashion-MNIST.
    part : {"train", "validation", "test"}
        None is given for validation rows, and for test rows where none are known.
    how : Reading

    Raises
    ------
    InputError
        It is no number, cannot be fetched, or is no table of pixels.
    """
    if part == "validation":
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
    images, labels = narrow(X), numbers(y.astype(object))
    if n_train := official_train_rows(images, labels):
        rows = slice(None, n_train) if part == "train" else slice(n_train, None)
        return Part(images[rows], labels[rows], notes=(NOTE,))
    return Part(images, labels, all_rows=True) if part == "train" else None


def official_train_rows(images: Array, labels: Array) -> int | None:
    """Give the number of train rows that stand before the test rows, where these are those of Fashion-MNIST.

    They are compared as the IDX files that they would be, by SHA-256; None for all other rows.
    """
    hashes, starts = entries()["fashion-mnist"].hashes, {"train": 0, "test": TRAIN_ROWS}
    shape = TRAIN_ROWS + TEST_ROWS, SIDE * SIDE
    if images.shape != shape or labels.dtype.kind not in "biuf" or images.min() < 0 or images.max() > WHITE:
        return None
    if not np.array_equal(pixels := images.astype(np.uint8), images):
        return None
    for part, n in (("train", TRAIN_ROWS), ("test", TEST_ROWS)):
        rows = slice(starts[part], starts[part] + n)
        contents = (
            struct.pack(">HBB3I", 0, 8, 3, n, SIDE, SIDE) + pixels[rows].tobytes(),
            struct.pack(">HBBI", 0, 8, 1, n) + labels[rows].astype(np.uint8).tobytes(),
        )
        for stem, content in zip(IDX_FILES[part], contents, strict=True):
            if hashlib.sha256(content).hexdigest() != hashes[stem]:
                return None
    return TRAIN_ROWS


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
