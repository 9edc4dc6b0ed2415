"""What the archive of a saved network may consist of, looked at before Keras opens it."""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

import h5py

from fmnist_bench._utils.archives import check_stored

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
PARTS = [CONFIG, "metadata.json", WEIGHTS]
MOST_NODES = 100_000  # groups and arrays of a file of weights; a link may lead back to a group above


def read_parts(content: bytes) -> tuple[bytes, int]:
    """Check the archive of a network.

    Parameters
    ----------
    content : bytes
        Of a `.keras` file.

    Returns
    -------
    config : bytes
        JSON.
    n_numbers : int
        Numbers that its weights are stored with.

    Raises
    ------
    ValueError
        Where it is no archive, or holds other parts than Keras writes, such as files outside of it; where a part would
        be inflated; or where the weights are stored elsewhere, or are fewer than they are said to be.
    """
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ValueError("the network is no archive in Keras' format")
    check_stored(io.BytesIO(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if (found := sorted(archive.namelist())) != PARTS:
            raise ValueError(f"the network's archive must hold {', '.join(PARTS)}, found {', '.join(map(repr, found))}")
        return archive.read(CONFIG), _count_numbers(archive.read(WEIGHTS))


def _count_numbers(content: bytes) -> int:
    """Count the numbers in an HDF5 file, all of which must be in the file itself."""
    n_numbers, n_nodes = 0, 0
    with h5py.File(io.BytesIO(content), "r") as file:
        left: list[Any] = [file]
        while left:
            group = left.pop()
            for name in group:
                n_nodes += 1
                if n_nodes > MOST_NODES or not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"the network's weights: {group.name}/{name} is a link")
                found = group[name]
                if isinstance(found, h5py.Group):
                    left.append(found)
                else:
                    n_numbers += _size(found)
    return n_numbers


def _size(array: Any) -> int:
    if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external or array.dtype.kind not in "biufV":
        raise ValueError(f"the network's weights: {array.name} is no array of numbers of this file")
    size = math.prod(array.shape or ())
    if size * array.dtype.itemsize > array.id.get_storage_size():
        raise ValueError(f"the network's weights: {array.name} has the shape {array.shape}, and not as many numbers")
    return size
