"""The folder of a trial: the names of its files, its result, and the rows that it maps."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.intact import parsed
from fmnist_bench.storage.results import TrialResult

RESULT, PROBABILITIES, MODEL, LOG = "result.json", "valid_probabilities.npy", "model.skops", "log.txt"
FINE_TUNED_PROBABILITIES = "fine_tuned_probabilities.npy"  # of the first validation rows, after fine-tuning
TEST_PROBABILITIES = "test_log_probabilities.npy"  # of a kept model, once everything is chosen
UNFINISHED = ".tmp"  # end of the name of a trial's folder until it is whole
GENERATOR, SAMPLES = "generator.keras", "samples-*.png"  # of an augmentation that has learnt


@dataclass(frozen=True)
class Rows:
    """Training rows as files, so that every worker maps them instead of receiving them.

    Attributes
    ----------
    folder : Path
        Holds the pixels and the codes of the labels.
    image_shape : tuple of int
    classes : tuple of int or of str
        The labels themselves, in the order of their codes.
    """

    folder: Path
    image_shape: tuple[int, ...]
    classes: tuple[int, ...] | tuple[str, ...]

    def load(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Map the pixels, read the codes of the labels."""
        return np.load(self.folder / "X.npy", mmap_mode="r"), np.load(self.folder / "y.npy")

    def images(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Map the pixels as images of shape (n, height, width[, channels]), read the codes of the labels."""
        X, y = self.load()
        return X.reshape(-1, *self.image_shape), y


def write_result(result: TrialResult, folder: Path) -> None:
    """Write a result, without its probabilities, into the folder of its trial."""
    (folder / RESULT).write_text(json.dumps(asdict(replace(result, valid_probabilities=None)), indent=1) + "\n")


def read_result(folder: Path) -> TrialResult | None:
    """Read what a worker wrote, without its probabilities; None if it wrote nothing whole."""
    try:
        return parsed(TrialResult, json.loads((folder / RESULT).read_text()))
    except (OSError, ValueError, RecursionError):
        return None


def unfinished(folder: Path) -> Path:
    """Give the name that the folder of a trial has until it is whole."""
    return folder.with_name(folder.name + UNFINISHED)
