"""PNG and JPEG images, files or bytes, as pixels of 8 bits: one array, filled image by image."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench.data.pixels import edge_brightness
from fmnist_bench.data.readers.parts import Reading

T = TypeVar("T")
UInt8 = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG")
LARGEST = 10_000  # pixels, height or width of a file that is opened
GRAY = ("1", "L", "I")  # how Pillow's modes without colour begin
TURNED = ("JPEG",)  # what a camera writes; the size of a PNG file is not known before all of it is read
SIDEWAYS = (5, 6, 7, 8)  # orientations of a camera that swap height and width
SHARE_OF_MEMORY = 0.8


class Source(NamedTuple):
    """An image that is to be decoded: what a message calls it, and its file or bytes."""

    name: str
    content: Any


class _Head(NamedTuple):
    """Width, height, and whether there is colour, as the first bytes of an image say."""

    size: tuple[int, int]
    colour: bool


def decode(sources: Sequence[Source], how: Reading, where: str) -> tuple[UInt8, NDArray[np.int64], tuple[str, ...]]:
    """Decode images into one array: of one size, or brought to one; gray, or in colour where any has it.

    They are turned as their camera says, 16 bits become 8, palettes become colour. What is transparent becomes white
    under dark drawings, and black under bright ones.

    Parameters
    ----------
    sources : sequence of Source
    how : Reading
    where : str
        What a message calls all of them.

    Returns
    -------
    images : ndarray of uint8, shape (n, height, width) or (n, height, width, 3)
    kept : ndarray of int64, shape (n,)
        Numbers of the sources that could be read.
    notes : tuple of str
        How many could not, and the first of them.

    Raises
    ------
    InputError
        An image that cannot be read, or of another size than most; or more than the memory holds.
    """
    faults: dict[int, str] = {}
    heads = _heads(sources, faults)
    if not heads:
        raise InputError(f"{where}: {_counted(sources, faults) if sources else 'holds no images'}")
    size = _size(sources, heads, how, where)
    channels = how.channels or (3 if any(head.colour for head in heads.values()) else 1)
    images = _room(len(heads), (size[1], size[0], *(() if channels == 1 else (channels,))), where)
    kept: list[int] = []
    for number in heads:
        if (pixels := _attempt(partial(_pixels, sources[number], size, channels), number, faults)) is not None:
            images[len(kept)] = pixels
            kept.append(number)
    return images[: len(kept)], np.array(kept, dtype=np.int64), _refuse_or_note(sources, faults, how, where, len(kept))


def check(sources: Sequence[Source], how: Reading, shape: tuple[int, ...], where: str) -> None:
    """Refuse what `decode` would refuse, or what has another size than `shape`; no pixel is kept."""
    faults: dict[int, str] = {}
    heads = _heads(sources, faults)
    if heads and (size := _size(sources, heads, how, where)) != shape[1::-1]:
        raise InputError(f"{where}: {size[0]} x {size[1]} pixels, the train images have {shape[1]} x {shape[0]}")
    for number in heads:
        _attempt(partial(_pixels, sources[number], (shape[1], shape[0]), 1), number, faults)
    _refuse_or_note(sources, faults, how, where, len(sources) - len(faults))


def check_left(labels: NDArray[Any], kept: NDArray[np.int64], where: str) -> None:
    """Refuse to lose a class with the images of it: other rows that have its label could not be used."""
    if lost := sorted(map(str, {*labels.tolist()} - {*labels[kept].tolist()})):
        raise InputError(f"{where}: no image of the class {lost[0]} can be read; give it another, or remove the class")


def _heads(sources: Sequence[Source], faults: dict[int, str]) -> dict[int, _Head]:
    found = {number: _attempt(partial(_head, source), number, faults) for number, source in enumerate(sources)}
    return {number: head for number, head in found.items() if head is not None}


def _attempt(do: Callable[[], T], number: int, faults: dict[int, str]) -> T | None:
    try:
        return do()
    except InputError as error:
        faults[number] = str(error)
        return None


@contextmanager
def opened(source: Source) -> Iterator[Any]:
    """Open an image as Pillow's; what Pillow raises while it is open is an `InputError`."""
    from PIL import Image

    content = BytesIO(source.content) if isinstance(source.content, bytes) else source.content
    if not isinstance(content, BytesIO | Path):
        raise InputError(f"{source.name}: holds {type(content).__name__}; allowed: the bytes of a PNG or JPEG file")
    with reading(source.name), Image.open(content, formats=FORMATS) as image:
        if max(image.size) > LARGEST:
            raise InputError(f"{source.name}: {image.width} x {image.height} pixels, at most {LARGEST} each way")
        yield image


