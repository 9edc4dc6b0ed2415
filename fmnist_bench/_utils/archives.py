"""Zip archives of others, looked at before anything in them is inflated: a bomb must not fill the memory."""

import zipfile
from typing import IO

MOST_TIMES = 250  # binary images in 64-bit floats, which shrink most, shrink a hundredfold
FREE = 2**28  # bytes that any archive may hold


def declared_size(archive: zipfile.ZipFile) -> int:
    """Bytes that the parts of an archive are said to have; Python's zipfile reads no more than these."""
    return sum(part.file_size for part in archive.infolist())


def largest_growth(size: int) -> int:
    """Bytes to which a file of this size may be inflated."""
    return max(FREE, MOST_TIMES * size)


def check_growth(inflated: int, size: int) -> None:
    """Refuse what is inflated from `size` to far more bytes.

    Raises
    ------
    ValueError
    """
    if inflated > largest_growth(size):
        raise ValueError(f"{size} bytes would be inflated to {inflated}; at most {MOST_TIMES} times are read")


def check_inflation(file: IO[bytes]) -> None:
    """Refuse an archive that would be inflated to far more than its own size, such as an ``.npz`` of zeros alone.

    Parameters
    ----------
    file : binary file
        Open for reading; its position is at the beginning afterwards. What is no archive is left to who reads it.

    Raises
    ------
    ValueError
    """
    size = file.seek(0, 2)
    file.seek(0)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            check_growth(declared_size(archive), size)
    file.seek(0)


def check_stored(file: IO[bytes]) -> None:
    """Refuse an archive that would be inflated at all: skops and Keras compress nothing.

    Raises
    ------
    ValueError
    """
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        if (inflated := declared_size(archive)) > size:
            raise ValueError(f"its parts are said to have {inflated} bytes, the whole file has {size}")
    file.seek(0)
