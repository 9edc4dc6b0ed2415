"""The TOML files of studies and benchmarks: where they lie, what they say, and what they are for."""

import itertools
import tomllib
from pathlib import Path
from typing import Any

from fmnist_bench._utils.errors import InputError

PACKAGE = Path(__file__).parents[1]


def find_files(kind: str) -> dict[str, Path]:
    """TOML files of ``studies`` or ``benchmarks`` by their names; those of the working directory win."""
    shipped = PACKAGE / kind  # in the wheel; in a checkout they lie beside the package
    folders = [shipped if shipped.is_dir() else PACKAGE.parent / kind, Path.cwd() / kind]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except (OSError, ValueError, RecursionError) as error:  # a number of too many digits, or tables nested too deep
        raise InputError(f"{path}: not a readable TOML file: {error}") from error


def purpose(path: Path) -> str:
    """Give the first comment of a file, which says what it is for; empty where it begins otherwise."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return next((line.strip("# ") for line in head if not line.startswith("#:")), "")
