"""A data set that somebody has in memory: rows of numbers become pixels, labels become codes."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.digests import digest_of
from fmnist_bench._utils.errors import InputError, printable
from fmnist_bench.data.dataset import Dataset, Split
from fmnist_bench.data.pixels import UNIT, WHITE, as_uint8, check_scale, decide_white, shape_of_images

NAME = "arrays"  # of such a data set
CHANNELS = 1, 3  # that images may have


class Scale(NamedTuple):
    """On what scale somebody's pixels are: the numbers that stand for black and for white."""

    black: float
    white: float

    @property
    def is_usual(self) -> bool:
        """Whether it is that of pixels, 0 to 255 or 0 to 1."""
        return self.black == 0 and self.white in (WHITE, UNIT)

    def pixels(self, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """Bring numbers on this scale to whole numbers of 0 to 255; what lies beyond black and white is cut off.

        Raises
        ------
        ValueError
            Where they are surely on another of the usual scales.
        """
        if self.is_usual:
            check_scale(self.white, rows)
            return as_uint8(rows, self.white)
        shares = (rows - np.float64(self.black)) / (self.white - self.black)
        return as_uint8(np.clip(shares, 0.0, 1.0), UNIT)


def scale_of(rows: NDArray[Any], where: str = "X") -> Scale:
    """Find the scale of pixels; on none of the usual ones, say so, and take the smallest number for black.

    Parameters
    ----------
    rows : ndarray of shape (n, n_pixels)
        Finite numbers or truth values.
    where : str
        What a message calls them.

    Examples
    --------
    >>> scale_of(np.array([[0, 200]])), scale_of(np.array([[0.0, 0.8]]))
    (Scale(black=0.0, white=255.0), Scale(black=0.0, white=1.0))
    """
    try:
        return Scale(0.0, decide_white(rows, where))
    except ValueError as error:
        if rows.dtype.kind not in "iuf":
            raise InputError(str(error)) from error
    low, high = float(rows.min()), float(rows.max())
    if not low < high:
        raise InputError(f"{where}: every number is {low:g}; there is nothing to learn from")
    warnings.warn(
        f"{where}: numbers from {low:.4g} to {high:.4g} are no pixels of 0 to 255 or 0 to 1: the smallest is taken for "
        "black, the largest for white",
        stacklevel=2,
    )
    return Scale(low, high)


def check_lengths(rows: NDArray[Any], labels: NDArray[Any], X: str = "X", y: str = "y") -> None:
    """Refuse rows and labels that are not equally many; `X` and `y` are what the message calls them."""
    if len(rows) != len(labels):
        raise InputError(f"{y}: {len(labels)} labels for the {len(rows)} rows of {X}; there must be one a row")


def dataset_of(
    pixels: NDArray[np.uint8],
    labels: NDArray[Any],
    classes: NDArray[Any],
    image_shape: tuple[int, ...] | None = None,
    n_validation: int = 0,
) -> Dataset:
    """Make a data set of arrays.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n, n_pixels)
    labels : ndarray of shape (n,)
        Each one of `classes`.
    classes : ndarray of shape (n_classes,)
        Labels, sorted: whole numbers, words, truth values or floats.
    image_shape : tuple of int or None
        Height, width and perhaps channels; None takes a square, or one line where there is none.
    n_validation : int
        How many of the last rows are to be the validation rows; 0 leaves the choice to the run.

    Raises
    ------
    InputError
        Where there is not one label a row, a label that is no class, or images are neither gray nor of three colours.
    """
    check_lengths(pixels, labels)
    if strange := sorted(set(labels.tolist()) - set(classes.tolist())):
        raise InputError(f"y: label {strange[0]!r} does not occur in the rows of fit")
    height, width, channels = shape_of_images(pixels.shape[1], image_shape)
    if channels not in CHANNELS:
        raise InputError(f"X: images of {channels} channels; allowed: 1, gray, or 3, red, green and blue")
    shape = (height, width) if channels == 1 else (height, width, channels)
    known = np.array(classes.tolist())  # as JSON holds them
    X, y = np.ascontiguousarray(pixels).view(), np.searchsorted(classes, labels).astype(np.int64)
    rows = np.arange(len(X))
    split = Split(rows[:-n_validation], rows[-n_validation:]) if n_validation else None
    X.flags.writeable = y.flags.writeable = False  # of the view: the array itself may be the caller's own
    names = tuple(printable(label) for label in known.tolist())
    digest = digest_of(repr((NAME, X.shape, shape, known.tolist(), n_validation)), X, y)
    return Dataset(NAME, X, y, known, shape, names, digest, split, in_memory=True)
