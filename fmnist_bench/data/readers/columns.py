"""The columns of a table: labels and pixels, or labels and encoded images; read part by part, in little memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.archives import check_growth
from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.readers.idx import few

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

LABELS = ("label", "labels", "class", "target", "y")  # what the column of labels is called
IMAGES = ("image", "img")  # what a column of encoded images is called
BLOCK = 1 << 23  # bytes of a CSV file that are parsed at once
ROWS = 4096  # of a Parquet file that are decoded at once, and
CELLS = 64  # where they are encoded images


@dataclass(frozen=True, eq=False)
class Columns:
    """Labels, and pixels or encoded images, of a table.

    Attributes
    ----------
    labels : ndarray of shape (n,)
        As objects: whether they are numbers, all tables of a part say together, see `numbers`.
    pixels : ndarray of shape (n, n_pixels), or None
        Unsigned bytes where all are whole numbers of 0 to 255.
    cells : list, or None
        PNG or JPEG files as bytes, and whatever stands in their place.
    class_names : mapping of label to str
    """

    labels: Array
    pixels: Array | None = None
    cells: list[Any] | None = None
    class_names: Mapping[Any, str] = field(default_factory=dict)


def read_csv(content: bytes, where: str) -> Columns:
    """Read a CSV file; without a line of names, the labels are in its first column."""
    names, label, has_names = _heading(content, where)
    found = _bytes_of_csv(content, names, has_names, label)
    return _any_csv(content, names, has_names, label, where) if found is None else found


def labels_of_csv(content: bytes, where: str) -> Array:
    """Read the column of labels alone."""
    import pandas as pd

    label, has_names = _heading(content, where)[1:]
    options: Any = {"header": None, "skiprows": int(has_names), "keep_default_na": False, "dtype": str}
    return _joined([pd.read_csv(BytesIO(content), usecols=[label], **options)[label]])


def labels_of_parquet(file: Any, where: str) -> Array:
    """Read the column of labels alone, of a file that is open for reading."""
    from pyarrow import parquet

    with parquet.ParquetFile(file) as table:
        names = table.schema_arrow.names
        return _joined([table.read(columns=[name := names[_label_of(names, where)]]).column(name).to_pandas()])


def names_of_csv(content: bytes, where: str) -> list[str]:
    """Read the names of the columns; without a line of names, the labels are in the first one."""
    return _names(content)[0]


def names_of_parquet(file: Any, where: str) -> list[str]:
    """Read the names of the columns of a file that is open for reading."""
    from pyarrow import parquet

    with parquet.ParquetFile(file) as table:
        return list(table.schema_arrow.names)


def lacks_label_alone(names: Sequence[str], of_train: Sequence[str]) -> bool:
    """Whether a table has every column of that of the train rows but the label."""
    return [*names] == [name for name in of_train if not is_label(name)] != [*of_train]


def _heading(content: bytes, where: str) -> tuple[list[str], int, bool]:
    """Give the names of the columns of a CSV file, which holds labels, and whether the names stand there."""
    names, has_names = _names(content)
    return names, _label_of(names, where), has_names


def has_names(content: bytes) -> bool:
    """Whether a CSV file begins with the names of its columns."""
    return _names(content)[1]


def _names(content: bytes) -> tuple[list[str], bool]:
    import pandas as pd

    first = pd.read_csv(BytesIO(content), header=None, nrows=1)
    named = not all(kind.kind in "biuf" for kind in first.dtypes)
    return [str(name) for name in first.iloc[0]] if named else [LABELS[0], *map(str, first.columns[1:])], named


def _bytes_of_csv(content: bytes, names: Sequence[str], has_names: bool, label: int) -> Columns | None:
    """Read pixels that are whole numbers of 0 to 255, by Arrow; None where any is not."""
    import pyarrow as pa
    from pyarrow import csv

    keys = [str(number) for number in range(len(names))]
    types = {key: pa.string() if number == label else pa.uint8() for number, key in enumerate(keys)}
    options = csv.ReadOptions(block_size=BLOCK, column_names=keys, skip_rows=int(has_names))
    convert = csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    labels, pixels = [], []
    try:
        with closing(csv.open_csv(BytesIO(content), read_options=options, convert_options=convert)) as batches:
            for batch in batches:
                columns = [column for number, column in enumerate(batch.columns) if number != label]
                if any(column.null_count for column in columns):
                    return None
                labels.append(batch.column(label).to_pandas())
                pixels.append(np.column_stack([column.to_numpy() for column in columns]))
    except (pa.ArrowException, ValueError):
        return None
    return Columns(_joined(labels), np.concatenate(pixels)) if pixels else None


def _any_csv(content: bytes, names: Sequence[str], has_names: bool, label: int, where: str) -> Columns:
    """Read any pixels, by pandas, and say which are none; labels remain words."""
    import pandas as pd

    options: Any = {"header": None, "skiprows": int(has_names), "keep_default_na": False, "dtype": {label: str}}
    try:
        frame = pd.read_csv(BytesIO(content), **options)
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{where}: holds no rows") from error
    if len(frame.columns) != len(names):
        raise InputError(f"{where}: {len(names)} names of columns, {len(frame.columns)} columns")
    labels = frame.pop(label)
    check_pixels(frame.rename(columns=dict(enumerate(names))), where)
    return Columns(_joined([labels]), frame.to_numpy())


def read_parquet(file: Any, size: int, where: str) -> Columns:
    """Read a Parquet file of `size` bytes, open for reading; what it says of its own size is looked at first."""
    from pyarrow import parquet

    with parquet.ParquetFile(file) as table:
        names, about = table.schema_arrow.names, table.metadata
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        check_growth(max(sum(group.total_byte_size for group in groups), about.num_rows * len(names)), size)
        label = names[_label_of(names, where)]
        class_names = _class_names(table.schema_arrow.metadata or {}, label)
        if encoded := [name for name in names if name.lower() in IMAGES]:
            batches = table.iter_batches(CELLS, columns=[label, encoded[0]])
            labels, cells = _cells(batches, label, encoded[0], size)
            return Columns(labels, cells=cells, class_names=class_names)
        labels, pixels = _pixels(table.iter_batches(ROWS), label, where)
        return Columns(labels, pixels, class_names=class_names)


def _cells(batches: Iterator[Any], label: str, encoded: str, size: int) -> tuple[Array, list[Any]]:
    """Take the bytes of images; repeated ones are stored once and may inflate the file."""
    labels, cells, total = [], [], 0
    for batch in batches:
        labels.append(batch.column(label).to_pandas())
        found = [cell.get("bytes") if isinstance(cell, dict) else cell for cell in batch.column(encoded).to_pylist()]
        total += sum(len(cell) for cell in found if isinstance(cell, bytes))
        check_growth(total, size)
        cells += found
    return _joined(labels), cells


def _pixels(batches: Iterator[Any], label: str, where: str) -> tuple[Array, Array]:
    """Take all columns but that of the labels for pixels."""
    labels, pixels = [], []
    for batch in batches:
        frame = batch.to_pandas()
        labels.append(frame.pop(label))
        for column, kind in frame.dtypes.items():
            # A column of whole numbers with holes becomes one of fractions.
            whole_and_null = batch.column(column).null_count > 0
            _check_numbers(column, kind.kind in "biuf" and not whole_and_null, where)
        pixels.append(narrow(frame.to_numpy()))
    if not pixels:
        raise InputError(f"{where}: holds no rows")
    return _joined(labels), np.concatenate(pixels)


def narrow(pixels: Array) -> Array:
    """Give whole numbers of 0 to 255 as bytes, anything else as it is."""
    is_byte = pixels.dtype.kind in "iu" and pixels.size and pixels.min() >= 0 and pixels.max() <= 255
    return pixels.astype(np.uint8) if is_byte else pixels


def check_pixels(frame: pd.DataFrame, where: str) -> None:
    """Refuse a table with a column that is not of numbers."""
    for column, kind in zip(frame.columns, frame.dtypes, strict=True):
        _check_numbers(column, kind.kind in "biuf", where)


def _check_numbers(column: object, are_numbers: bool, where: str) -> None:
    if not are_numbers:
        raise InputError(f"{where}: column {column} holds something else than pixels; allowed: numbers, none empty")


def _label_of(names: Sequence[str], where: str) -> int:
    """Find the column of labels."""
    found = [number for number, name in enumerate(names) if is_label(name)]
    if len(found) != 1:
        raise InputError(
            f"{where}: its columns are {few([*names])}; exactly one of them must be called {', '.join(LABELS)}"
        )
    return found[0]


def is_label(name: str) -> bool:
    """Whether a column of that name holds labels."""
    return name.strip().lower() in LABELS


def _class_names(metadata: Mapping[bytes, bytes], label: str) -> dict[int, str]:
    """Read what the labels stand for, as Hugging Face's `datasets` writes it; nothing where it does not say."""
    try:
        feature = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"][label]
        return {number: str(name) for number, name in enumerate(feature["names"])}
    except (ValueError, KeyError, TypeError):
        return {}


def _joined(parts: Iterable[pd.Series[Any]]) -> Array:
    return np.concatenate([part.to_numpy(dtype=object) for part in parts])


def numbers(labels: Array, words: bool | None = None) -> Array:
    """Give labels as numbers if all are, and those of the train rows are no words."""
    import pandas as pd

    try:
        return labels if words else np.asarray(pd.to_numeric(labels))
    except (TypeError, ValueError):
        return labels
