"""Folders of four files: IDX, the format of MNIST and its relatives, or Kuzushiji's .npz, read with suspicion.

The four files have the names that MNIST gave them and Fashion-MNIST kept, or nearly: see `find_file`.
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

from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench.data.pixels import upright
from fmnist_bench.data.readers.npz import read_single
from fmnist_bench.data.readers.parts import Part, Reading

Array = npt.NDArray[Any]

IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
ENDS = {  # of the names of relatives: MNIST's and EMNIST's, QMNIST's, Kuzushiji's
    "images": r"images[-_.]idx3[-_.]ubyte|(images|imgs)\.npz",
    "labels": r"labels[-_.](idx1[-_.]ubyte|idx2[-_.]int)|labels\.npz",
}
TYPES = {8: ("u1", (1, 3, 4)), 12: (">i4", (1, 2))}  # kind of element: its type, and numbers of dimensions
CHUNK = 1 << 20
GZIP = b"\x1f\x8b"  # how its files begin
FEW = 6  # names in a message


def parse_idx(data: bytes, name: str) -> Array:
    """Parse the content of an IDX file of unsigned bytes, or of the 32-bit integers of QMNIST's labels.

    The format is that of Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998.

    Parameters
    ----------
    data : bytes
        The whole file, decompressed.
    name : str
        What an error message calls it.

    Returns
    -------
    ndarray of uint8 or big-endian int32
        Read-only; 1 or 2 dimensions (labels), 3 or 4 (images).

    Raises
    ------
    InputError
        Bad magic number, other element type, wrong number of dimensions or bytes, no elements.
    """
    shape, kind, offset = _header(data, name)
    expected = offset + kind.itemsize * math.prod(shape)
    if len(data) != expected:
        found = "fewer" if len(data) < expected else "more"
        raise InputError(f"{name}: IDX shape {shape} needs {expected} bytes, the file has {found} ({len(data)} read)")
    return np.frombuffer(data, kind, offset=offset).reshape(shape)


def _header(data: bytes, name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Give shape and type of the elements, and where they begin."""
    if len(data) < 4:
        raise InputError(f"{name}: {len(data)} bytes are too few for an IDX header")
    zeros, kind, n_dims = struct.unpack_from(">HBB", data)
    if zeros or kind not in TYPES:
        raise InputError(
            f"{name}: magic number {data[:4].hex()} is not that of an IDX file of unsigned bytes (000008..) or of "
            "32-bit integers (00000c..)"
        )
    element, allowed = TYPES[kind]
    if n_dims not in allowed:
        raise InputError(f"{name}: {n_dims} dimensions; allowed: {', '.join(map(str, allowed))} (labels have 1 or 2)")
    offset = 4 + 4 * n_dims
    if len(data) < offset:
        raise InputError(f"{name}: IDX header cut off after {len(data)} of {offset} bytes")
    shape = struct.unpack_from(f">{n_dims}I", data, 4)
    if 0 in shape:
        raise InputError(f"{name}: IDX shape {shape} holds no elements")
    return shape, np.dtype(element), offset


def locate(folder: Path, stem: str) -> Path:
    """Return what `find_file` finds, or raise an `InputError`."""
    if not os.path.isdir(folder):
        hint = ": it is a file of no known ending, and no folder" if os.path.exists(folder) else ""
        raise InputError(f"no such folder: {folder}{hint}")
    if (file := find_file(folder, stem)) is None:
        raise InputError(
            f"{folder} lacks {stem} (or {stem}.gz); it must hold {', '.join(sum(IDX_FILES.values(), ()))}, .gz or plain"
            ", or tables such as mnist_train.csv and mnist_test.csv, or a folder of PNG or JPEG files for each class; "
            f"it holds {few(names_in(folder)) or 'nothing'}"
        )
    return file


def find_file(folder: Path, stem: str) -> Path | None:
    """Return the file that is called `stem`, as MNIST calls it, or as its copies and relatives do.

    First ``stem``, then ``stem.gz``; then names with dots for dashes (Kaggle's MNIST), with ``test`` for ``t10k`` and
    words before (EMNIST), with the ends in `ENDS`; each of these also in a folder of its name, or in ``raw``
    (torchvision). None where there is none.

    Raises
    ------
    InputError
        Several files that are called otherwise, as in the folder with all splits of EMNIST.
    """
    # os.path, not Path.is_file: the latter raises where a parent folder may not be entered.
    exact = (folder / stem, folder / f"{stem}.gz")
    if found := next((file for file in exact if os.path.isfile(file)), None):
        return found
    alike = _alike(folder, stem)
    inside = [file for place in (*alike, folder / "raw") if os.path.isdir(place) for file in _alike(place, stem)]
    files = {file.name.removesuffix(".gz"): file for file in [*alike, *inside] if os.path.isfile(file)}
    if len(files) > 1:
        raise InputError(f"{folder}: {few(sorted(files))} may all be {stem}; put those that are meant into a folder")
    return next(iter(files.values()), None)


def _alike(folder: Path, stem: str) -> list[Path]:
    """What lies in a folder under a name that may stand for `stem`."""
    part, what, *_ = stem.split("-")
    part = part.replace("t10k", "(t10k|test)")
    pattern = re.compile(rf"(.+[-_.])?{part}[-_.]({ENDS[what]})(\.gz)?", re.IGNORECASE)
    return [folder / name for name in names_in(folder) if pattern.fullmatch(name)]


def names_in(folder: Path) -> list[str]:
    """List what lies in a folder, sorted; nothing where it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def few(names: list[str]) -> str:
    """Join the first names for a message, and count the others."""
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


def read_folder(folder: Path, part: str, how: Reading) -> Part | None:
    """Read images and labels of the train or test rows from the files of a folder; no relative has validation rows."""
    files = _files(folder)
    if part not in files:
        return None
    images, labels = _read_file(files[part][0]), _read_labels(files[part][1])
    return Part(upright(images, files[part][0].name), labels, all_rows=part == "train" and "test" not in files)


def read_test_labels(folder: Path) -> Array | None:
    """Read the labels of the test rows alone; None where there are no test rows."""
    files = _files(folder)
    return _read_labels(files["test"][1]) if "test" in files else None


def _files(folder: Path) -> dict[str, list[Path]]:
    """Find images and labels of each part: all, each time; that one is missing shall not be found out in the end."""
    files = {"train": [locate(folder, stem) for stem in IDX_FILES["train"]]}
    if any(find_file(folder, stem) for stem in IDX_FILES["test"]):
        files["test"] = [locate(folder, stem) for stem in IDX_FILES["test"]]
    return files


def _read_labels(file: Path) -> Array:
    labels = _read_file(file)
    return labels[:, 0] if labels.ndim == 2 else labels  # the class is first


def _read_file(file: Path) -> Array:
    if file.suffix.lower() == ".npz":
        return read_single(file)
    shape, kind, offset = _header(b"".join(read_chunks(file, 20)), str(file))
    content = b"".join(read_chunks(file, offset + kind.itemsize * math.prod(shape) + 1))
    return parse_idx(content, str(file))
