"""Data sets of others: which reader a file or folder takes, and what images and labels must be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.idx import IDX_FILES, find_file, read_folder
from fmnist_bench.data.npz import read_npz
from fmnist_bench.data.pixels import as_images, as_uint8, decide_white
from fmnist_bench.data.tables import ENDINGS, has_tables, read_table

__all__ = ["FORMS", "ending_of", "read_user_data"]

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

PARTS = {"train": ("train", "validation"), "test": ("train", "test")}  # that are read together, by subset
FORMS = f"a folder of IDX files or of tables, or a file ({', '.join(('.npz', *ENDINGS))})"  # what is read


def ending_of(path: Path) -> str:
    """Give the ending of a data file, such as ``.csv.gz``; nothing where it is none that is read."""
    return max((end for end in (".npz", *ENDINGS) if path.name.lower().endswith(end)), key=len, default="")


def read_user_data(path: Path, subset: str) -> tuple[UInt8, Int64, Array, int]:
    """Read one subset of a folder of IDX files, of an ``.npz``, or of a table.

    Parameters
    ----------
    path : Path
        Folder, or file of which `ending_of` gives the ending.
    subset : {"train", "test"}
        Which rows. The official validation rows, where there are any, follow the train rows.

    Returns
    -------
    images : ndarray of uint8, shape (n, h, w) or (n, h, w, c)
        Pixels, see `fmnist_bench.data.dataset.load_dataset` for the rule.
    y : ndarray of int64, shape (n,)
        Codes of the labels, 0 to n_classes - 1.
    classes : ndarray of int64 or of words, shape (n_classes,)
        The labels of the train rows, sorted.
    n_validation : int
        How many of the last rows are official validation rows.

    Raises
    ------
    InputError
        A file, its pixels or its labels cannot be used.
    """
    read = _reader_of(path)
    # Train rows come along with the test rows: they say what the classes and the range of the pixels are.
    parts = {part: _checked(path, part, *found) for part in PARTS[subset] if (found := read(path, part))}
    classes = _classes(path, {part: labels for part, (_, labels) in parts.items()})
    white = _white(path, {part: images for part, (images, _) in parts.items()})
    wanted = [pair for part, pair in parts.items() if subset in ("train", part)]
    images = np.concatenate([as_uint8(images, white) for images, _ in wanted])
    y = np.concatenate([np.searchsorted(classes, labels) for _, labels in wanted])
    return images, y.astype(np.int64), classes, sum(len(labels) for _, labels in wanted[1:])


def _reader_of(path: Path) -> Callable[[Path, str], tuple[Array, Array] | None]:
    """Choose by the ending of a file; IDX files go first in a folder that holds tables, too, as Kaggle's do."""
    if not os.path.isdir(path):
        return read_npz if ending_of(path) == ".npz" else read_table
    return read_table if has_tables(path) and not find_file(path, IDX_FILES["train"][0]) else read_folder


def _checked(path: Path, part: str, images: Array, labels: Array) -> tuple[Array, Array]:
    y = _labels(labels, f"{path}: labels of {part}")
    images = as_images(images)
    _check_images(images, f"{path}: images of {part}")
    if len(images) != len(y):
        raise InputError(f"{path}: {part} has {len(images)} images and {len(y)} labels; the counts must agree")
    return images, y


def _check_images(images: Array, where: str) -> None:
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        allowed = "(n, h, w), (n, h, w, 1), (n, h, w, 3), or (n, pixels of a square)"
        raise InputError(f"{where}: shape {images.shape}; allowed: {allowed}")
    if not images.size:
        raise InputError(f"{where}: shape {images.shape} holds no pixels")


def _labels(y: Array, where: str) -> Array:
    """Give whole numbers or words, of shape (n,); the label of a one-hot row is the number of its column."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and _are_one_hot(y):
        y = y.argmax(axis=1)
    if y.ndim != 1 or not len(y):
        raise InputError(f"{where}: shape {y.shape}; allowed: (n,) or (n, 1) with n > 0, or one-hot (n, n_classes)")
    if y.dtype.kind == "f" and np.all(np.abs(y) < 2**53) and np.all(y == np.rint(y)):  # NaN fails
        return y.astype(np.int64)
    if y.dtype.kind in "bi" or (y.dtype.kind == "u" and y.max() <= np.iinfo(np.int64).max):
        return y.astype(np.int64)
    if y.dtype.kind in "UO" and all(isinstance(label, str) and label for label in y.tolist()):
        return y.astype(str)
    raise InputError(
        f"{where}: element type {y.dtype} with values that are neither whole numbers nor words; allowed: either of them"
    )


def _are_one_hot(y: Array) -> bool:
    return y.dtype.kind in "biuf" and bool(((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all())


def _classes(path: Path, labels: dict[str, Array]) -> Array:
    """Give the labels that occur in train; those of the other part must be among them."""
    classes = np.unique(labels["train"])
    if len(classes) < 2:
        raise InputError(f"{path}: labels of train have only one class, {classes[0]}; at least 2 are needed")
    for part, y in labels.items():
        if strange := sorted(set(np.unique(y).tolist()) - set(classes.tolist())):
            raise InputError(f"{path}: label {strange[0]} of {part} does not occur in train")
    return classes


def _white(path: Path, images: dict[str, Array]) -> float:
    """Find the scale of the pixels of train; the images of the other part must be alike."""
    train = images["train"]
    try:
        white = decide_white(train, f"{path}: images of train")
        for part, each in images.items():
            if each.shape[1:] != train.shape[1:]:
                raise InputError(f"{path}: images of shape {each.shape[1:]} in {part}, {train.shape[1:]} in train")
            if each is not train and decide_white(each, f"{path}: images of {part}", white) != white:
                raise InputError(
                    f"{path}: pixels of train and {part} have different ranges; allowed: 0 to 1 or 0 to 255 in both"
                )
    except ValueError as error:
        raise InputError(str(error)) from error
    return white
