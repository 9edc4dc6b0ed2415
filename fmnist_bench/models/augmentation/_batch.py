"""Changes of a batch of images: mirrored, moved, partly covered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ERASED = 0.02, 0.3  # least and most of an image that is erased


@dataclass(frozen=True)
class Augment:
    """Classic augmentation of a batch of images, see `KerasClassifier`."""

    flip: bool = False
    shift: int = 0
    erase: float = 0.0

    def __call__(self, images: NDArray[Any], seed: Sequence[int]) -> NDArray[Any]:
        """Change a batch, which is the caller's own copy; the same seed makes the same changes."""
        generator = np.random.default_rng(seed)
        if self.flip:
            mirrored = generator.random(len(images)) < 0.5
            images[mirrored] = images[mirrored, :, ::-1]
        if self.shift:
            images = self._shifted(images, generator)
        if self.erase:
            self._erase(images, generator)
        return images

    def _shifted(self, images: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        most, (height, width) = self.shift, images.shape[1:3]
        padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)))
        places = generator.integers(0, 2 * most + 1, (len(images), 2))
        return np.stack([image[y : y + height, x : x + width] for image, (y, x) in zip(padded, places, strict=True)])

    def _erase(self, images: NDArray[Any], generator: np.random.Generator) -> None:
        height, width = images.shape[1:3]
        for number in np.flatnonzero(generator.random(len(images)) < self.erase):
            area, ratio = generator.uniform(*ERASED) * height * width, np.exp(generator.uniform(-1, 1) * math.log(3))
            tall, wide = min(height, round(math.sqrt(area * ratio))), min(width, round(math.sqrt(area / ratio)))
            y, x = generator.integers(height - tall + 1), generator.integers(width - wide + 1)
            patch = images[number, y : y + tall, x : x + wide]
            patch[:] = images.reshape(-1)[generator.integers(0, images.size, patch.shape)]
