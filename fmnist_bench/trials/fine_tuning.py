"""Further training of a network that has been scored: the rows that were withheld for choosing are given back."""

import os
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils import early_end, stage_progress
from fmnist_bench._utils.errors import describe
from fmnist_bench._utils.processes import cpu_seconds, peak_memory
from fmnist_bench.data.dataset import Split
from fmnist_bench.models.saved import forget_places
from fmnist_bench.pipeline import Pipeline
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial_folder import FINE_TUNED_PROBABILITIES, MODEL
from fmnist_bench.trials.model_check import CHECKED_ROWS, save_checked

SHARE, LEAST = 0.4, 5.0  # of the time for a training that fine-tuning has, and seconds that it must have
LATE = 1.2  # times what predicting the validation rows took, to predict them again
Pair = tuple[NDArray[np.uint8], NDArray[np.int64]]  # images and codes


def end_of_schedule(now: float, end: float) -> float:
    """When a network must have been scored whose training, begun now, may take until `end`.

    Examples
    --------
    >>> end_of_schedule(0.0, 1000.0), end_of_schedule(0.0, 10.0)
    (600.0, 10.0)
    """
    seconds = SHARE * (end - now)
    return end if seconds < LEAST else end - seconds


def fine_tuned(
    pipeline: Pipeline,
    X: NDArray[np.uint8],
    y: NDArray[np.int64],
    split: Split,
    result: TrialResult,
    folder: Path,
    checkpoint: Path | None,
    deadline: float,
    allow_import: Sequence[str] = (),
) -> TrialResult:
    """Train a pipeline that was scored and saved on, on train and validation rows; its scores remain those of before.

    The new model takes the place of the saved one in the `folder` of its trial. Where too little time is left, the run
    is to end, or anything goes wrong, that one stays.
    """
    if deadline - time.monotonic() < LEAST / 2 or early_end.is_asked():
        return result
    started, (train, valid) = (time.monotonic(), cpu_seconds()), (split.train, split.validation)
    try:
        _train_on(pipeline, (X[train], y[train]), (X[valid], y[valid]), result, checkpoint, deadline)
        _save(pipeline, folder, X[valid[:CHECKED_ROWS]], allow_import)
    except Exception as error:
        traceback.print_exc()
        warnings.warn(f"fine-tuning failed: {describe(error)}; the model is the one that was scored", stacklevel=1)
        return result
    return replace(
        result,
        fit_seconds=result.fit_seconds + time.monotonic() - started[0],
        fit_cpu_seconds=result.fit_cpu_seconds + cpu_seconds() - started[1],
        peak_memory=max(result.peak_memory, peak_memory()),
        fine_tuned=len(valid) / len(train),
    )


def _train_on(
    pipeline: Pipeline, train: Pair, valid: Pair, result: TrialResult, checkpoint: Path | None, deadline: float
) -> None:
    """Fine-tune, and see that the rows that it has learnt from by now are predicted no worse than before."""
    stage_progress.enter(stage_progress.FINE_TUNING)
    if checkpoint is not None:
        checkpoint = checkpoint.with_name(f"{checkpoint.stem}-fine-tuning.npz")
    pipeline.fine_tune(*train, valid, checkpoint, deadline - LATE * result.predict_seconds)
    accuracy = float((pipeline.predict_proba(valid[0]).argmax(axis=1) == valid[1]).mean())
    if accuracy < (result.accuracy or 0.0):
        raise ValueError(
            f"it predicts the rows that it learnt from worse: {accuracy:.4f}, before {result.accuracy:.4f}"
        )


def _save(pipeline: Pipeline, folder: Path, X: NDArray[np.uint8], allow_import: Sequence[str]) -> None:
    """Put the model into the place of the saved one, and beside it what it predicts for a few rows."""
    forget_places(pipeline)
    probabilities, path = pipeline.predict_proba(X), folder / f"fine-tuned-{MODEL}"
    if fault := save_checked(pipeline, path, X, probabilities, allow_import):
        raise ValueError(fault)
    np.save(folder / FINE_TUNED_PROBABILITIES, probabilities, allow_pickle=False)
    os.replace(path, folder / MODEL)
