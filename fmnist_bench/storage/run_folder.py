"""What happened, as files: the folder of everything, and in it the folder of each run."""

import fcntl
import glob
import json
import math
import os
import shutil
import threading
import time
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.addresses import database_uri
from fmnist_bench._utils.digests import digest_of
from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.files import replacing, write_text
from fmnist_bench._utils.intact import fits, holds
from fmnist_bench.data.dataset import Dataset, Split
from fmnist_bench.storage.results import PREPARATION, TrialResult
from fmnist_bench.storage.trial import RECORD, Trial, best, read_record, trial_fault, withdrawn
from fmnist_bench.storage.trial_folder import (
    FINE_TUNED_PROBABILITIES,
    GENERATOR,
    MODEL,
    PROBABILITIES,
    Rows,
    read_result,
)

STATE, SPLIT, JOURNAL, ORACLES, CHECKPOINTS = "run.json", "split.npz", "optuna.journal", "oracle", "checkpoints"
TRIALS = "trials"  # folder of a folder for each study
ENSEMBLE, MANIFEST = "ensemble", "manifest.json"  # a folder, in an MLflow model, too; and a file in it
LESSONS = "lessons"  # what the ensemble says of the rows that its students learn from, until they have
EXPORT, EXPORT_FACTS = "ensemble.onnx", "ensemble.onnx.json"  # the ensemble as one file, and what is known of it
NEEDED = ("benchmark", "created", "seconds", "studies")  # of what run.json tells
STATE_TYPES = {
    "benchmark": str,
    "created": float,
    "seconds": float,
    "studies": dict[str, str],
    "unlogged": list[list[Any]],
    "networks": list[dict[str, Any]],
    "students": list[str],
    "class_names": list[str],
    "image_shape": list[int],
    "ranges": dict[str, dict[str, list[float]]],
    "scores": dict[str, Any],
    "test_set_opened": int,
    "machine": dict[str, str],
}
FREE_SPACE = 500 * 2**20  # bytes; a run of every family leaves a few hundred MiB


