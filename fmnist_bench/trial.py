"""One trial: fit a Candidate on the fit rows, score it on the valid rows, say how it went."""

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

from fmnist_bench.arrays import seconds_saved
from fmnist_bench.candidate import Candidate
from fmnist_bench.data import Split
from fmnist_bench.environment import cores

Monitor = Callable[[int, float], None]
NO_WEIGHTS = "no_weights"  # `status` of an error that says that pretrained weights are missing
PREPARED = "prepared"  # the augmentation of an arm has learnt what it needs for all trials
STATUSES = ("complete", PREPARED, "pruned", "timeout", "out_of_memory", "crashed", "failed", NO_WEIGHTS, "interrupted")
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
        probabilities, seconds = _predict(candidate, valid[0])
    except Exception as error:
        return _incomplete(error, getattr(candidate, "model_", None), started)
    return _scored(candidate, probabilities, valid[1], {**fit, "predict_seconds": seconds})


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
    shared: dict[str, Any] = {"history": _history(candidate.model_), "peak_memory": peak_memory(), **seconds}
    shared["schedule_share"] = float(getattr(candidate.model_, "schedule_share_", 1.0))
    if not np.isfinite(probabilities).all():
        return TrialResult("failed", "the model predicts probabilities that are not finite", **shared)
    share = shared["schedule_share"]
    return TrialResult(
        "complete",
        f"its limit left it {100 * share:.0f} % of its schedule" if share < 0.995 else "",
        accuracy=float((candidate.classes_[probabilities.argmax(axis=1)] == y).mean()),
        log_loss=float(log_loss(y, _normalized(probabilities), labels=candidate.classes_)),
        valid_probabilities=probabilities,
        **shared,
    )


def _normalized(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = probabilities.astype(np.float64)  # float32 rows sum to one only nearly
    return np.asarray(exact / exact.sum(axis=1, keepdims=True))


def _incomplete(error: Exception, learner: Any, started: tuple[float, float]) -> TrialResult:
    shared: dict[str, Any] = {"history": _history(learner), "peak_memory": peak_memory(), **_since(started)}
    if isinstance(error, TrialPruned):
        return TrialResult("pruned", str(error), **shared)
    if isinstance(error, MemoryError):
        return TrialResult("out_of_memory", f"MemoryError: {error}", **shared)
    status = getattr(error, "status", "")  # other libraries' errors have numbers there
    return TrialResult(status if status in STATUSES else "failed", _describe(error), **shared)


def _history(learner: Any) -> dict[str, list[float]]:
    history = getattr(learner, "history_", {})
    return {str(name): [float(value) for value in values] for name, values in history.items()}


def _describe(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    first_line = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first_line[:300]} ({where.filename.rpartition('/')[2]}, line {where.lineno})"


def cpu_seconds() -> float:
    """Time of all processors that this process and its ended children have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_memory() -> int:
    """Largest resident size of this process so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
