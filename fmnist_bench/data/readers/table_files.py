"""Which files, or members of an archive, are the tables of train, validation and test rows: by their names."""

from __future__ import annotations

import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench.data.readers.idx import few, names_in

ENDINGS = (".csv", ".csv.gz", ".csv.zip", ".zip", ".parquet")
INSIDE = (".csv", ".parquet")  # of tables in a .zip
# What the name of a table calls its rows.
WORDS = {"train": "train(ing)?", "validation": "val(id(ation)?)?", "test": "test(ing)?"}
SHARD = re.compile(r"-(\d+)-of-(\d+)(-[0-9a-f]+)?(?=\.)")  # as Hugging Face numbers the tables of one part
EXAMPLE = "such as mnist_train.csv, and mnist_test.csv beside it"

Groups = dict[str, list[str]]  # the tables of a part, one or its shards in order, by their name without a number


class Table(NamedTuple):
    """A file, and what is read of it where it is an archive."""

    file: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.file}, {self.member}" if self.member else str(self.file)


def has_tables(folder: Path) -> bool:
    """Tell whether a folder holds a table of train rows."""
    return bool(_of_part(_groups(names_in(folder), folder), "train"))


def locate_tables(path: Path) -> dict[str, list[Table]]:
    """Find the tables of each part; a part that is not there is left out, and train rows always are there.

    Parameters
    ----------
    path : Path
        A folder of tables, an archive of them, or a table. The tables of other parts lie beside a table, named as it is
        but for the word that says the part. One that names no part holds all rows.

    Raises
    ------
    InputError
        No table of train rows, or several; or a shard that is missing.
    """
    if len(inside := _members(path)) > 1:
        parts = _parts(_groups(inside, path), None, path)
        return {part: [Table(path, name) for name in names] for part, names in parts.items()}
    is_folder = os.path.isdir(path)
    folder = path if is_folder else path.parent
    parts = _parts(_groups(names_in(folder), path), None if is_folder else path.name, path)
    return {part: [_table(folder / name) for name in names] for part, names in parts.items()}


def _table(file: Path) -> Table:
    if len(inside := _members(file)) > 1:
        raise InputError(f"{file}: holds {few(inside)}; name the archive itself, not its folder")
    return Table(file, "".join(inside))


def _members(file: Path) -> list[str]:
    """List the tables in an archive; none where the file is no archive."""
    if file.suffix.lower() != ".zip" or os.path.isdir(file):
        return []
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: cannot be read: {one_line(error)}") from error
    if not (tables := [name for name in names if name.lower().endswith(INSIDE)]):
        raise InputError(f"{file}: holds {few(names) or 'nothing'}; needed: tables ({', '.join(INSIDE)})")
    return tables


def _groups(names: Sequence[str], where: Path) -> Groups:
    """Put the shards of one part together."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(name for name in names if name.lower().endswith(ENDINGS)):
        found[SHARD.sub("", name)].append(name)
    for key, group in found.items():
        numbers = [(int(match[1]), int(match[2])) for name in group if (match := SHARD.search(name))]
        if numbers and numbers != [(number, numbers[0][1]) for number in range(numbers[0][1])]:
            raise InputError(f"{where}: the tables of {key} are {few(group)}; needed: each of them, numbered from 0")
    return dict(found)


def _parts(groups: Groups, named: str | None, where: Path) -> Groups:
    """Give the tables of each part, of those that belong to the `named` table or else to the only one of train rows."""
    train = _only_train(groups, where) if named is None else SHARD.sub("", named)
    if named is not None and (train not in groups or (_says(train, "test") and not _says(train, "train"))):
        said = "is called as test rows are" if train in groups else "no such file"
        raise InputError(f"{where}: {said}; name the table of the train rows, {EXAMPLE}")
    pieces = re.split("train(?:ing)?", train, flags=re.IGNORECASE)
    patterns = {part: re.compile(word.join(map(re.escape, pieces)), re.IGNORECASE) for part, word in WORDS.items()}
    found = {
        part: next((groups[key] for key in groups if key != train and pattern.fullmatch(key)), [])
        for part, pattern in patterns.items()
        if len(pieces) > 1
    }
    found["train"] = groups[train]
    if not found.get("test") and len(pieces) > 1 and (others := _of_part(groups, "test")):
        raise InputError(f"{where}: {few(others)} may be the test rows; needed: {'test'.join(pieces)}")
    return {part: names for part, names in found.items() if names}


def _only_train(groups: Groups, where: Path) -> str:
    found = _of_part(groups, "train")
    if len(found) != 1:
        said = f"{few(found)} may all be the train rows" if found else f"no table of train rows among {few([*groups])}"
        raise InputError(f"{where}: {said}; allowed: one, {EXAMPLE}")
    return found[0]


def _of_part(groups: Groups, part: str) -> list[str]:
    return [key for key in groups if _says(key, part)]


def _says(name: str, part: str) -> bool:
    """Tell whether a name has the word of a part, as in ``mnist_train.csv``."""
    return bool(re.fullmatch(rf"(.*[-_. /])?{WORDS[part]}[-_.].*", name, re.IGNORECASE))
