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

__all__ = ["read_npz", "read_single"]

Array = npt.NDArray[Any]

NAMES = ("x_{}", "y_{}"), ("{}_images", "{}_labels")  # what Keras calls the arrays of a part, and what MedMNIST does
PARTS = {"train": "train", "validation": "val", "test": "test"}


def read_npz(file: Path, part: str) -> tuple[Array, Array] | None:
    """Read images and labels of the train, validation or test rows; None where no validation rows are there."""
    found = _read_arrays(file, partial(_choose, file=file, part=part))
    return (found[0], found[1]) if found else None


def _choose(names: Sequence[str], file: Path, part: str) -> Sequence[str]:
    """Name the images and the labels of a part."""
    words = NAMES["train_images" in names]
    pairs = {each: [word.format(short) for word in words] for each, short in PARTS.items()}
    if not set(pairs["validation"]) & set(names):
        pairs["validation"] = []
    # All are looked for each time: that the test rows are missing shall not be found out when a run ends.
    needed = [name for pair in pairs.values() for name in pair]
    if missing := [name for name in needed if name not in names]:
        hint = nearest(missing[0], [name for name in names if name not in needed])
        raise InputError(f"{file}: array {missing[0]} is missing{hint}; needed: {', '.join(needed)}")
    return pairs[part]


def read_single(file: Path) -> Array:
    """Read the only array of a file."""

    def choose(names: Sequence[str]) -> Sequence[str]:
        if len(names) != 1:
            raise InputError(f"{file}: holds {len(names)} arrays, {', '.join(names)}; needed: one")
        return names

    return _read_arrays(file, choose)[0]


def _read_arrays(file: Path, choose: Callable[[Sequence[str]], Sequence[str]]) -> list[Array]:
    """Read those arrays that `choose` picks from their names; no bombs, no Python objects."""
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
            f"{file}: array {name} holds Python objects, which are not read: words as objects, or images of different "
            "sizes; allowed: an array of numbers, or of words as astype(str) makes them"
        ) from error
