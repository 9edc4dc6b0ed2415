"""One trial: fit a Candidate on the fit rows, score it on the valid rows, say how it went."""

import contextlib
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from joblib import parallel_config
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from fmnist_bench import stages
from fmnist_bench.arrays import seconds_saved
from fmnist_bench.candidate import Candidate
from fmnist_bench.data import Split
from fmnist_bench.environment import cores
from fmnist_bench.errors import InputError
from fmnist_bench.probabilities import PredictionError

Monitor = Callable[[int, float], None]
NO_WEIGHTS = "no_weights"  # `status` of an error that says that pretrained weights are missing
PREPARED = "prepared"  # the augmentation of an arm has learnt what it needs for all trials
STATUSES = ("complete", PREPARED, "pruned", "timeout", "out_of_memory", "crashed", "failed", NO_WEIGHTS, "interrupted")
LAST_STEP = 2**53  # above it floats skip whole numbers, which databases then cannot hold
PREPARATION = -1  # number of what is done before the first trial of an arm with an augmentation


class TrialPruned(Exception):
    """Raised by a monitor: the search has seen enough of this trial."""


@dataclass(frozen=True)
class TrialResult:
    """What a trial leaves behind.

    Attributes
    ----------
    status : str
        One of `STATUSES`.
    reason : str
        Why it did not complete, or how much of its schedule its limit left it; else empty.
    accuracy, log_loss : float or None
        On the valid rows.
    fit_seconds, predict_seconds : float
        Wall-clock time of training, and of predicting the valid rows from their pixels.
    fit_cpu_seconds : float
        Time of all processors that training took.
    peak_memory : int
        Largest resident size of the process, bytes.
    schedule_share : float
        Share of a network's steps that its limit of time left it, above 0 to 1.
    history : mapping of str to list of float
        Learning curves, one entry a step.
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
    peak_memory: int = 0
    schedule_share: float = 1.0
    history: Mapping[str, list[float]] = field(default_factory=dict)
    valid_probabilities: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
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


def run_trial(
    candidate: Candidate, X: NDArray[np.uint8], y: NDArray[np.int64], split: Split, monitor: Monitor
) -> TrialResult:
    """Fit `candidate` in place on the fit rows and score it on the valid rows; an exception becomes a status."""
    valid = X[split.valid], y[split.valid]
    started = time.perf_counter(), cpu_seconds()
    try:
        # Threads for the fit alone: a forest that predicts with several adds up in any order, to other last bits.
        with parallel_config(backend="threading", n_jobs=cores()):
            candidate.fit(X[split.fit], y[split.fit], validation_data=valid, monitor=monitor)
        fit = _since(started)
        stages.enter(stages.PREDICTING)
        probabilities, seconds = _predict(candidate, valid[0])
        return _scored(candidate, probabilities, valid[1], {**fit, "predict_seconds": seconds})
    except Exception as error:
        return _incomplete(error, getattr(candidate, "model_", None), started)


def run_preparation(
    sampler: Any, X: NDArray[np.uint8], y: NDArray[np.int64], split: Split, monitor: Monitor
) -> TrialResult:
    """Let an augmentation learn from the fit rows; None is one that has nothing to learn."""
    started = time.perf_counter(), cpu_seconds()
    try:
        with parallel_config(backend="threading", n_jobs=cores()):
            if sampler is not None:
                sampler.fit(X[split.fit], y[split.fit], monitor=monitor)
    except Exception as error:
        return _incomplete(error, sampler, started)
    shared: dict[str, Any] = {"history": _history(sampler), "peak_memory": peak_memory(), **_since(started)}
    return TrialResult(PREPARED, **shared)


def _predict(candidate: Candidate, X: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """Return probabilities, and the seconds that they take where no file holds a part of the way already."""
    started, saved = time.perf_counter(), seconds_saved()
    probabilities = candidate.predict_proba(X)
    return probabilities, time.perf_counter() - started + seconds_saved() - saved


def _since(started: tuple[float, float]) -> dict[str, float]:
    wall, busy = started
    return {"fit_seconds": time.perf_counter() - wall, "fit_cpu_seconds": cpu_seconds() - busy}


def _scored(
    candidate: Candidate, probabilities: NDArray[np.float32], y: NDArray[np.int64], seconds: Mapping[str, float]
) -> TrialResult:
    share = getattr(candidate.model_, "schedule_share_", 1.0)
    check_schedule_share(share)
    return TrialResult(
        "complete",
        f"its limit left it {100 * share:.0f} % of its schedule" if share < 0.995 else "",
        accuracy=float((candidate.classes_[probabilities.argmax(axis=1)] == y).mean()),
        log_loss=float(log_loss(y, _normalized(probabilities), labels=candidate.classes_)),
        valid_probabilities=probabilities,
        history=_history(candidate.model_),
        peak_memory=peak_memory(),
        schedule_share=float(share),
        **seconds,
    )


def _normalized(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = probabilities.astype(np.float64)  # float32 rows sum to one only nearly
    return np.asarray(exact / exact.sum(axis=1, keepdims=True))


def _incomplete(error: Exception, learner: Any, started: tuple[float, float]) -> TrialResult:
    return ended_by(error, history=_history(learner), peak_memory=peak_memory(), **_since(started))


def ended_by(error: Exception, **measured: Any) -> TrialResult:
    """Make a result of the exception that ended a trial; `measured` are further fields of it."""
    if isinstance(error, TrialPruned):
        return TrialResult("pruned", str(error), **measured)
    if isinstance(error, MemoryError):
        return TrialResult("out_of_memory", f"MemoryError: {error}", **measured)
    # The one word that an error may say of itself: those of other libraries have numbers there, or anything.
    status = NO_WEIGHTS if getattr(error, "status", "") == NO_WEIGHTS else "failed"
    return TrialResult(status, describe(error), **measured)


def _history(learner: Any) -> dict[str, list[float]]:
    """Read the learning curves of a model; what a user's class means by that name may be something else."""
    with contextlib.suppress(Exception):
        found = {printable(name): [float(value) for value in values] for name, values in learner.history_.items()}
        if all(0 <= step <= LAST_STEP for step in found.get("step", [])):  # what is no number is no step, either
            return found
    return {}


def describe(error: Exception) -> str:
    """Say in one line what went wrong, and where; what this package says of a user's model needs no place."""
    if isinstance(error, PredictionError | InputError):
        return printable(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    first_line = (printable(error, keep="\n").strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first_line[:300]} ({where.filename.rpartition('/')[2]}, line {where.lineno})"


def printable(text: object, keep: str = "") -> str:
    r"""Make the words of others fit for a terminal and a database: no control characters, no half surrogate pairs.

    Examples
    --------
    >>> printable("two\nlines, a bell \a")
    'two lines, a bell �'
    """
    try:
        letters = str(text)
    except Exception:  # an exception's own, of a class that is not ours
        letters = f"a {type(text).__name__} that cannot be written"
    return "".join(
        c if c.isprintable() or c in keep else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in letters
    )


def cpu_seconds() -> float:
    """Time of all processors that this process and its ended children have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_memory() -> int:
    """Largest resident size of this process so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
