"""What happened, as files: the folder of everything, and in it the folder of each run."""

import contextlib
import fcntl
import glob
import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fmnist_bench.addresses import database_uri
from fmnist_bench.data import Dataset, Split
from fmnist_bench.errors import InputError
from fmnist_bench.job import GENERATOR, MODEL, PROBABILITIES, Rows, read_result
from fmnist_bench.study import Benchmark
from fmnist_bench.trial import PREPARATION, TrialResult

STATE, RECORD, SPLIT = "run.json", "trial.json", "split.npz"
FREE_SPACE = 500 * 2**20  # bytes; a run of every family leaves a few hundred MiB


@dataclass(frozen=True)
class TrialRecord:
    """One trial that has ended: what was asked, how it went, when.

    Attributes
    ----------
    known : str
        Name of the known configuration; empty for parameters that Optuna chose.
    seconds : float
        Wall-clock time from its start to its end, start of the worker included.
    ended : float
        Seconds since the run began.
    rung : int
        Of the ladder of fidelities, from 0.
    fidelity : dict
        What the rung set: arguments under their full names, or the share of the fit ``rows``.
    """

    arm: str
    number: int
    parameters: dict[str, Any]
    known: str
    result: TrialResult
    seconds: float
    ended: float
    rung: int = 0
    fidelity: dict[str, Any] = field(default_factory=dict)

    @property
    def whole_seconds(self) -> float:
        """What it would have taken had its limit not compressed its schedule, seconds."""
        return self.seconds + self.result.fit_seconds * (1 / self.result.schedule_share - 1)


def best(records: Iterable[TrialRecord], n: int) -> list[TrialRecord]:
    """Give the `n` best complete trials, best first: by accuracy, then by log loss, then the earlier one."""
    complete = [record for record in records if record.result.status == "complete"]
    return sorted(complete, key=lambda r: (-(r.result.accuracy or 0), r.result.log_loss, r.number))[:n]


