"""What a teacher says of the rows that a network is trained on; whoever hands it on needs no Keras."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST = 1e-7  # of a probability, before its logarithm is taken


@dataclass(frozen=True)
class SoftTargets:
    """What a teacher says of the rows that a network is trained on.

    Attributes
    ----------
    probabilities : ndarray of shape (n, n_classes)
        Of each row, not yet softened; columns in the order of the sorted labels.
    temperature : float
        By which the logarithms of both networks' probabilities are divided, 1 or more.
    share : float
        Of the loss that they make, 0 to 1; the labels make the rest.
    """

    probabilities: NDArray[Any]
    temperature: float = 4.0
    share: float = 0.9

    def check(self, n_rows: int, n_classes: int) -> None:
        """Refuse what does not belong to so many rows and classes.

        Raises
        ------
        ValueError
        """
        if (shape := np.shape(self.probabilities)) != (n_rows, n_classes):
            raise ValueError(f"soft targets have the shape {shape}: must be {n_rows} rows x {n_classes} classes")
        if not np.isfinite(self.probabilities).all() or np.min(self.probabilities) < 0:
            raise ValueError("soft targets: must be probabilities, from 0 to 1")
        if not (self.temperature >= 1 and 0 <= self.share <= 1):
            raise ValueError(f"temperature={self.temperature!r} must be at least 1, share={self.share!r} from 0 to 1")

    def softened(self) -> NDArray[np.float32]:
        """Divide the logarithms by the temperature; each row sums to 1."""
        logs = np.log(np.maximum(np.asarray(self.probabilities, np.float64), LEAST)) / self.temperature
        powers = np.exp(logs - logs.max(axis=1, keepdims=True))
        result: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return result
