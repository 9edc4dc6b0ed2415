"""Images as rows of pixels; and arrays that take long to compute, kept in files named by all that they follow from."""

import hashlib
import inspect
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_EDGES = 1000  # images by whose edges the background is known
MOST_CHANNELS = 4  # of images; red, green, blue and opacity
WORTH_KEEPING = 1.0  # seconds; what is computed faster than this costs more to store than to repeat

_saved: list[float] = []


def as_rows(X: Any) -> Any:
    """Flatten images of shape (n, height, width) or (n, height, width, channels) to rows; leave anything else."""
    shape: tuple[int, ...] = getattr(X, "shape", ())
    return np.reshape(X, (shape[0], -1)) if len(shape) in (3, 4) else X


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
    digest = hashlib.sha256(f"{X.shape} {X.dtype} {y.tolist()}".encode())
    digest.update(np.ascontiguousarray(X).data)
    return digest.hexdigest()


def source_digest(kind: type) -> str:
    """SHA-256 of the file that a class is written in; empty where there is none."""
    try:
        return hashlib.sha256(Path(inspect.getfile(kind)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""


def cached_array(path: Path, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Map the array of a file, or compute it and keep it there.

    Parameters
    ----------
    path : Path
        Of an ``.npy`` file, whose name must follow from everything that the array follows from. One that is damaged
        is written again; a full disk costs the file, not the array.
    compute : callable
        Gives the array.
    """
    try:
        # Copied where it is written to: one that was just computed can be written to as well.
        found: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
        _saved.append(float(_seconds_file(path).read_text()))
        return found
    except (OSError, ValueError, EOFError):  # not there, or cut off
        started = time.perf_counter()
        array = compute()
        if (seconds := time.perf_counter() - started) > WORTH_KEEPING:
            _keep(path, array, seconds)
        return array


def seconds_saved() -> float:
    """Seconds that the files have saved this process so far: what the arrays took to compute when they were kept."""
    return sum(_saved)


def _seconds_file(path: Path) -> Path:
    return path.with_suffix(".seconds")


def _keep(path: Path, array: NDArray[Any], seconds: float) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            try:
                np.save(file, array, allow_pickle=False)
                _seconds_file(path).write_text(f"{seconds:.3f}")
                os.replace(file.name, path)
            except OSError:
                os.unlink(file.name)
                raise
    except OSError:
        return
