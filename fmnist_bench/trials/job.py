"""What runs inside a worker process: one trial."""

import os
import queue
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from fmnist_bench._utils import early_end, stage_progress
from fmnist_bench._utils.environment import cores
from fmnist_bench._utils.errors import one_line, printable
from fmnist_bench.config.fidelity import ROWS
from fmnist_bench.config.study import Study
from fmnist_bench.data.dataset import Split
from fmnist_bench.data.image_files import write_grid
from fmnist_bench.models.saved import forget_places, set_places
from fmnist_bench.pipeline import tell_image_shape
from fmnist_bench.storage.lesson import read_lesson
from fmnist_bench.storage.results import LAST_STEP, PREPARATION, PREPARED, Monitor, TrialPruned, TrialResult
from fmnist_bench.storage.trial import Trial
from fmnist_bench.storage.trial_folder import (
    GENERATOR,
    LOG,
    MODEL,
    PROBABILITIES,
    SAMPLES,
    Rows,
    unfinished,
    write_result,
)
from fmnist_bench.trials.evaluate import ended_by, run_preparation, run_trial
from fmnist_bench.trials.fine_tuning import end_of_schedule, fine_tuned
from fmnist_bench.trials.model_check import CHECKED_ROWS, save_checked

STEPS_A_GRID, ROWS_A_GRID = 1000, 8
ANSWER, FINISH = "answer", "finish"  # what a worker is told: whether to prune, and when its training must be over
DONE = None  # the last word of a worker: all that it was to write is there
MOST_WARNINGS = 10  # that are kept of a trial; its log has all
MARGIN, LEAST_MARGIN, MOST_MARGIN = 0.01, 5.0, 30.0  # part of the limit, then seconds: see `time_to_fit`


@dataclass(frozen=True)
class Job:
    """All that a worker needs to run one trial.

    Attributes
    ----------
    trial : Trial
        Its parameters and fidelity, and when the schedule of its network ends.
    folder : Path
        Where the result goes; it appears whole or not at all.
    seconds : float or None
        Wall-clock limit.
    deadline : float or None
        When that limit ends, by ``time.monotonic()`` of the machine that runs it; set when its process is started.
    memory : int or None
        Limit of the resident size of the process and its children, bytes.
    stall : float or None
        Seconds without a report and without work of the processor after which it counts as hung.
    cpus : tuple of int
        Numbers of the cores that it may use; empty for all.
    resources : mapping of str to float
        What a machine of a cluster must offer.
    weights_dir : str or None
        Folder with files of pretrained weights.
    generator : Path or None
        What the study's augmentation has learnt already.
    checkpoint : Path or None
        File that a long training is saved to, and goes on from after a kill.
    lesson : Path or None
        File of what a teacher says of the train rows, see `storage.lesson`.
    fine_tune : bool
        Whether the network, once it is scored, is trained on with the validation rows as well.
    """

    study: Study
    trial: Trial
    rows: Rows
    split: Split
    seed: int
    folder: Path
    cache_dir: Path
    seconds: float | None = None
    deadline: float | None = None
    memory: int | None = None
    stall: float | None = None
    cpus: tuple[int, ...] = ()
    resources: Mapping[str, float] = field(default_factory=dict)
    allow_import: tuple[str, ...] = ()
    weights_dir: str | None = None
    generator: Path | None = None
    checkpoint: Path | None = None
    lesson: Path | None = None
    fine_tune: bool = False


