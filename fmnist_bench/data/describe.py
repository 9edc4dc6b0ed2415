"""What the verb `data` shows of a data set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from fmnist_bench.data.dataset import Dataset, load_dataset, resolve
from fmnist_bench.data.fashion_mnist import find_fashion_mnist
from fmnist_bench.data.registry import NAMES, entries, files_of

__all__ = ["describe"]


def describe(
    name: str | os.PathLike[str] = "fashion-mnist", path: str | os.PathLike[str] | None = None, **reading: Any
) -> str:
    """Fetch a data set if need be, verify it, and say what it holds and where it is.

    Parameters
    ----------
    name, path, **reading
        As `load_dataset` takes them.
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
    return "\n".join([*lines, *_faults(train, test)])


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
    known = {row.tobytes() for row in train.X}
    if shared := sum(row.tobytes() in known for row in test.X):
        yield f"  overlap      {shared} of the {len(test.y)} test images are train images, too"
