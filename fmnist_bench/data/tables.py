"""Tables of images, CSV and Parquet: a row is a label and its pixels, or a label and a PNG or JPEG file.

The table of the train rows has ``train`` in its name, and that of the test rows ``test`` in its place; one of
official validation rows may have ``val`` or ``validation``.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.archives import check_growth, check_inflation, largest_growth
from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench.data.idx import few, names_in, read_chunks
from fmnist_bench.data.image_files import decode_images
from fmnist_bench.data.pixels import as_images, upright

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ENDINGS", "has_tables", "read_table"]

Array = npt.NDArray[Any]

ENDINGS = (".csv", ".csv.gz", ".csv.zip", ".zip", ".parquet")
INSIDE = (".csv", ".parquet")  # of tables in a .zip
LABELS = ("label", "labels", "class", "target", "y")  # what the column of labels is called
IMAGES = ("image", "img")  # what a column of encoded images is called
# What the name of a table calls its rows.
WORDS = {"train": "train(ing)?", "validation": "val(id(ation)?)?", "test": "test(ing)?"}


def has_tables(folder: Path) -> bool:
    """Tell whether a folder holds a table of train rows."""
    return bool(_tables_of_train(names_in(folder)))


def read_table(path: Path, part: str) -> tuple[Array, Array] | None:
    """Read images and labels of one part of a data set; None where no validation rows are there.

    Parameters
    ----------
    path : Path
        A folder of tables, an archive of them, or the table of the train rows with the others beside it.
    part : {"train", "validation", "test"}

    Returns
    -------
    images : ndarray of shape (n, height, width[, channels]), or (n, n_pixels) where these make no square
    labels : ndarray of shape (n,)

    Raises
    ------
    InputError
        Where there is no such table, or it is none of labels and images.
    """
    # Every part is looked for each time, so that missing test rows are found before a run begins.
    if (found := {each: _locate(path, each) for each in WORDS}[part]) is None:
        return None
    file, member = found
    where = f"{file}, {member}" if member else str(file)
    try:
        frame = _parse(_content(file, member), member or file.name)
        labels = _numbers(frame.pop(_label_of(frame, where)))
        return upright(as_images(_images(frame, where)), member or file.name), labels
    except InputError:
        raise
    except Exception as error:  # zip, zlib, pandas and Arrow each fail in ways of their own
        raise InputError(f"{where}: not a readable table: {one_line(error) or type(error).__name__}") from error


def _locate(path: Path, part: str) -> tuple[Path, str] | None:
    """Find the file with the rows of a part, and the table within it where it is an archive."""
    if len(inside := _members(path)) > 1:
        member = _beside(_table_of_train(inside, path), part, inside, path)
        return (path, member) if member else None
    is_folder = os.path.isdir(path)
    folder = path if is_folder else path.parent
    names = names_in(folder)
    name = _beside(_table_of_train(names, path) if is_folder else path.name, part, names, path)
    if len(inside := _members(folder / name)) > 1:
        raise InputError(f"{folder / name}: holds {few(inside)}; name the archive itself, not its folder")
    return (folder / name, "".join(inside)) if name else None


def _members(file: Path) -> list[str]:
    """List the tables in an archive; none where the file is no archive."""
    if file.suffix.lower() != ".zip":
        return []
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: cannot be read: {one_line(error)}") from error
    if not (tables := [name for name in names if name.lower().endswith(INSIDE)]):
        raise InputError(f"{file}: holds {few(names) or 'nothing'}; needed: tables ({', '.join(INSIDE)})")
    return tables


def _tables_of_train(names: Sequence[str]) -> list[str]:
    pattern = re.compile(rf"(.*[-_. /])?{WORDS['train']}[-_.].*", re.IGNORECASE)
    return [name for name in names if pattern.fullmatch(name) and name.lower().endswith(ENDINGS)]


def _table_of_train(names: Sequence[str], where: Path) -> str:
    found = _tables_of_train(names)
    if len(found) != 1:
        said = f"{few(found)} may all be the train rows" if found else f"no table of train rows among {few([*names])}"
        raise InputError(f"{where}: {said}; allowed: one, such as mnist_train.csv, and mnist_test.csv beside it")
    return found[0]


def _beside(train: str, part: str, names: Sequence[str], where: Path) -> str:
    """Name the table of a part, which is called as that of the train rows is; nothing where no validation rows are."""
    if part == "train":
        return train
    pieces = re.split("train(?:ing)?", train, flags=re.IGNORECASE)
    pattern = re.compile(WORDS[part].join(map(re.escape, pieces)), re.IGNORECASE)
    if found := [name for name in names if pattern.fullmatch(name) and name != train]:
        return found[0]
    if part == "validation":
        return ""
    wanted = part.join(pieces) if len(pieces) > 1 else "two tables, such as mnist_train.csv and mnist_test.csv"
    raise InputError(f"{where}: the {part} rows are missing; needed: {wanted}")


def _content(file: Path, member: str) -> bytes:
    """Read the table, inflated; a bomb must not fill the memory."""
    if not member:
        size = os.path.getsize(file)
        content = b"".join(read_chunks(file, largest_growth(size) + 1))
        check_growth(len(content), size)
        return content
    with open(file, "rb") as stream:
        check_inflation(stream)
        with zipfile.ZipFile(stream) as archive:
            return archive.read(member)


def _parse(content: bytes, name: str) -> pd.DataFrame:
    """Read the columns; labels of a CSV file remain words, and a file of numbers alone has them in its first column."""
    import pandas as pd

    if name.lower().endswith(".parquet"):
        return pd.read_parquet(BytesIO(content))
    first = pd.read_csv(BytesIO(content), header=None, nrows=1)
    if all(kind.kind in "biuf" for kind in first.dtypes):
        frame = pd.read_csv(BytesIO(content), header=None, keep_default_na=False, dtype={0: str})
        return frame.rename(columns={0: LABELS[0]})
    as_words = {column: str for column in first.iloc[0] if _is_label(column)}
    return pd.read_csv(BytesIO(content), keep_default_na=False, dtype=as_words)


def _is_label(column: object) -> bool:
    return str(column).strip().lower() in LABELS


def _label_of(frame: pd.DataFrame, where: str) -> Any:
    found = [column for column in frame.columns if _is_label(column)]
    if len(found) != 1:
        columns = few([str(column) for column in frame.columns])
        raise InputError(f"{where}: its columns are {columns}; exactly one of them must be called {', '.join(LABELS)}")
    return found[0]


def _numbers(labels: pd.Series[Any]) -> Array:
    """Give the labels as numbers if all are."""
    import pandas as pd

    try:
        return np.asarray(pd.to_numeric(labels))
    except (TypeError, ValueError):
        return labels.to_numpy(dtype=object)


def _images(frame: pd.DataFrame, where: str) -> Array:
    """Decode the column of images, or take all columns for pixels."""
    if encoded := [column for column in frame.columns if str(column).lower() in IMAGES]:
        return decode_images(frame[encoded[0]], where)
    if strange := [column for column, kind in frame.dtypes.items() if kind.kind not in "biuf"]:
        raise InputError(f"{where}: column {strange[0]} holds something else than pixels; allowed: numbers, none empty")
    return frame.to_numpy()
