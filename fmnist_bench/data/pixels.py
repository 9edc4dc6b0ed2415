"""On what scale pixels are: data files, image files, the ensemble, pipelines and networks all ask here."""

import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.digests import digest_of

WHITE, UNIT = 255.0, 1.0  # the two scales, by the number that is white
OVERSHOOT = 0.1  # share of white by which resizing with splines goes beyond black and white
LEAST_WHOLE = 16  # images of whole numbers have a pixel of at least so much, else they are nearly black: or counts
LEAST_BROKEN = 32.0  # images of numbers with fractions on the scale of 255, likewise
LEAST_COLUMNS = 16  # rows of fewer numbers are a table, no images


def white_of(X: NDArray[Any]) -> float | None:
    """Find the scale of pixels, the value of white, from the range of their values.

    Parameters
    ----------
    X : ndarray of numbers or truth values

    Returns
    -------
    float or None
        255: whole numbers of 0 to 255 that reach 16, or fractions that reach 32. 1: truth values, or fractions that do
        not pass 1. Fractions may pass black and white by a tenth of white, as resized images do. None: zeros and ones
        alone, which may be counts, and all else.

    Examples
    --------
    >>> white_of(np.array([[0, 200]])), white_of(np.array([[0.0, 1.02]])), white_of(np.array([[-1.3, 2.8]]))
    (255.0, 1.0, None)
    """
    if X.dtype.kind == "b":
        return UNIT
    if X.dtype.kind not in "iuf" or not X.size:
        return None
    low, high = float(X.min()), float(X.max())
    if are_whole(X):
        return WHITE if low >= 0 and LEAST_WHOLE <= high <= WHITE else None
    if _lie_within(low, high, UNIT):
        return UNIT
    return WHITE if high >= LEAST_BROKEN and _lie_within(low, high, WHITE) else None


def are_whole(X: NDArray[Any]) -> bool:
    """Tell whether all numbers are whole."""
    return X.dtype.kind in "biu" or bool((np.round(X) == X).all())


def are_pixels(X: NDArray[Any]) -> bool:
    """Tell whether rows are whole numbers of 0 to 255, and not zeros and ones alone."""
    return bool(X.size and X.min() >= 0 and 1 < X.max() <= WHITE) and are_whole(X)


def check_scale(fitted: float | None, X: NDArray[Any]) -> None:
    """Refuse rows that are surely on another scale than those of `fit`.

    Parameters
    ----------
    fitted : float or None
        What `white_of` said of the rows of `fit`; None refuses nothing.
    X : ndarray of shape (n, n_features)

    Raises
    ------
    ValueError
    """
    if fitted is None or X.ndim != 2 or X.shape[1] < LEAST_COLUMNS:
        return
    if (found := white_of(X)) not in (None, fitted):
        raise ValueError(f"pixels from 0 to {found:g}: this model was fitted on pixels from 0 to {fitted:g}")


def decide_white(images: NDArray[Any], where: str, fitted: float | None = None) -> float:
    """Find the scale of images; what `white_of` leaves open is decided with a warning, or refused.

    Parameters
    ----------
    images : ndarray
    where : str
        What a message calls them.
    fitted : float or None
        The scale of the images that belong to them: it decides for those that are black.

    Returns
    -------
    float
        255 or 1.

    Raises
    ------
    ValueError
        Where they are on neither scale.
    """
    if images.dtype.kind not in "biuf":
        raise ValueError(f"{where}: element type {images.dtype}; allowed: uint8, other integers, floats, truth values")
    low, high = images.min(), images.max()
    if high == 0 == low:
        return fitted or WHITE
    white = white_of(images) or _white_of_few(images)
    if white is None:
        raise ValueError(
            f"{where}: pixels from {low:.7g} to {high:.7g}; allowed: 0 to 255, or 0 to 1 as floats, no NaN; "
            "others must be scaled first"
        )
    if said := _doubt(images, float(low), float(high), white):
        warnings.warn(f"{where}: {said}", stacklevel=3)
    return white


def _white_of_few(images: NDArray[Any]) -> float | None:
    """Say on what scale whole numbers are that are all small; None where they are anything else."""
    if not (images.min() >= 0 and images.max() < LEAST_WHOLE and are_whole(images)):  # so written, NaN fails too
        return None
    return UNIT if images.max() == 1 else WHITE


def _doubt(images: NDArray[Any], low: float, high: float, white: float) -> str:
    """Say what the user may not have meant; nothing as a rule."""
    if images.dtype.kind == "f" and max(-low, high - white) > 0.5 * white / WHITE:  # it shows after rounding
        return f"pixels from {low:.4g} to {high:.4g} are cut off at 0 and {white:g}"
    if images.dtype.kind in "iu" and high == 1:
        return "zeros and ones alone are taken for black and white"
    if white == WHITE and high < LEAST_BROKEN:
        return f"nearly black, the largest pixel is {high:g} of 255"
    return ""


