"""Classic augmentation: images mirrored, moved and partly covered; for batches of a network, and as a sampler."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from fmnist_bench.data.pixels import as_rows, image_shape_of, shape_of_images
from fmnist_bench.models.augmentation._batch import Augment


class ClassicAugmentation(BaseEstimator):  # type: ignore[misc]
    """Appends rows that have been mirrored, moved and partly covered, for models that see each row once.

    A network takes `flip`, `shift` and `erase` itself and changes every batch anew.

    Parameters
    ----------
    ratio : float
        Rows to append for each row there is, 0 or more.
    flip : bool
        Mirror half of them.
    shift : int
        Pixels by which they are moved at most, each way.
    erase : float
        Share of them, 0 to 1, of which a rectangle is covered with pixels of others (Zhong et al., "Random Erasing
        Data Augmentation", 2020).
    image_shape : tuple of int or None
        `(height, width)` or `(height, width, channels)`; None means that of the images, and of rows square and gray.
    random_state : int, RandomState or None

    Examples
    --------
    >>> X, y = np.eye(4, dtype=np.uint8), np.array([0, 0, 1, 1])
    >>> more, labels = ClassicAugmentation(ratio=0.5, shift=0, erase=0.0, random_state=0).fit_resample(X, y)
    >>> more.shape, labels.shape
    ((6, 4), (6,))
    """

    def __init__(
        self,
        *,
        ratio: float = 1.0,
        flip: bool = True,
        shift: int = 2,
        erase: float = 0.25,
        image_shape: tuple[int, ...] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.ratio = ratio
        self.flip = flip
        self.shift = shift
        self.erase = erase
        self.image_shape = image_shape
        self.random_state = random_state

    def fit_resample(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Append changed copies; with ratio 0 nothing changes.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images
        y : array-like of shape (n,)

        Returns
        -------
        X : ndarray of shape (n + round(ratio * n), n_features)
            The rows as they were, then copies of rows drawn at random, none twice before all have been drawn.
        y : ndarray of shape (n + round(ratio * n),)

        Raises
        ------
        ValueError
            A parameter out of its range, or rows that are not images of `image_shape`.
        """
        if self.ratio < 0 or self.shift < 0 or not 0 <= self.erase <= 1:
            raise ValueError("ratio and shift must be at least 0, erase from 0 to 1")
        rows, labels = np.asarray(as_rows(X)), np.asarray(y)
        generator = check_random_state(self.random_state)
        drawn = np.resize(generator.permutation(len(rows)), round(self.ratio * len(rows)))
        if not len(drawn):
            return rows, labels
        images = rows[drawn].reshape(-1, *shape_of_images(rows.shape[1], self.image_shape or image_shape_of(X)))
        changed = Augment(self.flip, self.shift, self.erase)(images, (int(generator.randint(2**31 - 1)),))
        return np.concatenate([rows, changed.reshape(len(drawn), -1)]), np.concatenate([labels, labels[drawn]])
