"""Checks that a file still holds what was written: it may have been changed or cut off."""

import dataclasses
import logging
import math
import os
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
DAMAGED = ".damaged"  # ending of the name under which a file that cannot be read is kept

_log = logging.getLogger(__name__)


def parsed(kind: type[T], content: Any) -> T:
    """Make a dataclass of what a JSON file holds, dataclasses within it included.

    Raises
    ------
    ValueError
        Where a value has another type than the class says, is missing, or is one too many.
    """
    hints = get_type_hints(kind)
    if not isinstance(content, dict) or not content.keys() <= hints.keys():
        raise ValueError(f"no {kind.__name__}")
    made = {n: parsed(hints[n], v) if dataclasses.is_dataclass(hints[n]) else v for n, v in content.items()}
    if wrong := [name for name, value in made.items() if not fits(hints[name], value)]:
        raise ValueError(f"{kind.__name__}: {wrong[0]} is no {hints[wrong[0]]}")
    try:
        return kind(**made)
    except TypeError as error:
        raise ValueError(str(error)) from error


def fits(hint: Any, value: Any) -> bool:
    """Whether a value from a JSON file has the type that an annotation says; a whole number is a float, too.

    Examples
    --------
    >>> fits(dict[str, float], {"C": 1}), fits(int, True), fits(float | None, "1.5")
    (True, False, False)
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(each, value) for each in arguments)
    if hint in (int, float):
        return not isinstance(value, bool) and isinstance(value, int if hint is int else (int, float))
    if not isinstance(value, origin or hint):
        return False
    if isinstance(value, Mapping) and arguments:
        return all(fits(arguments[0], key) and fits(arguments[1], inner) for key, inner in value.items())
    return not isinstance(value, list) or not arguments or all(fits(arguments[0], inner) for inner in value)


def fault_of_probabilities(path: Path, y: NDArray[np.int64], accuracy: float) -> str:
    """Say what is wrong with a file of class probabilities; empty where nothing is.

    Parameters
    ----------
    path : Path
    y : ndarray of shape (n_rows,)
        Labels of its rows, as numbers of columns.
    accuracy : float
        What was noted when the file was written.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return f"{path.name} is missing"
    except (OSError, ValueError, EOFError):
        return f"{path.name} cannot be read"
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind != "f" or len(found) != len(y):
        return f"{path.name} does not hold the probabilities of {len(y)} rows"
    if not np.isfinite(found).all():
        return f"{path.name} holds numbers that are not finite"
    if not math.isclose(there := float((found.argmax(axis=1) == y).mean()), accuracy, abs_tol=1e-9):
        return f"{path.name} gives an accuracy of {there:.2%}, the trial had {accuracy:.2%}"
    return ""


def holds(path: Path, array: NDArray[Any]) -> bool:
    """Whether an ``.npy`` file holds just this array."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return isinstance(found, np.ndarray) and found.dtype == array.dtype and np.array_equal(found, array)


def put_aside(path: Path) -> None:
    """Keep a file that cannot be read under another name, and say so."""
    _log.warning("%s: is damaged; what it held is taken from the records of the trials", path)
    os.replace(path, path.with_name(path.name + DAMAGED))
