"""Further training of a network that has been scored: the rows that were withheld for choosing are given back."""

import time
import traceback
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils import early_end, stage_progress
from fmnist_bench._utils.errors import describe
from fmnist_bench._utils.processes import cpu_seconds
from fmnist_bench.data.dataset import Split
from fmnist_bench.pipeline import Pipeline
from fmnist_bench.storage.lesson import Lesson
from fmnist_bench.storage.results import Monitor, TrialResult
from fmnist_bench.trials.evaluate import run_trial

SHARE, LEAST = 0.4, 5.0  # of the time for a training that fine-tuning has, and seconds that it must have


def end_of_schedule(now: float, end: float) -> float:
    """When a network must have been scored whose training, begun now, may take until `end`.

    Examples
    --------
    >>> end_of_schedule(0.0, 1000.0), end_of_schedule(0.0, 10.0)
    (600.0, 10.0)
    """
    seconds = SHARE * (end - now)
    return end if seconds < LEAST else end - seconds


def run_tuned_trial(
    pipeline: Pipeline,
    X: NDArray[np.uint8],
    y: NDArray[np.int64],
    split: Split,
    monitor: Monitor,
    checkpoint: Path | None = None,
    deadline: float | None = None,
    lesson: Lesson | None = None,
) -> TrialResult:
    """Fit and score a pipeline as `run_trial` does; then fine-tune it, where there is time."""
    end = None if deadline is None else end_of_schedule(time.monotonic(), deadline)
    result = run_trial(pipeline, X, y, split, monitor, checkpoint, end, lesson)
    if deadline is None or end == deadline or result.status != "complete":
        return result
    return fine_tuned(pipeline, X, y, split, result, checkpoint, deadline)


def fine_tuned(
    pipeline: Pipeline,
    X: NDArray[np.uint8],
    y: NDArray[np.int64],
    split: Split,
    result: TrialResult,
    checkpoint: Path | None,
    deadline: float,
) -> TrialResult:
    """Train a pipeline on, in place, on train and validation rows; its scores remain those of before.

    Not where too little time is left, or the run is to end. Where it goes wrong the pipeline stays as it was.
    """
    started = time.monotonic(), cpu_seconds()
    if deadline - started[0] < LEAST / 2 or early_end.is_asked():
        return result
    stage_progress.enter(stage_progress.FINE_TUNING)
    valid = X[split.validation], y[split.validation]
    if checkpoint is not None:
        checkpoint = checkpoint.with_name(f"{checkpoint.stem}-fine-tuning.npz")
    try:
        pipeline.fine_tune(X[split.train], y[split.train], valid, checkpoint, deadline)
    except Exception as error:
        traceback.print_exc()
        warnings.warn(f"fine-tuning failed, the model is the one that was scored: {describe(error)}", stacklevel=1)
        return result
    seconds, busy = time.monotonic() - started[0], cpu_seconds() - started[1]
    return replace(
        result,
        fit_seconds=result.fit_seconds + seconds,
        fit_cpu_seconds=result.fit_cpu_seconds + busy,
        fine_tuned=len(split.validation) / len(split.train),
    )
