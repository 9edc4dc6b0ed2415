"""Arrays in .npz files, read with suspicion: nothing is unpickled, nothing is inflated beyond measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.archives import check_inflation
from fmnist_bench._utils.errors import InputError, nearest, one_line

__all__ = ["read_arrays", "read_npz"]

Array = npt.NDArray[Any]

NAMES = ("x_train", "y_train", "x_test", "y_test")


def read_npz(file: Path, part: str) -> tuple[Array, Array]:
    """Read images and labels of the train or test rows from one file."""
    images, labels = read_arrays(file, partial(_choose, file=file, part=part))
    return images, labels


def _choose(names: Sequence[str], file: Path, part: str) -> Sequence[str]:
    # All are looked for each time: that the test rows are missing shall not be found out when a run ends.
    if missing := [name for name in NAMES if name not in names]:
        hint = nearest(missing[0], [name for name in names if name not in NAMES])
        raise InputError(f"{file}: array {missing[0]} is missing{hint}; needed: {', '.join(NAMES)}")
    return (f"x_{part}", f"y_{part}")


def read_arrays(file: Path, choose: Callable[[Sequence[str]], Sequence[str]]) -> list[Array]:
    """Read those arrays of an ``.npz`` that `choose` picks from their names.

    Raises
    ------
    InputError
        Where the file is none, is a bomb, or an array holds Python objects.
    """
    try:
        # Opened here: np.load leaves the file open when it is not a zip.
        with open(file, "rb") as stream:
            check_inflation(stream)
            with np.load(stream, allow_pickle=False) as content:
                return [_plain(content, name, file) for name in choose(list(content))]
    except InputError:
        raise
    except Exception as error:  # zip, zlib, header and dtype each fail in ways of their own
        reason = one_line(error) or type(error).__name__
        raise InputError(f"{file}: not a readable .npz of plain arrays: {reason}") from error


def _plain(content: Any, name: str, file: Path) -> Array:
    try:
        return np.asarray(content[name])
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise InputError(
            f"{file}: array {name} holds Python objects, which are not read: words, or images of different sizes; "
            "allowed: an array of numbers"
        ) from error
