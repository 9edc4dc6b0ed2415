"""Pixels and gradient histograms as ONNX operators, but for rounding those of `ImageFeatures`."""

from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench.data.pixels import shape_of_images
from fmnist_bench.export.graph import DOUBLE, FLOAT, Graph, ints
from fmnist_bench.export.registry import converts

STEPS = 255  # largest difference of two pixels
CONTRAST = np.float32(60)  # as in `ImageFeatures`


@converts("fmnist_bench.models.features.ImageFeatures", "transform")
def image_features(g: Graph, features: Any, x: str) -> str:
    """Scale pixels, compute histograms, or both; `x` holds whole numbers of 0 to 255."""
    parts = []
    if features.kind != "hog":
        parts.append(g.op("Div", g.cast(x, FLOAT), np.float32(255)))
    if features.kind != "pixels":
        shape = shape_of_images(features.n_features_in_, features.image_shape)
        images = g.reshape(g.cast(x, FLOAT), -1, *shape)
        parts.append(hog(g, images, shape, int(features.orientations), int(features.cell_size)))
    return parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=1)


def hog(g: Graph, images: str, shape: tuple[int, int, int], orientations: int, cell_size: int) -> str:
    """Histograms of oriented gradients of `images`, a tensor of shape (n, *shape).

    Gradients of bytes are whole numbers, so that the votes of a pixel are looked up: in a table which onnxruntime
    makes, when it loads the file, of the length and the angle of each gradient. Sums are added in NumPy's order.
    """
    height, width, channels = shape
    down, right = _steepest(g, _gradient(g, images, 1, height), _gradient(g, images, 2, width), channels)
    votes = g.op("Gather", _votes(g, orientations), _place(g, down, right), axis=0)
    rows, columns = tents(height, cell_size), tents(width, cell_size)
    votes = g.op("MatMul", rows, g.reshape(votes, -1, height, width * orientations))
    votes = g.op("MatMul", columns, g.reshape(votes, -1, len(rows), width, orientations))
    sums = g.op("Add", _pairwise_sum(g, votes, orientations), CONTRAST)
    cells = g.op("Sqrt", g.op("Div", votes, sums))
    return g.reshape(cells, -1, len(rows) * len(columns) * orientations)


def _gradient(g: Graph, images: str, axis: int, size: int) -> str:
    """Steps along an axis; none across the image's edge."""
    if size < 3:
        return g.op("Sub", images, images)
    after, before = (g.op("Slice", images, ints(first), ints(end), ints(axis)) for first, end in ((2, size), (0, -2)))
    pads = np.zeros(8, dtype=np.int64)
    pads[[axis, 4 + axis]] = 1
    return g.op("Pad", g.op("Sub", after, before), pads)


def _steepest(g: Graph, down: str, right: str, channels: int) -> tuple[str, str]:
    """Take at each pixel the channel with the steepest gradient, the first of equals; of shape (n, height, width)."""
    if channels > 1:
        size = g.op("Gather", _lengths(g), _place(g, down, right), axis=0)
        channel = g.op("ArgMax", size, axis=3, keepdims=1)
        down, right = (g.op("GatherElements", each, channel, axis=3) for each in (down, right))
    down, right = (g.op("Squeeze", each, ints(3)) for each in (down, right))
    return down, right


def _place(g: Graph, down: str, right: str) -> str:
    """Row of a gradient in the tables."""
    place = g.op("Add", g.op("Mul", down, np.float32(2 * STEPS + 1)), right)
    return g.op("Cast", g.op("Add", place, np.float32(STEPS * (2 * STEPS + 2))), to=6)  # int32


def _lengths(g: Graph) -> str:
    steps = np.arange(-STEPS, STEPS + 1, dtype=np.float32)
    quarter = np.hypot(*np.meshgrid(steps[STEPS:], steps[STEPS:], indexing="ij"))
    mirrored = np.abs(steps).astype(np.int64)
    return g.reshape(g.op("Gather", g.op("Gather", quarter, mirrored, axis=0), mirrored, axis=1), -1)


def _votes(g: Graph, orientations: int) -> str:
    """Table of the votes of each gradient, of shape (gradients, orientations)."""
    steps = np.arange(-STEPS, STEPS + 1, dtype=np.float32)
    half = np.arctan2(*np.meshgrid(steps[STEPS:], steps, indexing="ij"))
    upper = g.op("Neg", g.op("Slice", half, ints(-1), ints(0), ints(0), ints(-1)))  # of steps up, the steepest first
    angle = g.reshape(g.op("Concat", upper, half, axis=0), -1, 1)
    size = g.reshape(_lengths(g), -1, 1)
    position = g.op("Mul", angle, np.float32(orientations / (2 * np.pi)))
    lower = g.op("Floor", position)
    share = g.op("Sub", position, lower)
    bins = np.arange(orientations)
    first = g.op("Mod", g.cast(lower, 7), ints(orientations))
    second = g.op("Mod", g.op("Add", first, ints(1)), ints(orientations))
    votes = (g.op("Mul", size, g.op("Sub", np.float32(1), share)), g.op("Mul", size, share))
    spread = [
        g.op("Where", g.op("Equal", bin_, bins), each, np.float32(0))
        for bin_, each in zip((first, second), votes, strict=True)
    ]
    return g.op("Add", *spread)


def _pairwise_sum(g: Graph, x: str, n: int) -> str:
    """Sum over the last axis, of `n` numbers, in the order in which NumPy adds them."""
    parts = g.ops("Split", n, x, np.ones(n, dtype=np.int64), axis=3)

    def add(first: str, second: str) -> str:
        return g.op("Add", first, second)

    if n < 8:
        return reduce(add, parts)
    whole = n - n % 8
    lanes = [reduce(add, parts[lane:whole:8]) for lane in range(8)]
    pairs = [add(*lanes[i : i + 2]) for i in range(0, 8, 2)]
    return reduce(add, parts[whole:], add(add(*pairs[:2]), add(*pairs[2:])))


def tents(size: int, cell_size: int) -> NDArray[np.float32]:
    """Each pixel's weight in each cell along one axis, of shape (size // cell_size, size), as in `ImageFeatures`."""
    centres = (np.arange(size // cell_size) + 0.5) * cell_size - 0.5
    distance = np.abs(np.arange(size) - centres[:, None]) / cell_size
    return np.asarray(np.maximum(1 - distance, 0) / cell_size, dtype=np.float32)


@converts("fmnist_bench.models.features.PrincipalComponents", "transform")
def principal_components(g: Graph, features: Any, x: str) -> str:
    """Project in double precision: trees ask on which side of a number a coordinate lies."""
    axes = features.components_.T
    projected = g.op("MatMul", g.cast(x, DOUBLE), axes)
    return g.cast(g.op("Sub", projected, features.mean_ @ axes), FLOAT)
