"""Public names of a package, imported when they are first used: ``import fmnist_bench`` costs nothing."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def exports(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the `__getattr__` and `__dir__` of a package (PEP 562).

    Parameters
    ----------
    package : str
        Its dotted name.
    homes : mapping of str to str
        For each public name the dotted name of the module that defines it.

    Returns
    -------
    tuple of two functions
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package} has no attribute {name}")
        return getattr(importlib.import_module(homes[name]), name)

    return get, lambda: sorted(homes)
