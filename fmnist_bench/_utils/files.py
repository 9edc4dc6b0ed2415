"""Files that are written whole or not at all, and second names of files."""

import hashlib
import os
import shutil
from pathlib import Path

from fmnist_bench._utils.errors import InputError


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it; an InputError where its folder was deleted."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except FileNotFoundError as error:
        raise InputError(f"{path.parent}: was deleted while it was in use; nothing can go on from it") from error


def link_or_copy(source: Path, target: Path) -> None:
    """Give `source` a second name, or copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def unshare(path: Path) -> None:
    """Give a file that is written in place to this folder alone: a copy of the folder may share it by a hard link."""
    if path.exists() and path.stat().st_nlink > 1:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        shutil.copy2(path, temporary)
        os.replace(temporary, path)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of what a file holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
