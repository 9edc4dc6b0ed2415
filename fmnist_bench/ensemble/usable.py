"""Which trials can be used at the end of a run: one that cannot is given up with its reason, and the end goes on."""

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.environment import cores
from fmnist_bench._utils.errors import PredictionError, printable
from fmnist_bench._utils.probabilities import check_probabilities
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.storage.trial import RECORD, Trial, trial_fault
from fmnist_bench.storage.trial_folder import FINE_TUNED_PROBABILITIES
from fmnist_bench.trials.process import answer_of_worker
from fmnist_bench.trials.questions import check_model

Key = tuple[str, int]  # study and number of a trial
Say = Callable[[str], None]
CHECK_SECONDS = 300.0  # for a model to be loaded and to predict a few rows


def given_up(run: Run) -> dict[Key, str]:
    """Trials that the end of the run gave up, and why."""
    return {(study, int(number)): str(reason) for study, number, reason in run.state.get("given_up", ())}


def give_up(run: Run, faults: Mapping[Key, str], say: Say) -> None:
    """Write down that these trials cannot be used, and say so."""
    for (study, number), reason in faults.items():
        say(f"{study} trial {number} is given up: {printable(reason)}")
    found = {**given_up(run), **faults}
    run.save_state(given_up=[[*key, printable(reason)] for key, reason in found.items()])


def records_left(run: Run, study: str) -> list[Trial]:
    """Records of a study as the end of the run sees them: a trial that was given up has failed."""
    gone = given_up(run)
    return [_failed(r, gone[key]) if (key := (study, r.number)) in gone else r for r in run.records(study)]


def _failed(record: Trial, reason: str) -> Trial:
    return replace(record, result=replace(record.result, status="failed", reason=f"given up at the end: {reason}"))


def faults_of_files(run: Run, keys: Iterable[Key], n_classes: int) -> dict[Key, str]:
    """Say which trials' own files are missing or damaged, and how; the models are not looked at."""
    y = run.y_valid()
    found = {key: _fault_of_files(run, key, y, n_classes) for key in keys}
    return {key: fault for key, fault in found.items() if fault}


def _fault_of_files(run: Run, key: Key, y: NDArray[np.int64], n_classes: int) -> str:
    if (record := run.record(*key)) is None:
        return f"{RECORD} is missing or damaged"
    if fault := trial_fault(run.trial_folder(*key), record, y):
        return fault
    try:
        check_probabilities(run.valid_probabilities(*key), len(y), n_classes)
    except PredictionError as error:  # of an earlier version, which did not look at them in the trial
        return str(error)
    return _fault_of_fine_tuning(run.trial_folder(*key) / FINE_TUNED_PROBABILITIES) if record.result.fine_tuned else ""


def _fault_of_fine_tuning(path: Path) -> str:
    """Say what is wrong with what a model gave after fine-tuning, which tells whether it is still the same."""
    with contextlib.suppress(OSError, EOFError, ValueError):
        if np.load(path, allow_pickle=False).ndim == 2:
            return ""
    return f"{path.name} is missing or damaged"


def faults_of_models(run: Run, keys: Collection[Key], X: NDArray[Any], allow_import: Sequence[str]) -> dict[Key, str]:
    """Load saved models, each in a worker, let them predict a few validation rows again, and say which cannot.

    Parameters
    ----------
    run : Run
    keys : collection of (str, int)
        Trials whose validation probabilities are whole.
    X : ndarray of shape (n, n_pixels)
        The first validation rows.
    allow_import : sequence of str
        Prefixes of further types that the models may be made of.
    """

    def fault(key: Key) -> str:
        before = run.probabilities_of_model(*key, len(X))
        argument = run.model_file(*key), X, before, tuple(allow_import)
        return str(answer_of_worker(check_model, argument, CHECK_SECONDS))

    with ThreadPoolExecutor(cores()) as threads:
        found = dict(zip(keys, threads.map(fault, keys), strict=True))
    return {key: reason for key, reason in found.items() if reason}
