"""The result of a trial: how it ended, what it scored, what it took."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.errors import printable

Monitor = Callable[[int, float], None]
NO_WEIGHTS = "no_weights"  # `status` of an error that says that pretrained weights are missing
PREPARED = "prepared"  # the augmentation of a study has learnt what it needs for all trials
STATUSES = ("complete", PREPARED, "pruned", "timeout", "out_of_memory", "crashed", "failed", NO_WEIGHTS, "interrupted")
NOT_BEGUN = "not_begun"  # of a trial that has not ended, and in a report of a study whose turn did not come
ROW_STATUSES = (*STATUSES, NOT_BEGUN)
LAST_STEP = 2**53  # above it floats skip whole numbers, which databases then cannot hold
PREPARATION = -1  # number of what is done before the first trial of a study with an augmentation


class TrialPruned(Exception):
    """Raised by a monitor: the search has seen enough of this trial."""


@dataclass(frozen=True)
class TrialResult:
    """What a trial leaves behind.

    Attributes
    ----------
    status : str
        One of `STATUSES`, or `NOT_BEGUN`.
    reason : str
        Why it did not complete, or how much of its schedule its limit left it; else empty.
    accuracy, log_loss : float or None
        On the validation rows.
    fit_seconds, predict_seconds : float
        Wall-clock time of training, and of predicting the validation rows from their pixels.
    fit_cpu_seconds : float
        Time of all processors that training took.
    embed_seconds : float
        Part of `fit_seconds` that grows with the rows, but not with the epochs: that of a network's frozen part.
    fine_tuned : float
        Validation rows, as a share of the train rows, that a network learnt from once they had scored it; 0 where none.
    peak_memory : int
        Largest resident size of the process, bytes.
    schedule_share : float
        Share of a network's steps that its limit of time left it, above 0 to 1.
    history : mapping of str to list of float
        Learning curves, one entry a step.
    warnings : list of str
        What libraries warned of, each in one line.
    valid_probabilities : float32 ndarray of shape (n_valid, n_classes) or None

    Raises
    ------
    ValueError
        Where the status is none of these or the share is out of range: it was not made by a trial.
    """

    status: str
    reason: str = ""
    accuracy: float | None = None
    log_loss: float | None = None
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    fit_cpu_seconds: float = 0.0
    embed_seconds: float = 0.0
    fine_tuned: float = 0.0
    peak_memory: int = 0
    schedule_share: float = 1.0
    history: Mapping[str, list[float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    valid_probabilities: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.status not in ROW_STATUSES:
            raise ValueError(f"status {self.status!r}: must be one of {', '.join(STATUSES)}")
        check_schedule_share(self.schedule_share)
        object.__setattr__(self, "reason", printable(self.reason))  # whoever wrote it, a terminal and MLflow show it


def check_schedule_share(share: Any) -> None:
    """Refuse a share of a schedule that is no number above 0 and at most 1.

    Raises
    ------
    ValueError
    """
    if not isinstance(share, int | float | np.number) or not 0 < share <= 1:
        raise ValueError(f"schedule_share_ is {share!r}: must be above 0 and at most 1")
