"""SHA-256 of files and arrays, by which their content is known."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def digest_of_file(path: Path, algorithm: str = "sha256") -> str:
    """SHA-256, or another digest, of what a file holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def digest_of(what: str, *arrays: NDArray[Any]) -> str:
    """SHA-256 of words and of the elements of arrays; shapes and types count where the words tell them."""
    digest = hashlib.sha256(what.encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
