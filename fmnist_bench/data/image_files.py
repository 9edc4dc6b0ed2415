"""Image files as rows of pixels like those of Fashion-MNIST: gray on black, centred, of one size."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.pixels import as_uint8, decide_white, edge_brightness, upright
from fmnist_bench.data.readers.decoding import Source, fit, opened, upright_on
from fmnist_bench.data.readers.npz import read_arrays
from fmnist_bench.data.readers.tables import read_pixels

SUFFIXES = (".png", ".jpg", ".jpeg")
TABLES = (".csv", ".csv.gz", ".parquet")
DARK, BRIGHT = 64, 191  # mean of the pixels at the edge below and above which a background is black or white
PREFERRED = ("x_test", "X_test", "test_images", "X", "x", "images")  # arrays of an .npz, the first of them first


def read_images(
    source: Path, image_shape: Sequence[int], background: float = 0.0
) -> tuple[list[str], NDArray[np.uint8], NDArray[np.bool_]]:
    """Read what somebody wants to have classified.

    JPEG files are turned as their camera says. Files of another size are scaled, their proportions kept, and stand in
    the middle; colour becomes gray where gray is wanted, 16 bits become 8; what is transparent becomes white under dark
    drawings, black under bright ones. An image on white is inverted where the background is black, as that of the
    clothes is, and one on black where it is white. Arrays keep their pixels; truth values, zeros and ones, and
    floating-point numbers of 0 to 1 are multiplied by 255.

    Parameters
    ----------
    source : Path
        A PNG or JPEG file, a folder of them, or an ``.npz`` of images: in the first array of those called ``x_test``,
        ``X_test``, ``test_images``, ``X``, ``x``, ``images``, or else in the only array of their shape. Or a CSV or
        Parquet table with a column for each pixel; labels in it are not looked at.
    image_shape : sequence of int
        ``(height, width)``, also with 1, or ``(height, width, 3)`` of the rows that are wanted.
    background : float
        Mean of the pixels at the edges of the images that were learnt from, 0 to 255: black below 64, white above 191.

    Returns
    -------
    names : list of str
        Paths of the files; of an ``.npz`` or a table with the row, as ``images.npz[0]``.
    X : ndarray of shape (n, height * width [* 3]), uint8
    inverted : ndarray of shape (n,), bool
        Which images were inverted.

    Raises
    ------
    InputError
        Where there is nothing, or something that is not an image.
    """
    image_shape = tuple(image_shape[:2]) if tuple(image_shape[2:]) == (1,) else tuple(image_shape)
    if image_shape[2:] not in ((), (3,)):
        raise InputError(f"{source}: cannot be read for images of {image_shape[2]} channels, only of 1 or 3")
    if source.name.lower().endswith((".npz", *TABLES)):
        X = (_read_npz if source.suffix.lower() == ".npz" else _read_table)(source, image_shape)
        return [f"{source}[{row}]" for row in range(len(X))], X, np.zeros(len(X), bool)
    paths = [source]
    if source.is_dir():
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise InputError(f"{source}: holds no images ({', '.join(SUFFIXES)})")
    read = [_read_file(path, image_shape, background) for path in paths]
    return list(map(str, paths)), np.stack([image.ravel() for image, _ in read]), np.array([was for _, was in read])


def _read_npz(path: Path, image_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    arrays = read_arrays(path, lambda names: [name for name in PREFERRED if name in names][:1] or names)
    name = _the_images(path, arrays, image_shape)
    return _as_rows(arrays[name], f"{path}: {name}")


def _read_table(path: Path, image_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    images = read_pixels(path, int(np.prod(image_shape))).reshape(-1, *image_shape)
    return _as_rows(upright(images, path.name), str(path))


def _as_rows(images: NDArray[Any], where: str) -> NDArray[np.uint8]:
    try:
        return as_uint8(images, decide_white(images, where)).reshape(len(images), -1)
    except ValueError as error:
        raise InputError(str(error)) from error


def _the_images(path: Path, arrays: dict[str, NDArray[Any]], image_shape: tuple[int, ...]) -> str:
    """Name the only array that is shaped like images; refuse to guess among several or none."""
    allowed = {image_shape, (int(np.prod(image_shape)),)} | ({(*image_shape, 1)} if len(image_shape) == 2 else set())
    fitting = [name for name, array in arrays.items() if array.ndim and len(array) and array.shape[1:] in allowed]
    if not fitting:
        found = ", ".join(f"{name} has shape {array.shape}" for name, array in arrays.items()) or "it holds no array"
        raise InputError(f"{path}: {found}, must be n x {' x '.join(map(str, image_shape))}")
    if len(fitting) > 1:
        raise InputError(f"{path}: {', '.join(fitting)} may all be the images; call those that are meant x_test")
    if fitting[0] not in PREFERRED and len(arrays) > 1:
        warnings.warn(f"{path}: the images are taken from {fitting[0]}", stacklevel=4)
    return fitting[0]


def _read_file(path: Path, image_shape: tuple[int, ...], background: float) -> tuple[NDArray[np.uint8], bool]:
    """Match the background of the training images, then fit the image into the middle; say whether it was inverted."""
    from PIL import ImageOps

    height, width = image_shape[:2]
    colour = "white" if background > BRIGHT else "black"  # of what is filled up
    with opened(Source(str(path), path)) as file:
        image, ground = upright_on(file, colour)
        image = image.convert("RGB" if len(image_shape) == 3 else "L")
        own = edge_brightness(np.asarray(image)[np.newaxis])
        if inverted := bool((background < DARK and own > 127) or (background > BRIGHT and own < 128)):
            image = ImageOps.invert(image)
        if image.size != (width, height):
            image = fit(image, (width, height), ground if DARK <= background <= BRIGHT else colour)
        return np.asarray(image, dtype=np.uint8), inverted


def write_grid(rows: NDArray[np.uint8], image_shape: Sequence[int], columns: int, path: Path) -> None:
    """Write images beside each other into a PNG file, `columns` in a line; a last line that is not full is left out."""
    from PIL import Image

    height, width, channels = (*image_shape, 1)[:3]
    lines = len(rows) // columns
    images = rows[: lines * columns].reshape(lines, columns, height, width, channels)
    plane = images.transpose(0, 2, 1, 3, 4).reshape(lines * height, columns * width, channels)
    Image.fromarray(plane[..., 0] if channels == 1 else plane).save(path, "PNG")