def work(job: Job, connection: Connection) -> None:
    """Run a trial; its folder appears whole or not at all."""
    os.setpgrp()
    take_cores(job.cpus)
    folder = unfinished(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    _redirect_output(folder / LOG)
    warned = _note_warnings()
    write_result(replace(_outcome(job, folder, _monitor_over(connection)), warnings=warned), folder)
    os.replace(folder, job.folder)
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(DONE)  # a process of joblib or the like that idles keeps this one from its end


def _outcome(job: Job, folder: Path, monitor: Monitor) -> TrialResult:
    """Run what was asked for; what goes wrong around the fit is a result like what goes wrong in it."""
    try:
        return _prepare(job, folder, monitor) if job.trial.number == PREPARATION else _run(job, folder, monitor)
    except Exception as error:
        traceback.print_exc()
        return ended_by(error)


def _run(job: Job, folder: Path, monitor: Monitor) -> TrialResult:
    parameters = job.trial.settings
    share = parameters.pop(ROWS, 1.0)
    pipeline = job.study.pipeline(parameters, job.allow_import, _facts(job))
    images, y = job.rows.images()
    split = job.split if share == 1 else job.split.part(share, y, job.seed)
    lesson = None if job.lesson is None else read_lesson(job.lesson)
    end = _end_of_fit(job)
    tunes = job.fine_tune and end is not None and hasattr(pipeline, "fine_tune")
    scored_by = end_of_schedule(time.monotonic(), end) if tunes and end is not None else end
    result = run_trial(pipeline, images, y, split, monitor, job.checkpoint, scored_by, lesson)
    if (probabilities := result.valid_probabilities) is None:
        return result
    pipeline.classes_ = np.asarray(job.rows.classes)[pipeline.classes_]  # it learnt codes, it answers labels
    places = forget_places(pipeline)
    checked = images[split.validation[:CHECKED_ROWS]]
    if fault := save_checked(pipeline, folder / MODEL, checked, probabilities[: len(checked)], job.allow_import):
        return replace(result, status="failed", reason=fault, accuracy=None, log_loss=None)
    np.save(folder / PROBABILITIES, probabilities, allow_pickle=False)
    if end is None or scored_by == end:
        return result
    write_result(result, folder)  # whatever becomes of the process now, this is whole
    set_places(places)
    return fine_tuned(pipeline, images, y, split, result, folder, job.checkpoint, end, job.allow_import)


def _prepare(job: Job, folder: Path, monitor: Monitor) -> TrialResult:
    sampler = job.study.learner(job.allow_import, _facts(job))
    if sampler is not None:  # it learns from rows, as it is given them in a trial's pipeline
        tell_image_shape(sampler, job.rows.image_shape)

    def watch(step: int, score: float) -> None:
        if step % STEPS_A_GRID == 0:
            _draw(sampler, job, folder / SAMPLES.replace("*", f"{step:05d}"))
        monitor(step, score)

    result = run_preparation(sampler, *job.rows.load(), job.split, watch, _end_of_fit(job))
    if result.status == PREPARED and sampler is not None:
        sampler.save(folder / GENERATOR)
    return result


def _draw(sampler: Any, job: Job, path: Path) -> None:
    """Write some synthetic images of each class, a column each."""
    labels = np.tile(sampler.classes_, ROWS_A_GRID)
    rows, _ = sampler.sample(len(labels), labels, random_state=job.seed)
    write_grid(rows, job.rows.image_shape, len(sampler.classes_), path)


def take_cores(cpus: tuple[int, ...]) -> None:
    """Pin this process to cores: TensorFlow and joblib respect that, OpenMP and BLAS get it through threadpoolctl."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)
    n = len(cpus) or cores()
    if any(pool["num_threads"] != n for pool in threadpool_info()):  # telling OpenBLAS starts threads that spin
        threadpool_limits(n)


def _facts(job: Job) -> dict[str, Any]:
    """Give what a study does not say, as arguments of its classes."""
    facts = {"random_state": job.seed, "cache_dir": str(job.cache_dir), "weights_dir": job.weights_dir}
    return facts if job.generator is None else {**facts, "generator": str(job.generator)}


def _end_of_fit(job: Job) -> float | None:
    """When a fit that begins now must be over, by ``time.monotonic()``; None where nothing limits it."""
    now, limit = time.monotonic(), job.trial.limit
    ends = [] if job.deadline is None else [now + time_to_fit(job.deadline - now)]
    return min([*ends, *([] if limit is None else [now + limit])], default=None)


def time_to_fit(left: float) -> float:
    """Give the seconds to fit, of those that are left of a trial's limit: the others are for saving the model.

    Examples
    --------
    >>> time_to_fit(100.0), time_to_fit(6000.0)
    (95.0, 5970.0)
    """
    return max(left - min(max(MARGIN * left, LEAST_MARGIN), MOST_MARGIN), 1.0)


def _redirect_output(path: Path) -> None:
    """Send what the trial and its libraries print to a file, C code included."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)


def _note_warnings() -> list[str]:
    """Note what libraries warn of from now on, each warning once, and let it go on into the log."""
    noted: list[str] = []
    show = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        show(message, category, *where, **more)
        text = printable(one_line(f"{category.__name__}: {message}"))
        if text not in noted and len(noted) < MOST_WARNINGS:
            noted.append(text)

    warnings.showwarning = note
    return noted


def _monitor_over(connection: Connection) -> Monitor:
    """Send steps and wait for the answers, and stages, which nobody answers."""
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def listen() -> None:
        # Ends the worker when the coordinator is gone: a trial that nobody waits for must not go on.
        try:
            while True:
                what, value = connection.recv()
                if what == ANSWER:
                    answers.put(value)
                else:
                    early_end.ask(value)
        except (EOFError, OSError):
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=listen, daemon=True).start()

    speaking = threading.Lock()  # a computation may go on in several threads

    def say(what: int | str, value: float) -> None:
        with speaking:
            connection.send((printable(what) if isinstance(what, str) else what, float(value)))

    stage_progress.listen(say)

    def monitor(step: int, score: float) -> None:
        if (whole := int(step)) != step or not 0 <= whole <= LAST_STEP:  # Optuna and MLflow take no other
            raise ValueError(f"monitor: step {step!r} must be a whole number, at least 0 and at most {LAST_STEP}")
        say(whole, score)
        if answers.get():
            raise TrialPruned(f"pruned at step {step} with score {score:.4f}")

    return monitor
