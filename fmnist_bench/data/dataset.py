"""Loaders, checks and splits of image data sets; Fashion-MNIST first of all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.digests import digest_of
from fmnist_bench._utils.errors import InputError, nearest, printable
from fmnist_bench.data import fashion_mnist
from fmnist_bench.data.fashion_mnist import find_fashion_mnist
from fmnist_bench.data.idx import IDX_FILES, parse_idx
from fmnist_bench.data.readers import FORMS, ending_of, read_user_data

__all__ = ["Dataset", "Split", "describe", "find_fashion_mnist", "load_dataset", "make_split", "parse_idx"]

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Labels = npt.NDArray[Any]

NAMES = ("fashion-mnist", "digits")
TAKEN = (*NAMES, "fmnist")  # what a data set of one's own, and its registered model, are not called
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
DIGITS_TEST_ROWS = 297


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
    """

    name: str
    X: UInt8
    y: Int64
    classes: Labels
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    fingerprint: str
    official_split: Split | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of a data set; it knows no test rows, so a search cannot leak.

    Attributes
    ----------
    train, validation : ndarray of int64
        Sorted, disjoint row numbers.
    """

    train: Int64
    validation: Int64

    def part(self, share: float, y: Int64, seed: int) -> Split:
        """Keep a share of each class's train rows, above 0 to 1; a smaller part lies within every larger one."""
        order = np.random.default_rng(seed).permutation(self.train)
        by_class = [order[y[order] == label] for label in np.unique(y[self.train])]
        kept = [rows[: max(1, round(share * len(rows)))] for rows in by_class]
        return Split(np.sort(np.concatenate(kept)), self.validation)