class Store:
    """The folder ``mlruns``: MLflow's database and artifacts, the runs, the caches.

    Parameters
    ----------
    folder : str or Path
        Made if it does not exist.
    writes : bool
        Whether anything is going to be written; else nothing is made or checked.

    Raises
    ------
    InputError
        Where the folder cannot be written or its disk is full.
    """

    def __init__(self, folder: str | Path = "mlruns", writes: bool = True) -> None:
        self.folder = Path(folder).resolve()
        self._checked: dict[Path, tuple[int, ...] | None] = {}  # files that are whole, as they looked then
        self._checking = threading.Lock()
        if writes:
            self._make()

    def _make(self) -> None:
        try:
            for name in ("runs", "cache", "artifacts"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written: {error.strerror}") from error
        if not os.access(self.folder, os.W_OK):
            raise InputError(f"{self.folder}: cannot be written (--mlruns DIR names another folder)")
        if (free := shutil.disk_usage(self.folder).free) < FREE_SPACE:
            raise InputError(f"{self.folder}: {free / 2**20:.0f} MiB free, at least {FREE_SPACE >> 20} MiB are needed")

    @property
    def tracking_uri(self) -> str:
        """Address of MLflow's database."""
        return database_uri(self.folder / "mlflow.db")

    @property
    def cache(self) -> Path:
        """Folder of what can be computed again."""
        return self.folder / "cache"

    def rows_folder(self, fingerprint: str) -> Path:
        """Where `rows` puts the train rows."""
        return self.cache / f"rows-{fingerprint[:16]}"

    def rows(self, dataset: Dataset) -> Rows:
        """Put the train rows where the workers can map them; what others changed or deleted is written again."""
        folder = self.rows_folder(dataset.fingerprint)
        with self._checking:
            folder.mkdir(parents=True, exist_ok=True)
            for name, array in (("X", dataset.X), ("y", dataset.y)):
                path = folder / f"{name}.npy"
                if self._checked.get(path) == (signature := _signature(path)) is not None or holds(path, array):
                    self._checked[path] = signature
                    continue
                with replacing(path) as temporary:
                    np.save(temporary, array, allow_pickle=False)
                self._checked[path] = _signature(path)
        return Rows(folder, dataset.image_shape, tuple(dataset.classes.tolist()))

    def open_run(self, name: str, digest: str, fingerprint: str, fresh: bool = False) -> "Run":
        """Open the newest run of just this benchmark (name and digest) on just these data, or a new one."""
        stem = f"{name}-{digest}-{fingerprint[:8]}"
        numbers = [path.name.rpartition("-")[2] for path in (self.folder / "runs").glob(f"{glob.escape(stem)}-*")]
        last = max((int(number) for number in numbers if number.isdecimal()), default=0)
        number = last + 1 if fresh or not last else last
        return Run(self, self.folder / "runs" / f"{stem}-{number}", name)


class Run:
    """One stored run of a benchmark: a folder with its trials, models, ensemble and report.

    Use it as a context manager: it holds a lock, so that one process alone writes.

    Attributes
    ----------
    folder : Path
    state : dict
        What ``run.json`` holds: seconds spent, identifiers in MLflow, how it was called.
    """

    def __init__(self, store: Store, folder: Path, benchmark: str) -> None:
        self.store, self.folder = store, folder
        self.state: dict[str, Any] = {"benchmark": benchmark, "created": time.time(), "seconds": 0.0, "studies": {}}
        if (folder / STATE).exists():
            self.state = read_state(folder / STATE)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in (self.folder / TRIALS, *self.folder.glob(f"{TRIALS}/*")):
            if path.exists() and not path.is_dir():
                raise InputError(f"{path}: is a file in the place of a folder of trials; move it away")
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise InputError(f"{self.folder}: another process is running this benchmark") from error
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        gone = self._deleted(error) if isinstance(error, Exception) else None
        if [path.name for path in self.folder.glob("*")] == ["lock"]:  # nothing began, such as where MLflow refused
            shutil.rmtree(self.folder)
        self._lock.close()
        if gone is not None:
            raise InputError(f"{gone}: was deleted while it was in use; nothing can go on from it") from error

    def _deleted(self, error: Exception) -> Path | None:
        """Give what somebody has deleted, if that is why an error was raised."""
        if not self.folder.is_dir():
            return self.folder
        file = Path(os.fsdecode(error.filename)) if isinstance(error, FileNotFoundError) and error.filename else None
        return file if file is not None and file.is_relative_to(self.folder) else None

    def save_state(self, **changes: Any) -> None:
        """Change `state` and write it."""
        self.state.update(changes)
        write_text(self.folder / STATE, json.dumps(self.state, indent=1) + "\n")

    @property
    def journal(self) -> Path:
        """File of the Optuna storage."""
        return self.folder / JOURNAL

    def oracle_file(self, study: str) -> Path:
        """What the oracle of a study knows, where KerasTuner searches it."""
        return self.folder / ORACLES / f"{study}.json"

    @property
    def ensemble_folder(self) -> Path:
        """Where the ensemble is saved."""
        return self.folder / ENSEMBLE

    def trial_folder(self, study: str, number: int) -> Path:
        """Where the result of a trial is, or will be."""
        return self.folder / TRIALS / study / str(number)

    def model_file(self, study: str, number: int) -> Path:
        """Saved model of a trial; it exists while the trial is among the best of its study."""
        return self.trial_folder(study, number) / MODEL

    def model_sizes(self) -> list[int]:
        """Bytes of each model that is kept."""
        return [path.stat().st_size for path in self.folder.glob(f"trials/*/*/{MODEL}")]

    def generator_file(self, study: str) -> Path | None:
        """What the augmentation of a study has learnt, None where there is nothing."""
        path = self.trial_folder(study, PREPARATION) / GENERATOR
        return path if path.exists() else None

    def checkpoint_file(self, trial: Trial) -> Path:
        """Where a training is saved while it goes on: the same file for a network that goes on after a kill."""
        (folder := self.folder / CHECKPOINTS).mkdir(exist_ok=True)
        return folder / f"{trial.study}-{digest_of(f'{sorted(trial.parameters.items())} {trial.rung}')[:12]}.npz"

    def delete_checkpoint(self, trial: Trial) -> None:
        """Delete it, and what a kill has left of one that was being written."""
        path = self.checkpoint_file(trial)
        for file in path.parent.glob(f"*{glob.escape(path.stem)}*"):
            file.unlink(missing_ok=True)

    def valid_probabilities(self, study: str, number: int) -> NDArray[np.float32]:
        """Validation probabilities of a complete trial, of shape (n_valid, n_classes)."""
        probabilities: NDArray[np.float32] = np.load(
            self.trial_folder(study, number) / PROBABILITIES, allow_pickle=False
        )
        return probabilities

    def probabilities_of_model(self, study: str, number: int, n: int) -> NDArray[np.float32]:
        """What the saved model of a complete trial gives the first `n` validation rows, of shape (n, n_classes).

        After fine-tuning the model is another one than that which the trial's validation probabilities are of.
        """
        after = self.trial_folder(study, number) / FINE_TUNED_PROBABILITIES
        if not after.exists():
            return self.valid_probabilities(study, number)[:n]
        probabilities: NDArray[np.float32] = np.load(after, allow_pickle=False)
        return probabilities[:n]

    def record(self, study: str, number: int) -> Trial | None:
        """Record of one trial, None if it has not ended."""
        return read_record(self.trial_folder(study, number))

    def records(self, study: str) -> list[Trial]:
        """Every trial of a study that has ended, by their numbers; before them, what was learnt for all of them."""
        names = [path.name for path in (self.folder / TRIALS / study).glob("*")]
        numbers = sorted(int(name) for name in names if name.isdigit() or name == str(PREPARATION))
        return [record for number in numbers if (record := self.record(study, number)) is not None]

    def lacks_record(self, study: str, number: int) -> bool:
        """Whether a trial has a folder, thus came to an end, but no record that can be read."""
        return self.trial_folder(study, number).is_dir() and self.record(study, number) is None

    def next_number(self, study: str) -> int:
        """Number above that of every trial that has left a folder."""
        names = [path.name for path in (self.folder / TRIALS / study).glob("*")]
        return 1 + max((int(name) for name in names if name.isdecimal()), default=-1)

    def save_record(self, record: Trial) -> None:
        """Write the record of a trial into its folder."""
        folder = self.trial_folder(record.study, record.number)
        folder.mkdir(parents=True, exist_ok=True)
        bare = replace(record, result=replace(record.result, valid_probabilities=None), started=0.0)
        write_text(folder / RECORD, json.dumps(asdict(bare), indent=1) + "\n")

    def withdraw_damaged(self, study: str, per_study: int) -> list[Trial]:
        """Make complete trials whose files cannot be used `interrupted` ones; give their new records.

        The reason says what is wrong, and like that of every interrupted trial their parameters are asked again. Of
        models those of the `per_study` best are needed.
        """
        y, records = self.y_valid(), self.records(study)
        faults = {r.number: fault for r in records if (fault := trial_fault(self.trial_folder(study, r.number), r, y))}
        for record in best((r for r in records if r.number not in faults), per_study):
            if not self.model_file(study, record.number).is_file():
                faults[record.number] = f"{MODEL} is missing"
        ended = [withdrawn(record, faults[record.number]) for record in records if record.number in faults]
        for record in ended:
            self.save_record(record)
        return ended

    def result(self, study: str, number: int) -> TrialResult | None:
        """Result of a trial whose worker came to its end."""
        return read_result(self.trial_folder(study, number))

    def cached_dataset(self) -> Dataset:
        """Give the train rows of a run whose data somebody gave as arrays, from the cache.

        Raises
        ------
        InputError
            Where they are not there any more.
        """
        state, folder = self.state, self.store.rows_folder(self.state["fingerprint"])
        shape, names = tuple(state["image_shape"]), tuple(state["class_names"])
        try:
            X, y = Rows(folder, shape, ()).load()
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{folder}: the rows of {self.folder} are lost; run it anew") from error
        classes = np.array(state["classes"])
        return Dataset(state["data"], X, y, classes, shape, names, state["fingerprint"], in_memory=True)

    def save_split(self, split: Split, y: NDArray[np.int64]) -> None:
        """Write the numbers of train and validation rows, and the labels of the validation rows."""
        with replacing(self.folder / SPLIT) as temporary:
            np.savez(temporary, train=split.train, validation=split.validation, y_validation=y[split.validation])

    def y_valid(self) -> NDArray[np.int64]:
        """Labels of the validation rows, of shape (n_valid,)."""
        return read_split(self.folder, "y_validation")


def read_state(path: Path) -> dict[str, Any]:
    """Read a ``run.json``.

    Raises
    ------
    InputError
        Where it is not one that a run wrote.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        whole = all(key in state for key in NEEDED) and all(fits(STATE_TYPES.get(k, Any), v) for k, v in state.items())
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole or not 0 <= state["seconds"] < math.inf:
        raise InputError(f"{path}: is damaged; move the folder away and begin anew")
    return dict(state)


def read_split(folder: Path, name: str) -> NDArray[np.int64]:
    """Read one of the arrays that `Run.save_split` wrote for the run in `folder`: fit, valid, or y_valid."""
    try:
        with np.load(folder / SPLIT, allow_pickle=False) as arrays:
            return np.asarray(arrays[name])
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder / SPLIT}: is missing or damaged; running the benchmark writes it again") from error


def _signature(path: Path) -> tuple[int, ...] | None:
    """Number, size and time of a file, which change when it is written; None if there is no file."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_size, seen.st_mtime_ns
