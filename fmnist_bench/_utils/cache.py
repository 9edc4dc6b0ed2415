"""Cache of arrays that take long to compute, in files named by all that they depend on."""

import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.digests import digest_of_file
from fmnist_bench._utils.files import replacing

WORTH_KEEPING = 3.0  # seconds; what is computed faster than this is rather repeated: a network's graph alone takes one

_saved: list[float] = []


def source_digest(kind: type) -> str:
    """SHA-256 of the file that a class is written in; empty where there is none."""
    try:
        return digest_of_file(Path(inspect.getfile(kind)))
    except (OSError, TypeError):
        return ""


def cached_array(path: Path, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Map the array of a file, or compute it and keep it there.

    Parameters
    ----------
    path : Path
        Of an ``.npy`` file, whose name must follow from everything that the array follows from. One that is damaged
        is written again; a full disk costs the file, not the array.
    compute : callable
        Gives the array.
    """
    try:
        # Copied where it is written to: one that was just computed can be written to as well.
        found: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
        _saved.append(float(_seconds_file(path).read_text()))
        return found
    except (OSError, ValueError, EOFError):  # not there, or cut off
        started = time.perf_counter()
        array = compute()
        if (seconds := time.perf_counter() - started) > WORTH_KEEPING:
            _keep(path, array, seconds)
        return array


def seconds_saved() -> float:
    """Seconds that the files have saved this process so far: what the arrays took to compute when they were kept."""
    return sum(_saved)


def _seconds_file(path: Path) -> Path:
    return path.with_suffix(".seconds")


def _keep(path: Path, array: NDArray[Any], seconds: float) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            np.save(temporary, array, allow_pickle=False)
            _seconds_file(path).write_text(f"{seconds:.3f}")
    except OSError:
        return