def as_uint8(images: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """Bring images from the scale on which `white` is white to whole numbers of 0 to 255; the rest is cut off."""
    if images.dtype.kind in "iu" and np.iinfo(images.dtype).max != white:
        images = np.clip(images, 0, min(int(white), np.iinfo(images.dtype).max))
    if images.dtype.kind != "f":
        pixels: NDArray[np.uint8] = images.astype(np.uint8, copy=False)
        return pixels if white == WHITE else pixels * np.uint8(WHITE)
    scaled = images * images.dtype.type(WHITE / white)
    np.rint(scaled, out=scaled)
    np.clip(scaled, 0, WHITE, out=scaled)
    return np.asarray(scaled, dtype=np.uint8)


def _lie_within(low: float, high: float, white: float) -> bool:
    return -OVERSHOOT * white <= low and high <= (1 + OVERSHOOT) * white


N_EDGES = 1000  # images by whose edges the background is known
MOST_CHANNELS = 4  # of images; red, green, blue and opacity


def as_rows(X: Any) -> Any:
    """Flatten images of shape (n, height, width) or (n, height, width, channels) to rows; leave anything else."""
    shape: tuple[int, ...] = getattr(X, "shape", ())
    return np.reshape(X, (shape[0], -1)) if len(shape) in (3, 4) else X


def as_images(X: NDArray[Any]) -> NDArray[Any]:
    """Fold rows of pixels, as many as a square has, to images of shape (n, side, side); leave anything else.

    Examples
    --------
    >>> as_images(np.zeros((5, 784))).shape, as_images(np.zeros((5, 785))).shape
    ((5, 28, 28), (5, 785))
    """
    side = math.isqrt(X.shape[1]) if X.ndim == 2 else 0
    return X.reshape(len(X), side, side) if side and X.shape[1] == side * side else X


def upright(images: NDArray[Any], name: str) -> NDArray[Any]:
    """Turn the images of EMNIST, which lie on their side in all files of its makers, known by their names."""
    lying = re.search(r"(^|/)emnist-[a-z]+-(train|test)", name, re.IGNORECASE) and images.ndim > 2
    return images.swapaxes(1, 2) if lying else images


def image_shape_of(X: Any) -> tuple[int, ...] | None:
    """Return height, width and perhaps channels of images, as `image_shape` says them; None for anything else.

    Raises
    ------
    ValueError
        Where the channels stand before height and width: such images are as long as others, but scrambled.
    """
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) == 4 and shape[1] in (1, 3) and min(shape[2:]) > MOST_CHANNELS:
        raise ValueError(f"images of shape {shape}: the channels must be last, as np.moveaxis(X, 1, -1) puts them")
    return shape[1:] if len(shape) in (3, 4) else None


def check_image_shape(fitted: Sequence[int] | None, X: Any) -> None:
    """Refuse images of another height and width than those of `fit`: as rows they may be as long, but scrambled.

    Raises
    ------
    ValueError
    """
    shape = image_shape_of(X)
    if fitted and shape and (*shape, 1)[:3] != (*fitted, 1)[:3]:
        raise ValueError(f"images of {shape}: this model was fitted on images of {tuple(fitted)}")


def edge_brightness(images: NDArray[Any]) -> float:
    """Mean of the pixels at the edges of images of shape (n, height, width[, channels])."""
    lines = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    return float(np.concatenate([line.reshape(-1) for line in lines]).mean())


def background_of(X: NDArray[Any], image_shape: Sequence[int] | None) -> float | None:
    """`edge_brightness` of the first rows; None where nothing says what shape images they would be."""
    if image_shape is None and math.isqrt(X.shape[1]) ** 2 != X.shape[1]:
        return None
    return edge_brightness(X[:N_EDGES].reshape(-1, *shape_of_images(X.shape[1], image_shape)))


def shape_of_images(n_features: int, image_shape: Sequence[int] | None) -> tuple[int, int, int]:
    """Height, width and channels of the image that a row holds.

    Parameters
    ----------
    n_features : int
        Length of the row.
    image_shape : sequence of int or None
        ``(height, width)`` or ``(height, width, channels)``; None means square and gray, or one pixel high where the
        length is no square.

    Raises
    ------
    ValueError
        Where they do not fit together.

    Examples
    --------
    >>> shape_of_images(784, None)
    (28, 28, 1)
    >>> shape_of_images(96, (4, 8, 3))
    (4, 8, 3)
    """
    side = math.isqrt(n_features)
    likely = (side, side) if side * side == n_features else (1, n_features)
    height, width, channels = (*(image_shape or likely), 1)[:3]
    if height * width * channels != n_features:
        raise ValueError(f"image_shape={image_shape!r}: rows have {n_features} features, it has to make as many")
    return height, width, channels


def fingerprint(X: NDArray[Any], y: NDArray[Any]) -> str:
    """SHA-256 of rows and their labels."""
    return digest_of(f"{X.shape} {X.dtype} {y.tolist()}", X)
