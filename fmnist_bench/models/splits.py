"""A split that any number of classes survives, for what a study calibrates or stops by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedShuffleSplit

Rows = NDArray[np.intp]


class HoldOut(StratifiedShuffleSplit):  # type: ignore[misc]
    """Stratified random splits whose test part has room for every class.

    `sklearn.model_selection.StratifiedShuffleSplit` refuses a test part of fewer rows than there are classes: 5 % of a
    thousand rows of letters. Here it then has as many rows as classes, and a class of one row is trained on alone;
    where scikit-learn's does not refuse, the splits are the same.

    Parameters
    ----------
    n_splits : int
    test_size : float, int or None
        Share of the rows, or their number; None means a tenth.
    train_size : float, int or None
        Of the rows to train on; None means the rest.
    random_state : int, RandomState or None

    Examples
    --------
    >>> y = np.arange(40) % 20
    >>> [(len(train), len(test)) for train, test in HoldOut(1, test_size=0.05, random_state=0).split(y, y)]
    [(20, 20)]
    """

    def split(self, X: Any, y: ArrayLike, groups: Any = None) -> Iterator[tuple[Rows, Rows]]:
        """Give the rows to train on and to test on, of each split.

        Parameters
        ----------
        X : array-like of n rows
        y : array-like of shape (n,)
        groups : object
            Ignored.

        Yields
        ------
        train, test : ndarray of int
            Row numbers.
        """
        _, codes, counts = np.unique(np.asarray(y), return_inverse=True, return_counts=True)
        rows, alone = np.flatnonzero(counts[codes] > 1), np.flatnonzero(counts[codes] == 1)
        size = self._default_test_size if self.test_size is None else self.test_size
        wanted = math.ceil(size * len(rows)) if isinstance(size, float) else size
        n_test = max(wanted, int((counts > 1).sum()))
        inner = StratifiedShuffleSplit(
            self.n_splits, test_size=n_test, train_size=self.train_size, random_state=self.random_state
        )
        for train, test in inner.split(rows, codes[rows]):
            yield np.concatenate([rows[train], alone]), rows[test]
