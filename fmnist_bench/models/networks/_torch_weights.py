"""Reads weights that PyTorch saved in its old format, without PyTorch and without running what a file may carry."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {"FloatStorage": np.float32, "DoubleStorage": np.float64, "HalfStorage": np.float16, "LongStorage": np.int64}


class _Storage:
    """The numbers of one or more tensors, filled in after the pickle is read."""

    def __init__(self, dtype: type[np.generic], size: int) -> None:
        self.dtype, self.size = dtype, size
        self.values: NDArray[Any] = np.empty(0, dtype)


class _Tensor:
    """A view of a storage: where it begins, its shape and its strides in elements."""

    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> NDArray[Any]:
        """The tensor as an array of its own."""
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if min((self.offset, *self.strides, *self.shape), default=0) < 0 or last >= max(self.storage.size, 1):
            raise ValueError("a tensor lies outside its storage")
        values = self.storage.values[self.offset :]
        strides = [step * values.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(values, self.shape, strides).copy()


def _rebuild(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


class _Reader(pickle.Unpickler):
    """An unpickler that knows tensors and ordered dictionaries, and refuses everything else."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Give the few names that a file of weights needs."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in DTYPES:
            return lambda: DTYPES[name]  # never called: it stands for the type in a storage's description
        raise pickle.UnpicklingError(f"holds {module}.{name}, which weights do not need")

    def persistent_load(self, description: Any) -> _Storage:
        """Give the storage that a tensor refers to; `description` is (kind, type, key, place, size, view)."""
        kind, storage_type, key, _, size, view = description
        if kind != "storage" or view is not None or not callable(storage_type):
            raise pickle.UnpicklingError("describes a storage in an unknown way")
        return self.storages.setdefault(key, _Storage(storage_type(), size))


def read_torch_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Read a state dictionary that ``torch.save`` wrote before version 1.6.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to ndarray
        Tensors by name, in PyTorch's layout.

    Raises
    ------
    ValueError
        Where the file is not of that format, is cut off, or holds anything but tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except (pickle.UnpicklingError, EOFError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise ValueError(f"{path}: not a file of PyTorch weights: {error}") from error


def _read(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    if _Reader(file).load() != MAGIC:
        raise pickle.UnpicklingError("does not begin like one")
    _Reader(file).load()  # version of the protocol
    _Reader(file).load()  # sizes of C types
    reader = _Reader(file)
    tensors = reader.load()
    for key in _Reader(file).load():
        storage = reader.storages[key]
        size = int.from_bytes(file.read(8), "little")
        content = file.read(size * np.dtype(storage.dtype).itemsize)
        storage.values = np.frombuffer(content, storage.dtype)
        if size != storage.size or len(storage.values) != size:
            raise EOFError("it is cut off")
    return {name: tensor.array() for name, tensor in tensors.items() if isinstance(tensor, _Tensor)}
