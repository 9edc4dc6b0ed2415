"""Data sets of others: which reader a file or folder takes, and how its parts become rows on one scale."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.errors import InputError, printable
from fmnist_bench.data.pixels import as_uint8
from fmnist_bench.data.readers import idx, npz, tables
from fmnist_bench.data.readers.checks import as_labels, check_known, checked, classes_of, scale
from fmnist_bench.data.readers.class_folders import has_class_folders, read_class_folders
from fmnist_bench.data.readers.decoding import resize_all
from fmnist_bench.data.readers.idx import IDX_FILES, find_file, read_folder
from fmnist_bench.data.readers.npz import read_npz
from fmnist_bench.data.readers.openml import read_openml
from fmnist_bench.data.readers.parts import Part, Reading
from fmnist_bench.data.readers.table_files import ENDINGS, has_tables
from fmnist_bench.data.readers.tables import read_table
from fmnist_bench.data.registry import OPENML
from fmnist_bench.data.split import hold_out

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Array = npt.NDArray[Any]
Reader = Callable[[Path, str, Reading], Part | None]

# What is read.
FORMS = f"a folder of IDX files, of tables or of a folder for each class, or a file ({', '.join(('.npz', *ENDINGS))})"


@dataclass(frozen=True, eq=False)
class Facts:
    """What the train rows say about all rows.

    Attributes
    ----------
    classes : ndarray of int64 or of words, shape (n_classes,)
        The labels, sorted.
    class_names : tuple of str
        What they are called, in this order.
    white : float
        Value of white in the files, 1 or 255.
    image_shape : tuple of int
        ``(height, width)`` or ``(height, width, 3)``.
    """

    classes: Array
    class_names: tuple[str, ...]
    white: float
    image_shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows with their pixels on one scale, and the codes of their labels.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, height, width[, channels])
    y : ndarray of int64, shape (n,)
        0 to n_classes - 1.
    facts : Facts
    n_validation : int
        How many of the last rows are official validation rows.
    notes : tuple of str
        What the user should know of how they were read.
    """

    images: UInt8
    y: Int64
    facts: Facts
    n_validation: int = 0
    notes: tuple[str, ...] = ()


def ending_of(path: Path) -> str:
    """Give the ending of a data file, such as ``.csv.gz``; nothing where it is none that is read."""
    return max((end for end in (".npz", *ENDINGS) if path.name.lower().endswith(end)), key=len, default="")


def read_train(path: Path, how: Reading) -> Rows:
    """Read the train rows, and after them the official validation rows.

    Parameters
    ----------
    path : Path
        Folder, or file of which `ending_of` gives the ending.
    how : Reading

    Raises
    ------
    InputError
        A file, its pixels or its labels cannot be used.
    """
    train, _ = _train_and_held_out(path, how)
    classes = classes_of(path, train.labels)
    names = tuple(printable(train.class_names.get(label, label)) for label in classes.tolist())
    images, white = _images(path, "train", train, how)
    shape = images.shape[1:3] if images.shape[3:] in ((), (1,)) else images.shape[1:]
    rows = Rows(images, _codes(train, classes), Facts(classes, names, white, shape), 0, train.notes)
    _check_test_labels(path, classes)
    found = _reader_of(path)(path, "validation", _as_train(how, rows.facts))
    return rows if found is None else _joined(rows, _fitting(path, "validation", found, how, rows.facts))


def read_test(path: Path, how: Reading, facts: Facts) -> Rows:
    """Read the test rows, or those that are held out of data without test rows; see `read_train`."""
    found = _reader_of(path)(path, "test", _as_train(how, facts))
    if found is None:
        _, found = _train_and_held_out(path, how)
    assert found is not None, "what holds all rows has test rows held out"
    return _fitting(path, "test", found, how, facts)


def _check_test_labels(path: Path, classes: Array) -> None:
    """Refuse test rows of unknown classes before anything is searched; nothing else of the test rows is looked at."""
    reader, labels = _reader_of(path), None
    if reader is read_npz:
        labels = npz.read_test_labels(path)
    elif reader is read_folder:
        labels = idx.read_test_labels(path)
    elif reader is read_table:
        labels = tables.read_test_labels(path, classes.dtype.kind == "U")
    if labels is not None:
        check_known(path, "test", as_labels(labels, f"{path}: labels of test"), classes)


def _train_and_held_out(path: Path, how: Reading) -> tuple[Part, Part | None]:
    """Read the train rows; with those that are held out as test rows where there are no others."""
    if (found := _reader_of(path)(path, "train", how)) is None:
        raise InputError(f"{path}: holds no train rows")
    part = checked(path, "train", found)
    if not part.all_rows:
        return part, None
    train, test, note = hold_out(part.labels, path)
    return part.rows(train, note), part.rows(test, note)


def _reader_of(path: Path) -> Reader:
    """Choose by the ending of a file; IDX files go first in a folder that holds tables, too, as Kaggle's do."""
    if str(path).startswith(OPENML):
        return read_openml
    if not os.path.isdir(path):
        return read_npz if ending_of(path) == ".npz" else read_table
    if find_file(path, IDX_FILES["train"][0]):
        return read_folder
    if has_tables(path):
        return read_table
    return read_class_folders if has_class_folders(path) else read_folder


def _fitting(path: Path, part: str, found: Part, how: Reading, facts: Facts) -> Rows:
    """Bring other rows to what the train rows are."""
    other = checked(path, part, found)
    check_known(path, part, other.labels, facts.classes)
    images, _ = _images(path, part, other, how, facts.white)
    if (*images.shape[1:], 1)[:3] != (*facts.image_shape, 1)[:3]:
        raise InputError(f"{path}: images of shape {images.shape[1:]} in {part}, {facts.image_shape} in train")
    return Rows(images, _codes(other, facts.classes), facts, 0, other.notes)


def _joined(train: Rows, validation: Rows) -> Rows:
    images = np.concatenate([train.images, validation.images.reshape(-1, *train.images.shape[1:])])
    y, notes = np.concatenate([train.y, validation.y]), (*train.notes, *validation.notes)
    return Rows(images, y, train.facts, len(validation.y), notes)


def _images(path: Path, part: str, rows: Part, how: Reading, white: float | None = None) -> tuple[UInt8, float]:
    white = scale(path, part, rows.images, white)
    return resize_all(as_uint8(rows.images, white), how.resize), white


def _codes(part: Part, classes: Array) -> Int64:
    return np.searchsorted(classes, part.labels).astype(np.int64)


def _as_train(how: Reading, facts: Facts) -> Reading:
    """Have other rows read as the train rows were: a part may hold no colour, or no label that is a word."""
    return replace(how, channels=(*facts.image_shape, 1)[2], words=facts.classes.dtype.kind == "U")
