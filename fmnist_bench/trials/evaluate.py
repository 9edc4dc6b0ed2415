"""One trial: fit a Pipeline on the train rows, score it on the validation rows, say how it went."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import parallel_config
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from fmnist_bench._utils import stage_progress
from fmnist_bench._utils.cache import seconds_saved
from fmnist_bench._utils.environment import cores
from fmnist_bench._utils.errors import describe, printable
from fmnist_bench._utils.processes import cpu_seconds, peak_memory
from fmnist_bench.data.dataset import Split
from fmnist_bench.pipeline import Pipeline, takes
from fmnist_bench.storage.lesson import Lesson
from fmnist_bench.storage.results import (
    LAST_STEP,
    NO_WEIGHTS,
    PREPARED,
    Monitor,
    TrialPruned,
    TrialResult,
    check_schedule_share,
)

FEW_ROWS = 1000


def run_trial(
    pipeline: Pipeline,
    X: NDArray[np.uint8],
    y: NDArray[np.int64],
    split: Split,
    monitor: Monitor,
    checkpoint: Path | None = None,
    deadline: float | None = None,
    lesson: Lesson | None = None,
) -> TrialResult:
    """Fit `pipeline` in place on the train rows and score it on the validation rows; an exception becomes a status.

    With a `lesson` it learns from what a teacher says, too, of these rows and of others.
    """
    valid = X[split.validation], y[split.validation]

    def fit() -> None:
        rows, labels, soft = X[split.train], y[split.train], None
        if lesson is not None:
            rows, labels, soft = lesson.added_to(rows, labels)
        how: dict[str, Any] = {"checkpoint": checkpoint, "deadline": deadline, "soft_targets": soft}
        pipeline.fit(rows, labels, valid, monitor, **how)

    return _result_of(fit, lambda: getattr(pipeline, "model_", None), lambda: _scored(pipeline, *valid))


def run_preparation(
    sampler: Any,
    X: NDArray[np.uint8],
    y: NDArray[np.int64],
    split: Split,
    monitor: Monitor,
    deadline: float | None = None,
) -> TrialResult:
    """Let an augmentation learn from the train rows; None is one that has nothing to learn."""

    def fit() -> None:
        if sampler is not None:
            given = {"deadline": deadline} if takes(sampler, "deadline") else {}
            sampler.fit(X[split.train], y[split.train], monitor=monitor, **given)

    return _result_of(fit, lambda: sampler, lambda: TrialResult(PREPARED))


def _result_of(fit: Callable[[], None], learner: Callable[[], Any], score: Callable[[], TrialResult]) -> TrialResult:
    """Fit, then score; however it ends, the result holds what the fit took, and what the learner knows of it."""
    started = time.perf_counter(), cpu_seconds()
    try:
        # Threads for the fit alone: a forest that predicts with several adds up in any order, to other last bits.
        with parallel_config(backend="threading", n_jobs=cores()):
            fit()
        seconds = _since(started)
        seconds["fit_seconds"] += getattr(learner(), "seconds_before_", 0.0)  # in a process that was killed
        result = score()
    except Exception as error:
        result, seconds = ended_by(error), _since(started)
    measured: dict[str, Any] = {"history": _history(learner()), "peak_memory": peak_memory(), **seconds}
    return replace(result, **measured)


def _predict(pipeline: Pipeline, X: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """Return probabilities, and the seconds that they take where no file holds a part of the way already.

    The first prediction of a network builds its graph. For few rows that is most of the time, so a second one is
    measured: what many rows will take is reckoned from it.
    """
    for _ in range(2 if len(X) <= FEW_ROWS else 1):
        started, saved = time.perf_counter(), seconds_saved()
        probabilities = pipeline.predict_proba(X)
        seconds = time.perf_counter() - started + seconds_saved() - saved
    return probabilities, seconds


def _since(started: tuple[float, float]) -> dict[str, float]:
    wall, busy = started
    return {"fit_seconds": time.perf_counter() - wall, "fit_cpu_seconds": cpu_seconds() - busy}


def _scored(pipeline: Pipeline, X: NDArray[np.uint8], y: NDArray[np.int64]) -> TrialResult:
    stage_progress.enter(stage_progress.PREDICTING)
    probabilities, seconds = _predict(pipeline, X)
    share = getattr(pipeline.model_, "schedule_share_", 1.0)
    check_schedule_share(share)
    return TrialResult(
        "complete",
        f"its limit left it {100 * share:.0f} % of its schedule" if share < 0.995 else "",
        accuracy=float((pipeline.classes_[probabilities.argmax(axis=1)] == y).mean()),
        log_loss=float(log_loss(y, _normalized(probabilities), labels=pipeline.classes_)),
        valid_probabilities=probabilities,
        predict_seconds=seconds,
        embed_seconds=float(getattr(pipeline.model_, "embed_seconds_", 0.0)),
        schedule_share=float(share),
    )


def _normalized(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = probabilities.astype(np.float64)  # float32 rows sum to one only nearly
    return np.asarray(exact / exact.sum(axis=1, keepdims=True))


def ended_by(error: Exception) -> TrialResult:
    """Make a result of the exception that ended a trial."""
    if isinstance(error, TrialPruned):
        return TrialResult("pruned", str(error))
    if isinstance(error, MemoryError):
        return TrialResult("out_of_memory", f"MemoryError: {error}")
    # The one word that an error may say of itself: those of other libraries have numbers there, or anything.
    status = NO_WEIGHTS if getattr(error, "status", "") == NO_WEIGHTS else "failed"
    return TrialResult(status, describe(error))


def _history(learner: Any) -> dict[str, list[float]]:
    """Read the learning curves of a model; what a user's class means by that name may be something else."""
    with contextlib.suppress(Exception):
        found = {printable(name): [float(value) for value in values] for name, values in learner.history_.items()}
        if all(0 <= step <= LAST_STEP for step in found.get("step", [])):  # what is no number is no step, either
            return found
    return {}
