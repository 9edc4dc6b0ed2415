"""Trained generators as files that several processes share."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras

from ._backend import from_bytes, to_bytes


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep others out, where the system can."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def load_network(path: Path, digest: str) -> keras.Model | None:
    """Load a generator; None where there is none, or one that is damaged or of other data, which is said."""
    if not path.exists():
        return None
    try:
        network = from_bytes(path.read_bytes())
    except Exception as error:
        warnings.warn(f"{path.name} cannot be read and is made again: {error}", stacklevel=3)
        return None
    if network.name != f"gan_{digest}":
        warnings.warn(f"{path.name} belongs to other data and is made again", stacklevel=3)
        return None
    return network


def keep_network(path: Path, network: keras.Model) -> None:
    """Write a generator, whole or not at all; a full disk costs the file, not the training."""
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_bytes(to_bytes(network))
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        warnings.warn(f"{path.name} was not kept: {error}", stacklevel=3)
