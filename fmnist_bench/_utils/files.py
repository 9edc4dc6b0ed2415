"""Paths in full, files that are written whole or not at all, and second names of files."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from fmnist_bench._utils.errors import InputError


def expanded(path: str | os.PathLike[str]) -> Path:
    """Write a path that begins with ``~`` in full."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{os.fspath(path)}: the home folder that is meant by ~ is not known") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name to write a file under, which takes the place of `path` when it is whole."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def link_or_copy(source: Path, target: Path) -> None:
    """Give `source` a second name, or copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def unshare(path: Path) -> None:
    """Give a file that is written in place to this folder alone: a copy of the folder may share it by a hard link."""
    if path.exists() and path.stat().st_nlink > 1:
        with replacing(path) as temporary:
            shutil.copy2(path, temporary)