def _head(source: Source) -> _Head:
    with opened(source) as image:
        sideways = image.format in TURNED and image.getexif().get(0x0112) in SIDEWAYS
        return _Head(image.size[::-1] if sideways else image.size, not image.mode.startswith(GRAY))


def _pixels(source: Source, size: tuple[int, int], channels: int) -> UInt8:
    with opened(source) as image:
        upright = upright_on(image, "black")[0].convert("RGB" if channels == 3 else "L")
        return np.asarray(upright if upright.size == size else fit(upright, size), dtype=np.uint8)


def upright_on(image: Any, colour: str) -> tuple[Any, str]:
    """Turn a photograph as its camera says, make 16 bits 8, put what is transparent on a ground; give the ground, too.

    The ground is `colour`, or its opposite where the drawing would vanish on it.
    """
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image) if image.format in TURNED else image
    if image.mode.startswith("I"):  # of 16 bits, which Pillow would cut off at 255
        image = Image.fromarray(np.rint(np.clip(np.asarray(image), 0, 65535) / 257.0).astype(np.uint8))
    if image.mode not in ("RGBA", "LA", "La", "PA") and "transparency" not in image.info:
        return image, colour
    image = image.convert("RGBA")
    levels, opacity = np.asarray(image.convert("L"), dtype=float), np.asarray(image)[..., 3]
    if opacity.min() < 255 and opacity.any():
        colour = "white" if np.average(levels, weights=opacity) < 128 else "black"
    return Image.alpha_composite(Image.new("RGBA", image.size, colour), image), colour


def fit(image: Any, size: tuple[int, int], colour: str | None = None) -> Any:
    """Scale an image and put it into the middle, proportions kept; what is filled up has the colour of its edges."""
    from PIL import Image, ImageOps

    if colour is None:
        colour = "white" if edge_brightness(np.asarray(image)[np.newaxis]) > 127 else "black"
    return ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=colour)


def resize_all(images: UInt8, side: int | None) -> UInt8:
    """Bring images of shape (n, height, width[, channels]) to `side` pixels each way; None leaves them."""
    from PIL import Image

    if side is None or images.shape[1:3] == (side, side):
        return images
    channels = images.shape[3:] if images.shape[3:] != (1,) else ()
    plain = images.reshape(*images.shape[:3], *channels)
    return np.stack([np.asarray(fit(Image.fromarray(image), (side, side)), dtype=np.uint8) for image in plain])


def _size(sources: Sequence[Source], heads: dict[int, _Head], how: Reading, where: str) -> tuple[int, int]:
    """Give width and height of all; the first image of another size than most is named."""
    if how.resize:
        return how.resize, how.resize
    counts = Counter(head.size for head in heads.values())
    most = counts.most_common(1)[0][0]
    if odd := [number for number, head in heads.items() if head.size != most]:
        width, height = heads[odd[0]].size
        raise InputError(
            f"{sources[odd[0]].name}: {width} x {height} pixels, as {counts[width, height]} of {len(heads)} images of "
            f"{where} have; most have {most[0]} x {most[1]}; --resize {max(most)} brings all to one size"
        )
    return most


def _room(n: int, shape: tuple[int, ...], where: str) -> UInt8:
    from fmnist_bench._utils.environment import available_memory

    needed, free = n * int(np.prod(shape)), available_memory()
    if needed > SHARE_OF_MEMORY * free:
        raise InputError(
            f"{where}: {n} images of {' x '.join(map(str, shape))} need {needed / 2**30:.1f} GiB of memory, "
            f"{free / 2**30:.1f} GiB are free; --resize 28 makes them smaller"
        )
    return np.empty((n, *shape), dtype=np.uint8)


def _refuse_or_note(
    sources: Sequence[Source], faults: dict[int, str], how: Reading, where: str, n_kept: int
) -> tuple[str, ...]:
    if not faults:
        return ()
    if not how.skip_unreadable or not n_kept:
        hint = "; --skip-unreadable leaves them out" if n_kept else ""
        raise InputError(f"{where}: {_counted(sources, faults)}{hint}")
    return (f"{where}: {_counted(sources, faults)} and are left out",)


def _counted(sources: Sequence[Source], faults: dict[int, str]) -> str:
    return f"{len(faults)} of {len(sources)} images cannot be read ({faults[min(faults)]})"


@contextmanager
def reading(where: object) -> Iterator[None]:
    """Turn what Pillow raises into an `InputError`, and its warning of a bomb, too."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (InputError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise InputError(f"{where}: no such file") from error
    except Exception as error:  # the readers of its parts, such as what the camera says, each fail in ways of their own
        raise InputError(f"{where}: not a readable image: {one_line(error) or type(error).__name__}") from error
