"""What images and labels of others must be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.pixels import as_images, decide_white
from fmnist_bench.data.readers.parts import Part

Array = npt.NDArray[Any]


def checked(path: Path, part: str, found: Part) -> Part:
    """Bring images to the shape (n, height, width[, channels]) and labels to numbers or words of shape (n,)."""
    labels = as_labels(found.labels, f"{path}: labels of {part}")
    images = as_images(found.images)
    _check_images(images, f"{path}: images of {part}")
    if len(images) != len(labels):
        raise InputError(f"{path}: {part} has {len(images)} images and {len(labels)} labels; the counts must agree")
    return replace(found, images=images, labels=labels)


def _check_images(images: Array, where: str) -> None:
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        allowed = "(n, h, w), (n, h, w, 1), (n, h, w, 3), or (n, pixels of a square)"
        raise InputError(f"{where}: shape {images.shape}; allowed: {allowed}")
    if not images.size:
        raise InputError(f"{where}: shape {images.shape} holds no pixels")


def as_labels(y: Array, where: str) -> Array:
    """Give whole numbers or words, of shape (n,); the label of a one-hot row is the number of its column."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and _are_one_hot(y):
        y = y.argmax(axis=1)
    if y.ndim != 1 or not len(y):
        raise InputError(f"{where}: shape {y.shape}; allowed: (n,) or (n, 1) with n > 0, or one-hot (n, n_classes)")
    if y.dtype.kind == "f" and np.all(np.abs(y) < 2**53) and np.all(y == np.rint(y)):  # NaN fails
        return y.astype(np.int64)
    if y.dtype.kind in "bi" or (y.dtype.kind == "u" and y.max() <= np.iinfo(np.int64).max):
        return y.astype(np.int64)
    if y.dtype.kind in "UO" and all(isinstance(label, str) and label for label in y.tolist()):
        return y.astype(str)
    raise InputError(
        f"{where}: element type {y.dtype} with values that are neither whole numbers nor words; allowed: either of them"
    )


def _are_one_hot(y: Array) -> bool:
    return y.dtype.kind in "biuf" and bool(((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all())


def classes_of(path: Path, labels: Array) -> Array:
    """Give the labels that occur in train, sorted."""
    classes = np.unique(labels)
    if len(classes) < 2:
        raise InputError(f"{path}: labels of train have only one class, {classes[0]}; at least 2 are needed")
    return classes


def check_known(path: Path, part: str, labels: Array, classes: Array) -> None:
    """Refuse labels that do not occur in train."""
    if strange := sorted(set(np.unique(labels).tolist()) - set(classes.tolist())):
        raise InputError(f"{path}: label {strange[0]} of {part} does not occur in train")


def scale(path: Path, part: str, images: Array, white: float | None = None) -> float:
    """Find the value of white in images; those that are not the train rows must have that of the train rows."""
    try:
        found = decide_white(images, f"{path}: images of {part}", white)
    except ValueError as error:
        raise InputError(str(error)) from error
    if white not in (None, found):
        raise InputError(
            f"{path}: pixels of train and {part} have different ranges; allowed: 0 to 1 or 0 to 255 in both"
        )
    return found
