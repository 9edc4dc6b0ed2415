"""What a reader of somebody's data gives, and how it is asked to read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.errors import InputError

LARGEST_SIDE = 1024  # pixels to which images are resized


@dataclass(frozen=True)
class Reading:
    """How the images of a data set are read.

    Attributes
    ----------
    resize : int or None
        Height and width in pixels, 1 to 1024, to which images are brought; None leaves them as they are.
    skip_unreadable : bool
        Leave files out that cannot be read, and count them; else one of them refuses all.
    channels : int or None
        1 or 3, as the train rows have them; None finds out.
    words : bool or None
        Whether labels are words, as those of the train rows are; None finds out.
    """

    resize: int | None = None
    skip_unreadable: bool = False
    channels: int | None = None
    words: bool | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.resize, int) and not isinstance(self.resize, bool)
        if self.resize is not None and not (whole and 1 <= self.resize <= LARGEST_SIDE):
            raise InputError(f"resize {self.resize!r}: must be a whole number of pixels, 1 to {LARGEST_SIDE}")


@dataclass(frozen=True, eq=False)
class Part:
    """Images and labels of the train, validation or test rows, as they stand in their files.

    Attributes
    ----------
    images : ndarray of shape (n, height, width[, channels]) or (n, n_pixels)
    labels : ndarray of shape (n,), (n, 1) or (n, n_classes)
    class_names : mapping of label to str
        Where the files name the classes that their labels stand for.
    notes : tuple of str
        What the user should know of how they were read, such as files left out; a sentence each.
    all_rows : bool
        Whether there are no test rows beside these train rows: some of them will be held out.
    """

    images: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    class_names: Mapping[Any, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    all_rows: bool = False

    def rows(self, chosen: npt.NDArray[np.int64], *notes: str) -> Part:
        """Take some of the rows."""
        return Part(self.images[chosen], self.labels[chosen], self.class_names, (*self.notes, *notes))


def signature(path: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Say of which files a data set is made: name, number, size, and when it was changed, in nanoseconds.

    These are all files in a folder, or those beside a file with its ending; none where they cannot be looked at.
    """
    if str(path).startswith("openml:"):  # the files of a number never change, and are checked
        return ((str(path), 0, 0, 0),)
    try:
        if path.is_dir():
            files = [os.path.join(place, name) for place, _, names in os.walk(path) for name in names]
        else:
            files = [str(path.parent / name) for name in os.listdir(path.parent) if name.endswith(path.suffix)]
        found = [(file, os.stat(file)) for file in sorted(files)]
    except OSError:
        return ()
    return tuple((file, each.st_ino, each.st_size, max(each.st_mtime_ns, each.st_ctime_ns)) for file, each in found)
