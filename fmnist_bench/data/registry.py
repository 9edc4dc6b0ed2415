"""Data sets by name: what `datasets.toml` says of them, and their files, downloaded and checked."""

from __future__ import annotations

import hashlib
import logging
import os
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from fmnist_bench._utils.downloads import fetch
from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench.data.places import CONNECT_SECONDS, own_cache, workplace

log = logging.getLogger(__name__)

OPENML = "openml:"
UNPACKED = "unpacked"  # folder with the members of an archive, beside it


@dataclass(frozen=True)
class Entry:
    """A data set that has a name; its attributes are the keys of `datasets.toml`, which explains them."""

    name: str
    title: str
    source: str
    licence: str = "not stated here"
    reader: str = "files"
    addresses: tuple[str, ...] = ()
    checked_by: str = ""
    class_names: tuple[str, ...] = ()
    first_label: int = 0
    unpack: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 or MD5 of each file, without its kind."""
        return {name: stated.partition(":")[2] for name, stated in self.files.items()}

    @property
    def proof(self) -> str:
        """How its files are checked, in words."""
        kinds = {stated.partition(":")[0] for stated in self.files.values()}
        if "" in kinds:
            return "unchecked: nobody states a hash"
        kind = "MD5" if "md5" in kinds else "SHA-256"
        return f"{kind} as {self.checked_by or 'its makers'} state{'s' if self.checked_by else ''} it"

    @property
    def names_of_labels(self) -> dict[int, str]:
        """What each label is called; nothing where the labels are all there is."""
        return dict(enumerate(self.class_names, self.first_label))


@cache
def entries() -> dict[str, Entry]:
    """Read the registry."""
    text = Path(__file__).with_name("datasets.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return {name: Entry(name, **_arguments(table)) for name, table in tables.items()}


def _arguments(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if key in ("addresses", "class_names") else value for key, value in table.items()}


NAMES = tuple(entries())


def is_named(name: str) -> bool:
    """Tell whether a data set is meant by its name, and not by a path."""
    return name in NAMES or name.startswith(OPENML)


def files_of(entry: Entry) -> Path:
    """Give the folder with the files of a data set, or its only file; what is missing is downloaded.

    Raises
    ------
    InputError
        A file cannot be fetched, and where to put it; or it is not what it should be.
    """
    folder = own_cache() / entry.name
    for name, stated in entry.files.items():
        if not (entry.unpack and (folder / UNPACKED).is_dir()):  # its archive was checked when it was unpacked
            _provide(entry, folder, name, stated)
    only = next(iter(entry.files))
    if entry.unpack:
        if not (folder / UNPACKED).is_dir():
            _unpack(folder / only, entry.unpack)
        return folder / UNPACKED
    return folder / only if len(entry.files) == 1 else folder


def _provide(entry: Entry, folder: Path, name: str, stated: str) -> None:
    """Download a file where it is not there, and check it."""
    file = folder / name
    if not file.is_file():
        _download(entry, file, stated)
    elif not _is_right(file, stated):
        raise InputError(
            f"{file}: is not the file that {entry.checked_by or 'its makers'} know ({stated}); delete it, "
            f"and it is downloaded again"
        )


def _download(entry: Entry, file: Path, stated: str) -> None:
    reasons = []
    for address in entry.addresses:
        log.info("%s: downloading %s%s%s", entry.name, address, file.name, "" if stated else " (unchecked)")
        try:
            with workplace(file.parent) as place:
                part = Path(place, file.name)
                fetch(f"{address}{file.name}", part, CONNECT_SECONDS, log)
                if not _is_right(part, stated):
                    raise ValueError(f"what came is not {stated}")
                os.replace(part, file)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            reasons.append(f"{address}: {one_line(error)}")
        else:
            if not stated:
                log.warning("%s: %s is unchecked: nobody states its hash", entry.name, file)
            return
    names = ", ".join(entry.files)
    raise InputError(
        f"{entry.name}: {file.name} cannot be downloaded; get {names} from {entry.source} and put "
        f"{'it' if len(entry.files) == 1 else 'them'} into {file.parent}. Tried: {'; '.join(reasons)}"
    )


def _is_right(file: Path, stated: str) -> bool:
    if not stated:
        return True
    kind, _, expected = stated.partition(":")
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest() == expected


def _unpack(archive: Path, pattern: str) -> None:
    """Take members out of an archive, into a folder that is there whole or not at all; the archive is kept."""
    target = archive.parent / UNPACKED
    try:
        with workplace(archive.parent) as place:
            files = list(_extracted(archive, pattern, Path(place)))
            if not files:
                raise InputError(f"{archive}: holds no {pattern}")
            (whole := Path(place, UNPACKED)).mkdir()
            for file in files:
                os.replace(file, whole / file.name)
            os.replace(whole, target)
    except (OSError, zipfile.BadZipFile) as error:
        if target.is_dir():  # another process was faster
            return
        raise InputError(f"{archive}: cannot be unpacked: {one_line(error)}") from error


def _extracted(archive: Path, pattern: str, place: Path) -> Iterator[Path]:
    with zipfile.ZipFile(archive) as content:
        for name in content.namelist():
            if fnmatch(name, pattern):
                yield Path(content.extract(name, place))
