"""Folders of PNG and JPEG files, one a class: within ``train`` and ``test``, or on one level."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.image_files import SUFFIXES
from fmnist_bench.data.readers.decoding import Source, check, check_left, decode
from fmnist_bench.data.readers.parts import Part, Reading
from fmnist_bench.data.split import hold_out

# What a folder with the classes of a part is called.
PARTS = {"train": "train(ing)?", "validation": "val(id(ation)?)?", "test": "test(ing)?"}
LITTER = ("thumbs.db", "desktop.ini")  # what systems leave behind, beside files whose names begin with a dot
Files = list[tuple[Path, str]]  # an image and the name of its class


def has_class_folders(folder: Path) -> bool:
    """Tell whether a folder holds folders of images, or a folder ``train`` does."""
    return any(_holds_images(inside) for place in (folder, *_places(folder).values()) for inside in _folders(place))


def read_class_folders(folder: Path, part: str, how: Reading) -> Part | None:
    """Read the images of one part; without a folder of test images, some of each class are held out.

    Parameters
    ----------
    folder : Path
        Holds a folder for each class, or ``train`` and ``test``, perhaps ``val``, that do.
    part : {"train", "validation", "test"}
    how : Reading

    Returns
    -------
    Part or None
        Its labels are the names of the folders, or numbers where all of them are. None where no validation images are.

    Raises
    ------
    InputError
        Files that are no images, or a class without any; see also `fmnist_bench.data.readers.decoding.decode`.
    """
    files, notes = _by_part(folder)
    if part not in files:
        return None
    read = _decode(folder, part, files[part], how)
    if part == "train":  # what is wrong with a test image shall not be found out when a run ends
        shape = read.images.shape[1:3]
        for other in files.keys() - {"train"}:
            check(_sources(files[other]), how, shape, f"{folder}, {other}")
        read = Part(read.images, read.labels, {}, (*notes, *read.notes))
    return read


def _decode(folder: Path, part: str, files: Files, how: Reading) -> Part:
    images, kept, notes = decode(_sources(files), how, f"{folder}, {part}")
    labels = _labels([label for _, label in files], how.words)
    if part == "train":
        check_left(labels, kept, f"{folder}, train")
    return Part(images, labels[kept], {}, notes)


def _sources(files: Files) -> list[Source]:
    return [Source(str(path), path) for path, _ in files]


def _by_part(folder: Path) -> tuple[dict[str, Files], tuple[str, ...]]:
    """List the files of each part; what is held out of the train images stands for test images that are missing."""
    places = _places(folder)
    files = {part: _files(place) for part, place in places.items()} if "train" in places else {"train": _files(folder)}
    classes = {label for _, label in files["train"]}
    for part, found in files.items():
        if strange := sorted({label for _, label in found} - classes):
            raise InputError(f"{places[part]}: the class {strange[0]} does not occur in {places['train']}")
    if "test" in files:
        return files, ()
    train, test, note = hold_out([label for _, label in files["train"]], folder)
    held = {part: [files["train"][row] for row in rows] for part, rows in (("train", train), ("test", test))}
    return files | held, (note,)


def _places(folder: Path) -> dict[str, Path]:
    """Find the folders of the parts; none where there is no ``train``, or where it is a class like others."""
    found: dict[str, Path] = {}
    for inside in _folders(folder):
        for part, words in PARTS.items():
            if re.fullmatch(words, inside.name, re.IGNORECASE) and _folders(inside):
                if part in found:
                    raise InputError(f"{folder}: {found[part].name} and {inside.name} may both be the {part} images")
                found[part] = inside
    return found


def _files(place: Path) -> Files:
    """List the images of each class, also in folders within its folder; what is none is listed too, to be counted."""
    if not (folders := _folders(place)):
        raise InputError(f"{place}: holds no folder; needed: one for each class")
    files = []
    for inside in folders:
        found = [path for path in inside.rglob("*") if not _is_litter(path.relative_to(inside)) and path.is_file()]
        if not any(path.suffix.lower() in SUFFIXES for path in found):
            raise InputError(f"{inside}: holds no images ({', '.join(SUFFIXES)}); remove the folder, or fill it")
        files += [(path, inside.name) for path in sorted(found)]
    return files


def _folders(place: Path) -> list[Path]:
    try:
        return sorted(Path(entry) for entry in os.scandir(place) if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def _holds_images(folder: Path) -> bool:
    try:
        return any(name.lower().endswith(SUFFIXES) for name in os.listdir(folder))
    except OSError:
        return False


def _is_litter(path: Path) -> bool:
    return path.name.lower() in LITTER or any(name.startswith(".") for name in path.parts)


def _labels(names: list[str], words: bool | None) -> npt.NDArray[Any]:
    """Give the names of classes as numbers if all of them in train are, written as numbers are."""
    if not words and all(re.fullmatch("0|[1-9][0-9]{0,17}", name) for name in names):
        return np.array(names, dtype=np.int64)
    return np.array(names)