def load_dataset(
    name: str | os.PathLike[str] = "fashion-mnist",
    subset: str = "train",
    path: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Load one subset of a data set. Test rows enter the process only for ``subset="test"``.

    Parameters
    ----------
    name : str or path-like
        ``"fashion-mnist"``; ``"digits"`` (scikit-learn's 1,797 images of 8 x 8, a fixed stratified
        split); a folder of four files called as those of MNIST or of a relative, ``.gz`` or plain; an
        ``.npz`` with ``x_train``, ``y_train``, ``x_test``, ``y_test``, or with the names of MedMNIST; or
        tables, see `fmnist_bench.data.tables.read_table`. Images have the shape ``(n, h, w)``, ``(n, h, w, 1)`` or
        ``(n, h, w, 3)``, or are rows of the pixels of a square. Pixels are whole numbers of
        0 to 255, floats of 0 to 255 or of 0 to 1, or truth values, by one rule for train and test:
        see `fmnist_bench.data.pixels.decide_white`. Labels are whole numbers of
        any value or words, of shape ``(n,)`` or ``(n, 1)``, or one-hot rows.
    subset : {"train", "test"}
        Which rows. The classes are those of the train rows in either case. Official validation rows are
        among the train rows, see `Dataset.official_split`.
    path : path-like, optional
        Folder with the IDX files of Fashion-MNIST. Default: the environment variable
        ``FMNIST_BENCH_DATA``, else see `find_fashion_mnist`.

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
    if name == "fashion-mnist":
        return _load_fashion_mnist(subset, path)
    if name == "digits":
        return _load_digits(subset)
    return _load_path(name, subset)


def make_split(
    y: npt.ArrayLike,
    valid_size: float,
    seed: int,
    rows: int | None = None,
    class_names: Sequence[str] | None = None,
) -> Split:
    """Divide the rows into train and validation rows, stratified by class.

    Every class gives its share, rounded by largest remainders, so the sizes are exact; the only row
    of a class is one to fit. This is not scikit-learn's ``train_test_split``, which refuses to leave
    fewer rows out than there are classes.

    Parameters
    ----------
    y : array-like of int, shape (n,)
        Labels, 0 to n_classes - 1.
    valid_size : float or int
        Fraction of the rows in (0, 1), or a count of rows.
    seed : int
        Same seed, same split; at least 0.
    rows : int, optional
        Take a stratified subset of so many rows first. Default: all.
    class_names : sequence of str, optional
        What a message calls the classes. Default: their labels in `y`.

    Returns
    -------
    Split
        Row numbers into `y`.

    Raises
    ------
    InputError
        A size out of range, or a class without a row to fit.
    """
    y = np.asarray(y)
    if y.ndim != 1 or not len(y) or y.dtype.kind not in "iu" or not 0 <= y.min() <= y.max() < len(y):
        raise InputError(f"y must be a row of labels 0, 1, ... without gaps, not {y.dtype} of shape {y.shape}")
    y = y.astype(np.int64)
    if seed < 0:
        raise InputError(f"seed={seed} is negative; allowed: 0, 1, ...")
    rng = np.random.default_rng(seed)
    pool = np.arange(len(y), dtype=np.int64)
    if rows is not None:
        if not 2 <= rows <= len(y):
            raise InputError(f"rows={rows} is out of range; allowed: 2 to {len(y)}")
        pool = pool[_draw(y, rows, rng)]
    n_classes = int(y.max()) + 1
    names = range(n_classes) if class_names is None else class_names
    counts = np.bincount(y[pool], minlength=n_classes)
    if not counts.all():
        raise InputError(f"class {names[int(counts.argmin())]} has none of the {len(pool)} rows; at least 1 is needed")
    n_valid = _valid_count(valid_size, len(pool), n_classes)
    shared = pool[counts[y[pool]] > 1]
    valid = shared[_draw(y[shared], n_valid, rng)]
    fit = np.setdiff1d(pool, valid, assume_unique=True)
    left = np.bincount(y[fit], minlength=n_classes)
    if not left.all():
        raise InputError(
            f"class {names[int(left.argmin())]} has no row left to fit; valid_size={valid_size} is too large"
        )
    return Split(train=fit, validation=valid)


def describe(name: str | os.PathLike[str] = "fashion-mnist", path: str | os.PathLike[str] | None = None) -> str:
    """Fetch a data set if need be, verify it, and say what it holds and where it is."""
    lines = [f"{os.fspath(name)}"]
    if os.fspath(name) == "fashion-mnist":
        lines.append(f"  folder       {find_fashion_mnist(path)} (SHA-256 of all four files verified)")
    train, test = (load_dataset(name, subset, path) for subset in ("train", "test"))
    for subset, data in (("train", train), ("test", test)):
        sizes = np.bincount(data.y, minlength=len(data.classes)).tolist()
        counts = ", ".join(f"{c} {n}" for c, n in zip(data.class_names, sizes, strict=True))
        lines.append(f"  {subset:<12} {len(data.y)} images of {' x '.join(map(str, data.image_shape))}: {counts}")
        lines.append(f"  fingerprint  {data.fingerprint}")
    if train.official_split:
        n_valid = len(train.official_split.validation)
        lines.append(f"  validation   {n_valid} of the train images, as those who made the data divided them")
    return "\n".join([*lines, *_faults(train, test)])


def _faults(train: Dataset, test: Dataset) -> Iterator[str]:
    """Say what a run cannot measure, and what would flatter its report."""
    for name, size in zip(train.class_names, np.bincount(train.y).tolist(), strict=True):
        if size < 2:
            yield f"  one image    of class {name} to train on: it is learnt, and never validated"
    known = {row.tobytes() for row in train.X}
    if shared := sum(row.tobytes() in known for row in test.X):
        yield f"  overlap      {shared} of the {len(test.y)} test images are train images, too"


def _load_fashion_mnist(subset: str, path: str | os.PathLike[str] | None) -> Dataset:
    def read(folder: Path) -> list[UInt8]:
        return [parse_idx(fashion_mnist.read_verified(folder, stem), stem) for stem in IDX_FILES[subset]]

    images, labels = fashion_mnist.first_usable(path, read)
    return _dataset("fashion-mnist", images, labels.astype(np.int64), np.arange(10), FASHION_CLASSES)


def _load_digits(subset: str) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    parts = make_split(digits.target, DIGITS_TEST_ROWS, seed=0)
    rows = parts.train if subset == "train" else parts.validation
    images = np.rint(digits.images[rows] * (255 / 16)).astype(np.uint8)
    return _dataset("digits", images, digits.target[rows].astype(np.int64), np.arange(10), tuple("0123456789"))


def _dataset(
    name: str, images: UInt8, y: Int64, classes: Labels, class_names: tuple[str, ...], n_validation: int = 0
) -> Dataset:
    image_shape = images.shape[1:3] if images.shape[3:] in ((), (1,)) else images.shape[1:]
    X = np.ascontiguousarray(images.reshape(len(images), -1))
    rows = np.arange(len(X))
    split = Split(rows[:-n_validation], rows[-n_validation:]) if n_validation else None
    divided = [split.validation.astype("<i8")] if split else []
    labels = classes[y].astype(classes.dtype.newbyteorder("<"))
    digest = digest_of(repr((len(X), *image_shape)), X, labels, *divided)
    # The fingerprint goes into every record of a run, so the arrays must stay what they were.
    X.flags.writeable = y.flags.writeable = classes.flags.writeable = False
    return Dataset(name, X, y, classes, image_shape, class_names, digest, split)


def _valid_count(valid_size: float, n_rows: int, n_classes: int) -> int:
    fraction = isinstance(valid_size, (float, np.floating))
    if fraction and not 0 < valid_size < 1:
        raise InputError(
            f"valid_size={valid_size} is out of range; allowed: a fraction between 0 and 1, or a whole count"
        )
    if n_rows < 2 * n_classes:
        raise InputError(f"{n_rows} rows are too few for {n_classes} classes; allowed: at least {2 * n_classes}")
    count = round(valid_size * n_rows) if fraction else int(valid_size)
    if not n_classes <= count <= n_rows - n_classes:
        raise InputError(
            f"valid_size={valid_size} makes {count} of {n_rows} rows; allowed: {n_classes} to {n_rows - n_classes}, "
            f"so that {n_classes} classes find place on both sides"
        )
    return count


def _draw(y: Int64, n: int, rng: np.random.Generator) -> Int64:
    """Return `n` sorted positions, every class with its share (largest remainders)."""
    counts = np.bincount(y)
    share, remainder = np.divmod(n * counts, len(y))
    share[np.argsort(-remainder, kind="stable")[: n - share.sum()]] += 1
    taken = [rng.permutation(np.flatnonzero(y == label))[:size] for label, size in enumerate(share)]
    return np.sort(np.concatenate(taken)).astype(np.int64)


def _load_path(name: str, subset: str) -> Dataset:
    if "://" in name:
        raise InputError(f"{name}: is an address; download it, then give the path of the file or folder")
    path = Path(name).expanduser()
    ending = ending_of(path)
    if not os.path.exists(path):
        if ending or path.name != name:
            raise InputError(f"no such file or folder: {path}")
        hint = nearest(name.lower(), NAMES)
        raise InputError(f"unknown data set {name!r}{hint}; allowed: {', '.join(NAMES)}, {FORMS}")
    if not ending and not os.path.isdir(path):
        raise InputError(f"{path}: not a data set; allowed: {FORMS}")
    stem = path.name[: -len(ending)] if ending else path.resolve().name
    images, y, classes, n_validation = read_user_data(path, subset)
    names = tuple(printable(label) for label in classes.tolist())
    return _dataset(f"own-{stem}" if stem in TAKEN else stem, images, y, classes, names, n_validation)
