"""Loaders, checks and splits of image data sets; Fashion-MNIST first of all."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.digests import digest_of
from fmnist_bench._utils.errors import InputError, nearest
from fmnist_bench._utils.files import expanded
from fmnist_bench.data import fashion_mnist
from fmnist_bench.data.fashion_mnist import find_fashion_mnist, is_fashion_mnist
from fmnist_bench.data.pixels import WHITE
from fmnist_bench.data.readers.decoding import resize_all
from fmnist_bench.data.readers.idx import IDX_FILES, parse_idx
from fmnist_bench.data.readers.parts import Reading, signature
from fmnist_bench.data.readers.rows import FORMS, Facts, Rows, ending_of, read_test, read_train
from fmnist_bench.data.registry import NAMES, OPENML, entries, files_of, is_named
from fmnist_bench.data.split import Split, make_split

__all__ = [
    "BUILT_IN",
    "Dataset",
    "Split",
    "absolute",
    "find_fashion_mnist",
    "load_dataset",
    "make_split",
    "parse_idx",
    "resolve",
]

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Labels = npt.NDArray[Any]

BUILT_IN = ("fashion-mnist", "digits")  # cannot change between two readings
TAKEN = (*NAMES, "fmnist")  # what a data set of one's own, and its registered model, are not called
DIGITS_TEST_ROWS = 297
SETTLED = 2_000_000_000  # nanoseconds

# The train rows that were read last: of which files, and while somebody has them.
_latest: tuple[tuple[Any, ...], weakref.ref[Dataset], Facts] | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """One subset of a data set of small images; its arrays are read-only.

    Attributes
    ----------
    name : str
        ``fashion-mnist``, ``digits`` or the name of the folder or file it came from.
    X : ndarray of uint8, shape (n, height * width [* channels])
        Pixels, 0 to 255, row by row, channels last.
    y : ndarray of int64, shape (n,)
        Codes of the labels, 0 to ``len(classes) - 1``.
    classes : ndarray of int64 or of words, shape (n_classes,)
        The labels themselves, sorted: row ``i`` has the label ``classes[y[i]]``.
    image_shape : tuple of int
        ``(height, width)`` or ``(height, width, 3)``.
    class_names : tuple of str
        Names in the order of `classes`; for a user's data the labels as text.
    fingerprint : str
        SHA-256, hexadecimal, over the shape, the bytes of `X`, the bytes of the labels (little-endian), and the
        official validation rows.
    official_split : Split or None
        How those who made the data divided the train rows; None where they did not.
    notes : tuple of str
        What the user should know of how these rows came about: test rows that were held out, files that were left
        out, images that were resized.
    in_memory : bool
        Whether somebody gave it as arrays: nobody can load it again, and it has no test rows.
    """

    name: str
    X: UInt8
    y: Int64
    classes: Labels
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    fingerprint: str
    official_split: Split | None = None
    notes: tuple[str, ...] = ()
    in_memory: bool = False


def load_dataset(
    name: str | os.PathLike[str] = "fashion-mnist",
    subset: str = "train",
    path: str | os.PathLike[str] | None = None,
    *,
    resize: int | None = None,
    skip_unreadable: bool = False,
) -> Dataset:
    """Load one subset of a data set. Test rows enter the process only for ``subset="test"``.

    Parameters
    ----------
    name : str or path-like
        ``"fashion-mnist"``; ``"digits"`` (scikit-learn's 1,797 images of 8 x 8, a fixed stratified
        split); another name of ``datasets.toml``, whose files are downloaded, or such as ``openml:40996``;
        a folder of four files called as those of MNIST or of a relative, ``.gz`` or plain; an
        ``.npz`` with ``x_train``, ``y_train``, ``x_test``, ``y_test``, or with the names of MedMNIST;
        tables, see `fmnist_bench.data.readers.tables.read_table`; or a folder with a folder of PNG or JPEG files for
        each class, see `fmnist_bench.data.readers.class_folders.read_class_folders`. Images have the shape
        ``(n, h, w)``, ``(n, h, w, 1)`` or ``(n, h, w, 3)``, or are rows of the pixels of a square. Pixels are
        whole numbers of 0 to 255, floats of 0 to 255 or of 0 to 1, or truth values, by one rule for train and test:
        see `fmnist_bench.data.pixels.decide_white`. Labels are whole numbers of
        any value or words, of shape ``(n,)`` or ``(n, 1)``, or one-hot rows.
    subset : {"train", "test"}
        Which rows. The classes are those of the train rows in either case. Official validation rows are
        among the train rows, see `Dataset.official_split`.
    path : path-like, optional
        Folder with the IDX files of Fashion-MNIST. Default: the environment variable
        ``FMNIST_BENCH_DATA``, else see `find_fashion_mnist`.
    resize : int, optional
        Bring images to this height and width in pixels, 1 to 1024, proportions kept. Default: as they are, of one size.
    skip_unreadable : bool
        Leave image files out that cannot be read, and say so in `Dataset.notes`; else one of them is an error.

    Returns
    -------
    Dataset
        The rows asked for.

    Raises
    ------
    InputError
        Unknown name, missing or damaged file, wrong fingerprint, pixels or labels that cannot be used.

    Examples
    --------
    >>> digits = load_dataset("digits")
    >>> digits.X.shape, digits.X.dtype, digits.image_shape
    ((1500, 64), dtype('uint8'), (8, 8))
    """
    if subset not in IDX_FILES:
        raise InputError(f"unknown subset {subset!r}; allowed: train, test")
    name = os.fspath(name)
    if path is not None and name != "fashion-mnist":
        raise InputError(f"path={os.fspath(path)!r} goes with 'fashion-mnist' only; give the data set {name!r} alone")
    if path is None:
        name, path = resolve(name)
    how = Reading(resize, skip_unreadable)
    if name == "fashion-mnist":
        return _load_fashion_mnist(subset, path, how)
    if name == "digits":
        return _load_digits(subset, how)
    if name.startswith(OPENML):
        return _load_files(name.replace(":", "-"), Path(name), subset, how)
    if name in NAMES:
        entry = entries()[name]
        return _load_files(name, files_of(entry), subset, how, entry.names_of_labels)
    return _load_path(name, subset, how)


def resolve(data: str | os.PathLike[str]) -> tuple[str, Path | None]:
    """Say which data set is meant: one that has a name, a path, or Fashion-MNIST and the folder in which it lies.

    This is the one rule for `load_dataset`, the verb `data`, `--data` and a benchmark file. A name goes before a path
    of that name, which may be written as ``./digits``.
    """
    name = os.fspath(data)
    path = expanded(name)
    if not is_named(name) and os.path.isdir(path) and is_fashion_mnist(path):
        return "fashion-mnist", path.resolve()
    return name, None


def absolute(data: str) -> str:
    """Write the name of a data set, or its path, so that it can be found from another folder."""
    return data if is_named(data) else str(expanded(data).resolve())


def _load_fashion_mnist(subset: str, path: str | os.PathLike[str] | None, how: Reading) -> Dataset:
    def read(folder: Path) -> list[UInt8]:
        return [parse_idx(fashion_mnist.read_verified(folder, stem), stem) for stem in IDX_FILES[subset]]

    images, labels = fashion_mnist.first_usable(path, read)
    facts = Facts(np.arange(10), entries()["fashion-mnist"].class_names, WHITE, (28, 28))
    return _dataset("fashion-mnist", Rows(resize_all(images, how.resize), labels.astype(np.int64), facts), how)


def _load_digits(subset: str, how: Reading) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    parts = make_split(digits.target, DIGITS_TEST_ROWS, seed=0)
    rows = parts.train if subset == "train" else parts.validation
    images = np.rint(digits.images[rows] * (255 / 16)).astype(np.uint8)
    facts = Facts(np.arange(10), entries()["digits"].class_names, WHITE, (8, 8))
    return _dataset("digits", Rows(resize_all(images, how.resize), digits.target[rows].astype(np.int64), facts), how)


def _load_path(name: str, subset: str, how: Reading) -> Dataset:
    if "://" in name:
        raise InputError(f"{name}: is an address; download it, then give the path of the file or folder")
    path = expanded(name)
    ending = ending_of(path)
    if not os.path.exists(path):
        if ending or path.name != name:
            raise InputError(f"no such file or folder: {path}")
        hint = nearest(name.lower(), NAMES)
        raise InputError(f"unknown data set {name!r}{hint}; allowed: {', '.join(NAMES)}, openml:NUMBER, {FORMS}")
    if not ending and not os.path.isdir(path):
        raise InputError(f"{path}: not a data set; allowed: {FORMS}")
    stem = path.name[: -len(ending)] if ending else path.resolve().name
    return _load_files(f"own-{stem}" if stem in TAKEN else stem, path, subset, how)


def _load_files(name: str, path: Path, subset: str, how: Reading, names: Mapping[int, str] | None = None) -> Dataset:
    train, facts = _train_rows(name, path, how, names or {})
    return train if subset == "train" else _dataset(name, read_test(path, how, facts), how)


def _train_rows(name: str, path: Path, how: Reading, names: Mapping[int, str]) -> tuple[Dataset, Facts]:
    """Read the train rows, or give those that are still in use of the same files: a report needs what a run has."""
    global _latest
    before = time.time_ns()
    key = name, path.resolve(), how, signature(path)
    if _latest is not None and _latest[0] == key and (known := _latest[1]()) is not None:
        return known, _latest[2]
    rows = read_train(path, how)
    if names:
        called = tuple(str(names.get(label, label)) for label in rows.facts.classes.tolist())
        rows = replace(rows, facts=replace(rows.facts, class_names=called))
    dataset = _dataset(name, rows, how)
    # A file that has just been written may be written again without looking younger.
    settled = bool(key[-1]) and all(before - changed > SETTLED for *_, changed in key[-1])
    _latest = (key, weakref.ref(dataset), rows.facts) if settled else None
    return dataset, rows.facts


def _dataset(name: str, rows: Rows, how: Reading) -> Dataset:
    X, y, facts = np.ascontiguousarray(rows.images.reshape(len(rows.images), -1)), rows.y, rows.facts
    numbers, n_validation = np.arange(len(X)), rows.n_validation
    split = Split(numbers[:-n_validation], numbers[-n_validation:]) if n_validation else None
    divided = [split.validation.astype("<i8")] if split else []
    image_shape = rows.images.shape[1:3] if rows.images.shape[3:] in ((), (1,)) else rows.images.shape[1:]
    labels = facts.classes[y].astype(facts.classes.dtype.newbyteorder("<"))
    digest = digest_of(repr((len(X), *image_shape)), X, labels, *divided)
    # The fingerprint goes into every record of a run, so the arrays must stay what they were.
    X.flags.writeable = y.flags.writeable = facts.classes.flags.writeable = False
    resized = () if how.resize is None else (f"images are resized to {how.resize} x {how.resize}",)
    return Dataset(name, X, y, facts.classes, image_shape, facts.class_names, digest, split, (*rows.notes, *resized))
