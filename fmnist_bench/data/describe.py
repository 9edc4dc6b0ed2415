"""What the verb `data` shows of a data set: its rows, examples of them, and what would flatter a report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.files import replacing
from fmnist_bench.data.dataset import Dataset, load_dataset, resolve
from fmnist_bench.data.fashion_mnist import find_fashion_mnist
from fmnist_bench.data.image_files import write_grid
from fmnist_bench.data.places import own_cache
from fmnist_bench.data.registry import NAMES, entries, files_of

COLUMNS, LINES = 12, 30  # images of a class in a picture, and classes
NEAR = 5.0  # gray levels of 255, root mean square, by which near copies differ at most
CHUNK = 500  # rows that are compared with all others at once


def describe(
    name: str | os.PathLike[str] = "fashion-mnist",
    path: str | os.PathLike[str] | None = None,
    *,
    near: bool = False,
    **reading: Any,
) -> str:
    """Fetch a data set if need be, verify it, and say what it holds and where it is.

    Parameters
    ----------
    name, path, **reading
        As `load_dataset` takes them.
    near : bool
        Count test images that are nearly train images, too; this compares each with each.
    """
    lines = [os.fspath(name)]
    if path is None:
        name, path = resolve(name)
    lines += _origin(os.fspath(name))
    if name == "fashion-mnist":
        lines.append(f"  folder       {find_fashion_mnist(path)} (SHA-256 of all four files verified)")
    train, test = (load_dataset(name, subset, path, **reading) for subset in ("train", "test"))
    for subset, data in (("train", train), ("test", test)):
        sizes = np.bincount(data.y, minlength=len(data.classes)).tolist()
        counts = ", ".join(f"{c} {n}" for c, n in zip(data.class_names, sizes, strict=True))
        lines.append(f"  {subset:<12} {len(data.y)} images of {' x '.join(map(str, data.image_shape))}: {counts}")
        lines.append(f"  fingerprint  {data.fingerprint}")
    if train.official_split:
        n_valid = len(train.official_split.validation)
        lines.append(f"  validation   {n_valid} of the train images, as those who made the data divided them")
    lines += [f"  note         {note}" for note in dict.fromkeys((*train.notes, *test.notes))]
    lines += [*_faults(train, test), *(_near(train, test) if near else ()), f"  examples     {_picture(train)}"]
    return "\n".join(lines)


def _origin(name: str) -> Iterator[str]:
    """Say where a data set with a name comes from."""
    if name in NAMES:
        entry = entries()[name]
        yield f"  what         {entry.title}"
        yield f"  source       {entry.source}, licence: {entry.licence}"
        if entry.reader == "files":
            yield f"  files        {files_of(entry)} ({entry.proof})"


def _faults(train: Dataset, test: Dataset) -> Iterator[str]:
    """Say what a run cannot measure, and what would flatter its report."""
    for name, size in zip(train.class_names, np.bincount(train.y).tolist(), strict=True):
        if size < 2:
            yield f"  one image    of class {name} to train on: it is learnt, and never validated"
    labels: dict[bytes, set[int]] = {}
    for row, label in zip(train.X, train.y.tolist(), strict=True):
        labels.setdefault(row.tobytes(), set()).add(label)
    if repeated := len(train.y) - len(labels):
        unsure = sum(len(found) > 1 for found in labels.values())
        yield f"  repeated     {repeated} train images are copies of others; {unsure} images have several labels"
    if shared := sum(row.tobytes() in labels for row in test.X):
        yield f"  overlap      {shared} of the {len(test.y)} test images are train images, too"


def _near(train: Dataset, test: Dataset) -> Iterator[str]:
    n_near = int(near_copies(train.X, test.X).sum())
    yield (
        f"  near         {n_near} of the {len(test.y)} test images differ from a train image by at most {NEAR:g} of "
        "255 gray levels (root mean square), equal ones included"
    )


def near_copies(X: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Say which rows of `other` differ from any row of `X` by at most `NEAR` gray levels, root mean square.

    Parameters
    ----------
    X, other : ndarray of uint8, shape (n, n_pixels) and (n_other, n_pixels)

    Returns
    -------
    ndarray of bool, shape (n_other,)
    """
    rows, limit = X.astype(np.float32), NEAR**2 * X.shape[1]
    squares = np.einsum("ij,ij->i", rows, rows)
    near = []
    for start in range(0, len(other), CHUNK):
        chunk = other[start : start + CHUNK].astype(np.float32)
        distances = np.einsum("ij,ij->i", chunk, chunk)[:, np.newaxis] + squares - 2 * (chunk @ rows.T)
        near.append(distances.min(axis=1) <= limit)
    return np.concatenate(near)


def _picture(train: Dataset) -> str:
    """Draw the first images of each class into a file, a class a line; say where it is."""
    path = own_cache() / "examples" / f"{train.name}-{train.fingerprint[:8]}.png"
    shown = range(min(LINES, len(train.classes)))
    rows = np.zeros((len(shown) * COLUMNS, train.X.shape[1]), dtype=np.uint8)
    for code in shown:
        found = train.X[np.flatnonzero(train.y == code)[:COLUMNS]]
        rows[code * COLUMNS : code * COLUMNS + len(found)] = found
    try:
        _write(rows, train.image_shape, path)
    except OSError as error:
        return f"none: {path}: {error.strerror}"
    more = f", the first {LINES} classes" if len(train.classes) > LINES else ""
    return f"{path} (a class a line{more})"


def _write(rows: npt.NDArray[np.uint8], image_shape: tuple[int, ...], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        write_grid(rows, image_shape, COLUMNS, temporary)
