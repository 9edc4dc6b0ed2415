"""Image files of others: IDX and .npz, read with suspicion.

The four files of an IDX folder have the names that MNIST gave them and Fashion-MNIST kept, or nearly: see `find_file`.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.archives import check_inflation
from fmnist_bench._utils.errors import InputError, nearest, one_line
from fmnist_bench.data.pixels import as_uint8, decide_white

__all__ = ["IDX_FILES", "find_file", "locate", "parse_idx", "read_chunks", "read_user_data"]

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

SUBSETS = ("train", "test")
NPZ = ("x_train", "y_train", "x_test", "y_test")
IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
CHUNK = 1 << 20
GZIP = b"\x1f\x8b"  # how its files begin
FEW = 6  # names in a message


def parse_idx(data: bytes, name: str) -> UInt8:
    """Parse the content of an IDX file of unsigned bytes.

    The format is that of Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998.

    Parameters
    ----------
    data : bytes
        The whole file, decompressed.
    name : str
        What an error message calls it.

    Returns
    -------
    ndarray of uint8
        Read-only; 1 dimension (labels), 3 or 4 (images).

    Raises
    ------
    InputError
        Bad magic number, other element type, wrong number of dimensions or bytes, no elements.
    """
    shape, offset = _idx_shape(data, name)
    expected = offset + math.prod(shape)
    if len(data) != expected:
        found = "fewer" if len(data) < expected else "more"
        raise InputError(f"{name}: IDX shape {shape} needs {expected} bytes, the file has {found} ({len(data)} read)")
    return np.frombuffer(data, np.uint8, offset=offset).reshape(shape)


def _idx_shape(data: bytes, name: str) -> tuple[tuple[int, ...], int]:
    if len(data) < 4:
        raise InputError(f"{name}: {len(data)} bytes are too few for an IDX header")
    zeros, kind, n_dims = struct.unpack_from(">HBB", data)
    if zeros or kind != 8:
        raise InputError(
            f"{name}: magic number {data[:4].hex()} is not that of an IDX file of unsigned bytes (000008..)"
        )
    if n_dims not in (1, 3, 4):
        raise InputError(f"{name}: {n_dims} dimensions; allowed: 1 (labels), 3 or 4 (images)")
    offset = 4 + 4 * n_dims
    if len(data) < offset:
        raise InputError(f"{name}: IDX header cut off after {len(data)} of {offset} bytes")
    shape = struct.unpack_from(f">{n_dims}I", data, 4)
    if 0 in shape:
        raise InputError(f"{name}: IDX shape {shape} holds no elements")
    return shape, offset


def locate(folder: Path, stem: str) -> Path:
    """Return what `find_file` finds, or raise an `InputError`."""
    if not os.path.isdir(folder):
        hint = ": it is a file, neither a folder of IDX files nor an .npz" if os.path.exists(folder) else ""
        raise InputError(f"no such folder: {folder}{hint}")
    if (file := find_file(folder, stem)) is None:
        raise InputError(
            f"{folder} lacks {stem} (or {stem}.gz); it must hold {', '.join(sum(IDX_FILES.values(), ()))}, .gz or plain"
            f"; it holds {_few(_names(folder)) or 'nothing'}"
        )
    return file


def find_file(folder: Path, stem: str) -> Path | None:
    """Return the file that is called `stem`, as MNIST calls it, or as its copies and relatives do.

    First ``stem.gz``, then ``stem``; then names with dots for dashes (Kaggle's MNIST), with ``test`` for ``t10k`` and
    words before (EMNIST), and each of these in a folder of its name. None where there is none.

    Raises
    ------
    InputError
        Several files that are called otherwise, as in the folder with all splits of EMNIST.
    """
    # os.path, not Path.is_file: the latter raises where a parent folder may not be entered.
    exact = (folder / f"{stem}.gz", folder / stem)
    if found := next((file for file in exact if os.path.isfile(file)), None):
        return found
    alike = _alike(folder, stem)
    inside = [file for place in alike if os.path.isdir(place) for file in _alike(place, stem)]
    files = {file.name.removesuffix(".gz"): file for file in [*alike, *inside] if os.path.isfile(file)}
    if len(files) > 1:
        raise InputError(f"{folder}: {_few(sorted(files))} may all be {stem}; put those that are meant into a folder")
    return next(iter(files.values()), None)


def _alike(folder: Path, stem: str) -> list[Path]:
    """What lies in a folder under a name that may stand for `stem`."""
    part, what, *rest = stem.split("-")
    part = part.replace("t10k", "(t10k|test)")
    pattern = re.compile(rf"(.+[-_.])?{part}[-_.]{what}[-_.]{'[-_.]'.join(rest)}(\.gz)?", re.IGNORECASE)
    return [folder / name for name in _names(folder) if pattern.fullmatch(name)]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _few(names: list[str]) -> str:
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")


def read_chunks(file: Path, limit: int) -> Iterator[bytes]:
    """Yield the decompressed content, at most `limit` bytes: a gzip bomb must not fill the memory.

    What is compressed begins as gzip does, whatever it is called: browsers unpack without a change of name.
    """
    try:
        with open(file, "rb") as raw:
            compressed = raw.read(len(GZIP)) == GZIP
            raw.seek(0)
            stream = gzip.GzipFile(fileobj=raw) if compressed else raw
            while limit > 0 and (chunk := stream.read(min(CHUNK, limit))):
                limit -= len(chunk)
                yield chunk
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{file}: cannot be read: {one_line(reason)}") from error


def read_user_data(path: Path, subset: str) -> tuple[UInt8, Int64, Int64]:
    """Read one subset of a folder of IDX files or of an ``.npz``.

    Parameters
    ----------
    path : Path
        Folder, or file that ends in ``.npz``.
    subset : {"train", "test"}
        Which rows.

    Returns
    -------
    images : ndarray of uint8, shape (n, h, w) or (n, h, w, c)
        Pixels, see `fmnist_bench.data.dataset.load_dataset` for the rule.
    y : ndarray of int64, shape (n,)
        Codes of the labels, 0 to n_classes - 1.
    classes : ndarray of int64, shape (n_classes,)
        The labels of the train rows, sorted.

    Raises
    ------
    InputError
        A file, its pixels or its labels cannot be used.
    """
    read = _read_npz if path.suffix.lower() == ".npz" else _read_folder
    # Train rows come along with the test rows: they say what the classes and the range of the pixels are.
    pairs = [read(path, part) for part in SUBSETS[: SUBSETS.index(subset) + 1]]
    labels = []
    for (images, y), part in zip(pairs, SUBSETS, strict=False):
        labels.append(_integral(y, f"{path}: labels of {part}"))
        _check_images(images, f"{path}: images of {part}")
        if len(images) != len(labels[-1]):
            raise InputError(
                f"{path}: {part} has {len(images)} images and {len(labels[-1])} labels; the counts must agree"
            )
    classes = np.unique(labels[0])
    if len(classes) < 2:
        raise InputError(f"{path}: labels of train have only one class, {classes[0]}; at least 2 are needed")
    if strange := sorted(set(np.unique(labels[-1]).tolist()) - set(classes.tolist())):
        raise InputError(f"{path}: label {strange[0]} of test does not occur in train")
    y = np.searchsorted(classes, labels[-1]).astype(np.int64)
    return _to_uint8(path, pairs), y, classes


def _read_folder(folder: Path, subset: str) -> tuple[Array, Array]:
    arrays = []
    for stem in IDX_FILES[subset]:
        file = locate(folder, stem)
        shape, offset = _idx_shape(b"".join(read_chunks(file, 20)), str(file))
        content = b"".join(read_chunks(file, offset + math.prod(shape) + 1))
        arrays.append(parse_idx(content, str(file)))
    return arrays[0], arrays[1]


def _read_npz(file: Path, subset: str) -> tuple[Array, Array]:
    wanted = (f"x_{subset}", f"y_{subset}")
    try:
        # Opened here: np.load leaves the file open when it is not a zip.
        with open(file, "rb") as stream:
            check_inflation(stream)
            with np.load(stream, allow_pickle=False) as content:
                if missing := [key for key in wanted if key not in content]:
                    hint = nearest(missing[0], [key for key in content if key not in NPZ])
                    raise InputError(f"{file}: array {missing[0]} is missing{hint}; needed: {', '.join(NPZ)}")
                images, labels = (_plain(content, key, file) for key in wanted)
                return images, labels
    except InputError:
        raise
    except Exception as error:  # zip, zlib, header and dtype each fail in ways of their own
        reason = one_line(error) or type(error).__name__
        raise InputError(f"{file}: not a readable .npz of plain arrays: {reason}") from error


def _plain(content: Any, key: str, file: Path) -> Array:
    try:
        return np.asarray(content[key])
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise InputError(
            f"{file}: array {key} holds Python objects, which are not read: words, or images of different sizes; "
            "allowed: an array of numbers"
        ) from error


def _check_images(images: Array, where: str) -> None:
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise InputError(f"{where}: shape {images.shape}; allowed: (n, h, w), (n, h, w, 1), (n, h, w, 3)")
    if not images.size:
        raise InputError(f"{where}: shape {images.shape} holds no pixels")


def _integral(y: Array, where: str) -> Int64:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or not len(y):
        raise InputError(f"{where}: shape {y.shape}; allowed: (n,) with n > 0")
    if y.dtype.kind == "f" and np.all(np.abs(y) < 2**53) and np.all(y == np.rint(y)):  # NaN fails
        return y.astype(np.int64)
    if y.dtype.kind not in "bui" or (y.dtype.kind == "u" and y.max() > np.iinfo(np.int64).max):
        raise InputError(
            f"{where}: element type {y.dtype} with values that are no integers"
            "; allowed: integers, such as numpy.unique(labels, return_inverse=True)[1]"
        )
    return y.astype(np.int64)


def _to_uint8(path: Path, pairs: list[tuple[Array, Array]]) -> UInt8:
    """Convert the last images, by one rule for both subsets."""
    train, images = pairs[0][0], pairs[-1][0]
    if train.shape[1:] != images.shape[1:]:
        raise InputError(f"{path}: images of shape {images.shape[1:]} in test, {train.shape[1:]} in train")
    try:
        white = decide_white(train, f"{path}: images of train")
        if images is not train and decide_white(images, f"{path}: images of test", white) != white:
            raise ValueError(
                f"{path}: pixels of train and test have different ranges; allowed: 0 to 1 or 0 to 255 in both"
            )
    except ValueError as error:
        raise InputError(str(error)) from error
    return as_uint8(images, white)