class Store:
    """The folder ``mlruns``: MLflow's database and artifacts, the runs, the caches.

    Parameters
    ----------
    folder : str or Path
        Made if it does not exist.

    Raises
    ------
    InputError
        Where the folder cannot be written or its disk is full.
    """

    def __init__(self, folder: str | Path = "mlruns") -> None:
        self.folder = Path(folder).resolve()
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

    def rows(self, dataset: Dataset) -> Rows:
        """Put the training rows where the workers can map them."""
        folder = self.cache / f"rows-{dataset.fingerprint[:16]}"
        folder.mkdir(exist_ok=True)
        for name, array in (("X", dataset.X), ("y", dataset.y)):
            if not (folder / f"{name}.npy").exists():
                temporary = folder / f".{name}.{os.getpid()}.tmp.npy"  # another benchmark may be at it, too
                np.save(temporary, array, allow_pickle=False)
                os.replace(temporary, folder / f"{name}.npy")
        return Rows(folder, dataset.image_shape, tuple(dataset.classes.tolist()))

    def open_run(self, benchmark: Benchmark, fingerprint: str, fresh: bool = False) -> "Run":
        """Open the newest run of just this benchmark on just these data, or a new one."""
        stem = f"{benchmark.name}-{benchmark.digest()}-{fingerprint[:8]}"
        numbers = [path.name.rpartition("-")[2] for path in (self.folder / "runs").glob(f"{glob.escape(stem)}-*")]
        last = max((int(number) for number in numbers if number.isdecimal()), default=0)
        number = last + 1 if fresh or not last else last
        return Run(self, self.folder / "runs" / f"{stem}-{number}", benchmark.name)

    def latest_run(self, name: str = "") -> "Run":
        """Open the run that was written last: of the benchmark `name`, or of any.

        Raises
        ------
        InputError
            Where there is none.
        """
        whose = {}
        for path in self.folder.glob(f"runs/*/{STATE}"):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # `doctor` names one that is damaged
                whose[path] = json.loads(path.read_text())["benchmark"]
        own = [path for path in whose if not name or whose[path] == name]
        if not own:
            said = f"run of {name}; python -m fmnist_bench run {name} makes one" if name else "run"
            raise InputError(f"{self.folder}: holds no {said}")
        newest = max(own, key=lambda path: path.stat().st_mtime)
        return Run(self, newest.parent, whose[newest])


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
        self.state: dict[str, Any] = {"benchmark": benchmark, "created": time.time(), "seconds": 0.0, "arms": {}}
        if (folder / STATE).exists():
            try:
                self.state = json.loads((folder / STATE).read_text())
            except ValueError as error:
                raise InputError(f"{folder / STATE}: is damaged; move the folder away and begin anew") from error

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise InputError(f"{self.folder}: another process is running this benchmark") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def save_state(self, **changes: Any) -> None:
        """Change `state` and write it."""
        self.state.update(changes)
        write_text(self.folder / STATE, json.dumps(self.state, indent=1) + "\n")

    @property
    def journal(self) -> Path:
        """File of the Optuna storage."""
        return self.folder / "optuna.journal"

    def oracle_file(self, arm: str) -> Path:
        """What the oracle of an arm knows, where KerasTuner searches it."""
        return self.folder / "oracle" / f"{arm}.json"

    @property
    def ensemble_folder(self) -> Path:
        """Where the ensemble is saved."""
        return self.folder / "ensemble"

    def trial_folder(self, arm: str, number: int) -> Path:
        """Where the result of a trial is, or will be."""
        return self.folder / "trials" / arm / str(number)

    def model_file(self, arm: str, number: int) -> Path:
        """Saved model of a trial; it exists while the trial is among the best of its arm."""
        return self.trial_folder(arm, number) / MODEL

    def generator_file(self, arm: str) -> Path | None:
        """What the augmentation of an arm has learnt, None where there is nothing."""
        path = self.trial_folder(arm, PREPARATION) / GENERATOR
        return path if path.exists() else None

    def valid_probabilities(self, arm: str, number: int) -> NDArray[np.float32]:
        """Valid probabilities of a complete trial, of shape (n_valid, n_classes)."""
        probabilities: NDArray[np.float32] = np.load(self.trial_folder(arm, number) / PROBABILITIES, allow_pickle=False)
        return probabilities

    def record(self, arm: str, number: int) -> "TrialRecord | None":
        """Record of one trial, None if it has not ended."""
        try:
            content = json.loads((self.trial_folder(arm, number) / RECORD).read_text())
            return TrialRecord(**{**content, "result": TrialResult(**content["result"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def records(self, arm: str) -> list["TrialRecord"]:
        """Every trial of an arm that has ended, by their numbers; before them, what was learnt for all of them."""
        names = [path.name for path in (self.folder / "trials" / arm).glob("*")]
        numbers = sorted(int(name) for name in names if name.isdigit() or name == str(PREPARATION))
        return [record for number in numbers if (record := self.record(arm, number)) is not None]

    def lacks_record(self, arm: str, number: int) -> bool:
        """Whether a trial has a folder, thus came to an end, but no record that can be read."""
        return self.trial_folder(arm, number).is_dir() and self.record(arm, number) is None

    def next_number(self, arm: str) -> int:
        """Number above that of every trial that has left a folder."""
        names = [path.name for path in (self.folder / "trials" / arm).glob("*")]
        return 1 + max((int(name) for name in names if name.isdecimal()), default=-1)

    def save_record(self, record: "TrialRecord") -> None:
        """Write the record of a trial into its folder."""
        folder = self.trial_folder(record.arm, record.number)
        folder.mkdir(parents=True, exist_ok=True)
        bare = replace(record, result=replace(record.result, valid_probabilities=None))
        write_text(folder / RECORD, json.dumps(asdict(bare), indent=1) + "\n")

    def result(self, arm: str, number: int) -> TrialResult | None:
        """Result of a trial whose worker came to its end."""
        return read_result(self.trial_folder(arm, number))

    def save_split(self, split: Split, y: NDArray[np.int64]) -> None:
        """Write the row numbers of fit and valid, and the labels of the valid rows."""
        temporary = self.folder / "split.tmp.npz"
        np.savez(temporary, fit=split.fit, valid=split.valid, y_valid=y[split.valid])
        os.replace(temporary, self.folder / SPLIT)

    def y_valid(self) -> NDArray[np.int64]:
        """Labels of the valid rows, of shape (n_valid,)."""
        with np.load(self.folder / SPLIT, allow_pickle=False) as arrays:
            return np.asarray(arrays["y_valid"])


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
