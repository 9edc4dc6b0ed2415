"""Arrays in .npz files, read with suspicion: nothing is unpickled, nothing is inflated beyond measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.archives import check_inflation
from fmnist_bench._utils.errors import InputError, nearest, one_line
from fmnist_bench.data.readers.parts import Part, Reading

Array = npt.NDArray[Any]

# What images and labels of each part are called: by Keras, by MedMNIST, and where train rows are called plainly.
NAMES: tuple[dict[str, tuple[str, str]], ...] = (
    {"train": ("x_train", "y_train"), "validation": ("x_val", "y_val"), "test": ("x_test", "y_test")},
    {
        "train": ("train_images", "train_labels"),
        "validation": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
    {"train": ("X", "y"), "validation": ("X_val", "y_val"), "test": ("X_test", "y_test")},
    {"train": ("x", "y"), "validation": ("x_val", "y_val"), "test": ("x_test", "y_test")},
    {
        "train": ("images", "labels"),
        "validation": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
)


def read_npz(file: Path, part: str, how: Reading) -> Part | None:
    """Read images and labels of the train, validation or test rows; None where there are none but train rows."""
    there: dict[str, tuple[str, str]] = {}

    def choose(names: Sequence[str]) -> Sequence[str]:
        there.update(_pairs(names, file))
        return there.get(part, ())

    found = [*read_arrays(file, choose).values()]
    return Part(found[0], found[1], all_rows=part == "train" and "test" not in there) if found else None


def read_test_labels(file: Path) -> Array | None:
    """Read the labels of the test rows alone; None where there are no test rows."""
    found = read_arrays(file, lambda names: _pairs(names, file).get("test", ())[1:])
    return next(iter(found.values()), None)


def _pairs(names: Sequence[str], file: Path) -> dict[str, tuple[str, str]]:
    """Name the images and the labels of each part that is there."""
    pairs = next((pairs for pairs in NAMES if pairs["train"][0] in names), NAMES[0])
    spare = [name for name in names if not any(name in pair for pair in pairs.values())]
    # All are looked for each time: that one is missing shall not be found out when a run ends.
    present = {"train", *(part for part, pair in pairs.items() if set(pair) & set(names))}
    if any("test" in name.lower() for name in spare):  # it may be called otherwise
        present.add("test")
    needed = [name for part, pair in pairs.items() if part in present for name in pair]
    if missing := [name for name in needed if name not in names]:
        hint = nearest(missing[0], spare)
        raise InputError(f"{file}: array {missing[0]} is missing{hint}; needed: {', '.join(needed)}")
    return {part: pair for part, pair in pairs.items() if part in present}


def read_single(file: Path) -> Array:
    """Read the only array of a file."""

    def choose(names: Sequence[str]) -> Sequence[str]:
        if len(names) != 1:
            raise InputError(f"{file}: holds {len(names)} arrays, {', '.join(names)}; needed: one")
        return names

    return next(iter(read_arrays(file, choose).values()))


def read_arrays(file: Path, choose: Callable[[Sequence[str]], Sequence[str]]) -> dict[str, Array]:
    """Read those arrays that `choose` picks from their names; no bombs, no Python objects."""
    try:
        # Opened here: np.load leaves the file open when it is not a zip.
        with open(file, "rb") as stream:
            check_inflation(stream)
            with np.load(stream, allow_pickle=False) as content:
                return {name: _plain(content, name, file) for name in choose(list(content))}
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
