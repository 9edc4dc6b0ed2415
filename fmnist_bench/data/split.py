"""The division of rows into train and validation, or train and test rows: seeded, stratified by class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.errors import InputError

Int64 = npt.NDArray[np.int64]

HELD_OUT = 6  # every sixth row of data without test rows becomes one


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

    def nested(
        self, y: Int64, rows: int, n_validation: int, seed: int, class_names: Sequence[object] | None = None
    ) -> Split:
        """Keep so many rows, train and validation rows each stratified; a smaller part lies within every larger one.

        Parameters
        ----------
        y : ndarray of int64, shape (n,)
            Labels of all rows.
        rows, n_validation : int
            Number of rows in all, and of those for validation.
        seed : int
            Same seed, same order: parts of several sizes are nested, train in train and validation in validation rows.
        class_names : sequence, optional
            What a message calls the classes.

        Raises
        ------
        InputError
            Where a class would have no row to fit.
        """
        rng = np.random.default_rng(seed)
        train = _stratified_order(y, self.train, rng)[: rows - n_validation]
        validation = _stratified_order(y, self.validation, rng)[:n_validation]
        counts = np.bincount(y[train], minlength=int(y.max()) + 1)
        if not counts.all():
            name = (class_names or range(len(counts)))[int(counts.argmin())]
            raise InputError(f"class {name} has none of the {rows} rows to fit; at least 1 is needed")
        return Split(np.sort(train), np.sort(validation))


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
        Take a stratified part of so many rows, see `Split.nested`. Default: all.
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
    if rows is not None:
        if not 2 <= rows <= len(y):
            raise InputError(f"rows={rows} is out of range; allowed: 2 to {len(y)}")
        n_valid = validation_count(valid_size, rows, int(y.max()) + 1)
        return make_split(y, valid_size, seed, None, class_names).nested(y, rows, n_valid, seed, class_names)
    rng = np.random.default_rng(seed)
    n_classes = int(y.max()) + 1
    names = range(n_classes) if class_names is None else class_names
    counts = np.bincount(y, minlength=n_classes)
    if not counts.all():
        raise InputError(f"class {names[int(counts.argmin())]} has none of the {len(y)} rows; at least 1 is needed")
    n_valid = validation_count(valid_size, len(y), n_classes)
    shared = np.flatnonzero(counts[y] > 1)
    valid = shared[_draw(y[shared], n_valid, rng)]
    fit = np.setdiff1d(np.arange(len(y), dtype=np.int64), valid, assume_unique=True)
    left = np.bincount(y[fit], minlength=n_classes)
    if not left.all():
        raise InputError(
            f"class {names[int(left.argmin())]} has no row left to fit; valid_size={valid_size} is too large"
        )
    return Split(train=fit, validation=valid)


def hold_out(labels: npt.ArrayLike, where: str | os.PathLike[str]) -> tuple[Int64, Int64, str]:
    """Choose test rows where the data have none: a sixth of each class, the same whenever the labels are the same.

    Parameters
    ----------
    labels : array-like of shape (n,)
        Numbers or words.
    where : str or path-like
        What a message calls the data.

    Returns
    -------
    train, test : ndarray of int64
        Row numbers, sorted.
    note : str
        Says what was done.
    """
    names, y = np.unique(np.asarray(labels), return_inverse=True)
    size = max(len(names), round(len(y) / HELD_OUT))
    try:
        split = make_split(y, size, seed=0, class_names=[str(name) for name in names])
    except InputError as error:
        raise InputError(f"{os.fspath(where)}: has no test rows, and too few rows to hold some out: {error}") from error
    note = f"no test rows were given: {size} of {len(y)} rows, a sixth of each class, are held out (seed 0)"
    return split.train, split.validation, note


def validation_count(valid_size: float, n_rows: int, n_classes: int) -> int:
    """Give how many of `n_rows` are validation rows, where `valid_size` is a fraction of them or a count.

    Raises
    ------
    InputError
        Where not every class finds place on both sides.
    """
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


def _stratified_order(y: Int64, numbers: Int64, rng: np.random.Generator) -> Int64:
    """Order rows so that each class has its share in every beginning, by the method of Webster and Sainte-Laguë."""
    numbers = rng.permutation(numbers)
    key = np.empty(len(numbers))
    for label in np.unique(y[numbers]):
        places = np.flatnonzero(y[numbers] == label)
        key[places] = (np.arange(len(places)) + 0.5) / len(places)
    return numbers[np.argsort(key, kind="stable")]


def _draw(y: Int64, n: int, rng: np.random.Generator) -> Int64:
    """Return `n` sorted positions, every class with its share (largest remainders)."""
    counts = np.bincount(y)
    share, remainder = np.divmod(n * counts, len(y))
    share[np.argsort(-remainder, kind="stable")[: n - share.sum()]] += 1
    taken = [rng.permutation(np.flatnonzero(y == label))[:size] for label, size in enumerate(share)]
    return np.sort(np.concatenate(taken)).astype(np.int64)
