"""Tables of images, CSV and Parquet: a row is a label and its pixels, or a label and a PNG or JPEG file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.archives import check_growth, check_inflation, largest_growth
from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench.data.pixels import as_images, upright
from fmnist_bench.data.readers.columns import (
    Columns,
    check_pixels,
    has_names,
    is_label,
    labels_of_csv,
    labels_of_parquet,
    lacks_label_alone,
    names_of_csv,
    names_of_parquet,
    narrow,
    numbers,
    read_csv,
    read_parquet,
)
from fmnist_bench.data.readers.decoding import Source, check_left, decode
from fmnist_bench.data.readers.idx import read_chunks
from fmnist_bench.data.readers.parts import Part, Reading
from fmnist_bench.data.readers.table_files import Table, locate_tables

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
T = TypeVar("T")


def read_table(path: Path, part: str, how: Reading) -> Part | None:
    """Read images and labels of one part of a data set; None where no validation or test rows are there.

    Test rows without labels, as a competition hands them out, are no test rows: a part of the train rows is held out.

    Parameters
    ----------
    path : Path
        A folder of tables, an archive of them, or the table of the train rows with the others beside it.
    part : {"train", "validation", "test"}
    how : Reading

    Raises
    ------
    InputError
        Where there is no such table, or it is none of labels and images.
    """
    # Every part is looked for each time: that a table is missing shall not be found out when a run ends.
    found, unlabelled = _labelled(path)
    if part not in found:
        return None
    tables = [(str(table), _guarded(table, _columns)) for table in found[part]]
    labels = numbers(np.concatenate([columns.labels for _, columns in tables]), how.words)
    images, kept, notes = _images(tables, how, f"{path}, {part}")
    if part == "train":
        check_left(labels, kept, f"{path}, train")
    images = upright(as_images(images), found[part][0].member or found[part][0].file.name)
    all_rows = part == "train" and "test" not in found
    notes += tuple(f"{table} has no labels, so its rows are no test rows" for table in unlabelled)
    return Part(images, labels[kept], tables[0][1].class_names, notes, all_rows)


def read_test_labels(path: Path, words: bool | None) -> Array | None:
    """Read the labels of the test rows alone; None where there are no test rows."""
    tables = _labelled(path)[0].get("test", [])
    return numbers(np.concatenate([_guarded(table, _labels) for table in tables]), words) if tables else None


def read_pixels(path: Path, n_pixels: int) -> Array:
    """Read the pixels of one table of which nobody asks for the labels, if it has any.

    Parameters
    ----------
    path : Path
        CSV, or Parquet.
    n_pixels : int
        Of an image: tells a column of labels from pixels where no names of columns stand.

    Returns
    -------
    ndarray of shape (n, n_pixels)

    Raises
    ------
    InputError
        Where there are not so many columns of numbers.
    """
    frame = _guarded(Table(path), _frame)
    pixels = frame[[name for name in frame.columns if not is_label(str(name))]]
    if pixels.shape[1] == n_pixels + 1 and not isinstance(pixels.columns[0], str):  # labels come first
        pixels = pixels.iloc[:, 1:]
    if pixels.shape[1] != n_pixels or not len(pixels):
        raise InputError(f"{path}: {len(pixels)} rows of {pixels.shape[1]} pixels, must be {n_pixels} columns of them")
    check_pixels(pixels, str(path))
    return narrow(pixels.to_numpy())


def _frame(table: Table) -> pd.DataFrame:
    import pandas as pd

    if _is_parquet(table):
        return pd.read_parquet(table.file)
    content = _content(table)
    return pd.read_csv(BytesIO(content), header=0 if has_names(content) else None, keep_default_na=False)


def _labelled(path: Path) -> tuple[dict[str, list[Table]], list[Table]]:
    """Find the tables of each part, and apart from them those of test rows without labels."""
    found = locate_tables(path)
    tables = found.get("test", [])
    if not tables or not lacks_label_alone(_guarded(tables[0], _names), _guarded(found["train"][0], _names)):
        return found, []
    return {part: of_part for part, of_part in found.items() if part != "test"}, tables


def _names(table: Table) -> list[str]:
    return _read(table, names_of_csv, names_of_parquet)


def _labels(table: Table) -> Array:
    return _read(table, labels_of_csv, labels_of_parquet)


def _read(table: Table, of_csv: Callable[[bytes, str], T], of_parquet: Callable[[Any, str], T]) -> T:
    """Read something small of a table, of a Parquet file no more than that."""
    if not _is_parquet(table):
        return of_csv(_content(table), str(table))
    if table.member:
        return of_parquet(BytesIO(_content(table)), str(table))
    with open(table.file, "rb") as stream:
        return of_parquet(stream, str(table))


def _is_parquet(table: Table) -> bool:
    return (table.member or table.file.name).lower().endswith(".parquet")


def _guarded(table: Table, read: Callable[[Table], T]) -> T:
    """Read something of a table; what its libraries raise becomes one line."""
    try:
        return read(table)
    except InputError:
        raise
    except Exception as error:  # zip, zlib, pandas and Arrow each fail in ways of their own
        raise InputError(f"{table}: not a readable table: {one_line(error) or type(error).__name__}") from error


def _columns(table: Table) -> Columns:
    return _parquet(table) if _is_parquet(table) else read_csv(_content(table), str(table))


def _parquet(table: Table) -> Columns:
    if table.member:
        content = _content(table)
        return read_parquet(BytesIO(content), len(content), str(table))
    with open(table.file, "rb") as stream:
        return read_parquet(stream, os.path.getsize(table.file), str(table))


def _content(table: Table) -> bytes:
    """Read a table, inflated; a bomb must not fill the memory."""
    if not table.member:
        size = os.path.getsize(table.file)
        content = b"".join(read_chunks(table.file, largest_growth(size) + 1))
        check_growth(len(content), size)
        return content
    with open(table.file, "rb") as stream:
        check_inflation(stream)
        with zipfile.ZipFile(stream) as archive:
            return archive.read(table.member)


def _images(
    tables: list[tuple[str, Columns]], how: Reading, where: str
) -> tuple[Array, npt.NDArray[np.int64], tuple[str, ...]]:
    """Give the images of the tables of a part, which rows they are, and notes."""
    if all(columns.pixels is not None for _, columns in tables):
        pixels = [columns.pixels for _, columns in tables if columns.pixels is not None]
        if len({each.shape[1] for each in pixels}) > 1:
            raise InputError(f"{where}: its tables have different numbers of columns")
        images = np.concatenate(pixels) if len(pixels) > 1 else pixels[0]
        return images, np.arange(len(images)), ()
    sources = [
        Source(f"{name}: image of row {row}", cell)
        for name, columns in tables
        for row, cell in enumerate(columns.cells or ())
    ]
    return decode(sources, how, where)
