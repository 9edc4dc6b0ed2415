"""What an ensemble teaches a network, as a file: what it says of the train rows, and of synthetic ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.files import replacing
from fmnist_bench._utils.soft_targets import SoftTargets


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a teacher says, before it is softened.

    Attributes
    ----------
    probabilities : ndarray of shape (n_train, n_classes)
        Of the train rows, in their order.
    images : ndarray of uint8, shape (n_synthetic, n_pixels)
        Synthetic rows; there may be none.
    answers : ndarray of shape (n_synthetic, n_classes)
        The teacher's probabilities of these; the most probable class is their label.
    """

    probabilities: NDArray[Any]
    images: NDArray[np.uint8]
    answers: NDArray[Any]

    def added_to(self, X: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], SoftTargets]:
        """Give what a student learns from: rows, their codes, what the teacher says of them.

        Parameters
        ----------
        X : ndarray of shape (n_train, ...)
            The train rows.
        y : ndarray of int, shape (n_train,)
            Their codes, which are the columns of the probabilities.
        """
        rows = np.concatenate([X, self.images.reshape(-1, *X.shape[1:])])
        codes = np.concatenate([y, self.answers.argmax(axis=1)])
        return rows, codes, SoftTargets(np.concatenate([self.probabilities, self.answers]))

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, probabilities=self.probabilities, images=self.images, answers=self.answers)


def read_lesson(path: Path) -> Lesson:
    """Read what `Lesson.save` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return Lesson(arrays["probabilities"], arrays["images"], arrays["answers"])
