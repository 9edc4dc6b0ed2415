"""What happened: the folder of a run, and its image in MLflow. The only importer of mlflow."""

import fcntl
import json
import logging
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlparse

import numpy as np
from numpy.typing import NDArray

from fmnist_bench.config import Benchmark
from fmnist_bench.data import Dataset, Split
from fmnist_bench.ensemble import link_or_copy
from fmnist_bench.errors import InputError
from fmnist_bench.trial import TrialResult
from fmnist_bench.worker import LOG, MODEL, PROBABILITIES, Rows, read_result

STATE, RECORD, SPLIT = "run.json", "trial.json", "split.npz"
FREE_SPACE = 500 * 2**20  # bytes; a run of every family leaves a few hundred MiB
METRICS_A_BATCH = 1000  # MLflow's limit
MLFLOW_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "interrupted": "KILLED"}


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
    """

    arm: str
    number: int
    parameters: dict[str, Any]
    known: str
    result: TrialResult
    seconds: float
    ended: float


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
        return f"sqlite:///{self.folder / 'mlflow.db'}"

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
                np.save(folder / f".{name}.tmp.npy", array, allow_pickle=False)
                os.replace(folder / f".{name}.tmp.npy", folder / f"{name}.npy")
        return Rows(folder, dataset.image_shape)

    def open_run(self, benchmark: Benchmark, fingerprint: str, fresh: bool = False) -> "Run":
        """Open the newest run of just this benchmark on just these data, or a new one."""
        stem = f"{benchmark.name}-{benchmark.digest()}-{fingerprint[:8]}"
        numbers = [int(path.name.rpartition("-")[2]) for path in (self.folder / "runs").glob(f"{stem}-*")]
        last = max(numbers, default=0)
        number = last + 1 if fresh or not last else last
        return Run(self, self.folder / "runs" / f"{stem}-{number}", benchmark.name)

    def latest_run(self, name: str) -> "Run":
        """Open the run of the benchmark `name` that was written last.

        Raises
        ------
        InputError
            Where there is none.
        """
        folders = {path.parent: path.stat().st_mtime for path in self.folder.glob(f"runs/*/{STATE}")}
        own = {f: t for f, t in folders.items() if json.loads((f / STATE).read_text())["benchmark"] == name}
        if not own:
            raise InputError(f"{self.folder}: holds no run of {name}; python -m fmnist_bench run {name} makes one")
        return Run(self, max(own, key=own.__getitem__), name)


class Run:
    """One stored run of a benchmark: trials, models, ensemble and report in a folder, and their image in MLflow.

    Use it as a context manager: it holds a lock, so that one process alone writes.

    Attributes
    ----------
    folder : Path
    state : dict
        What ``run.json`` holds: seconds spent, identifiers in MLflow, how it was called.
    """

    def __init__(self, store: Store, folder: Path, benchmark: str) -> None:
        self.store, self.folder = store, folder
        self.is_new = not (folder / STATE).exists()
        self.state: dict[str, Any] = {"benchmark": benchmark, "created": time.time(), "seconds": 0.0, "arms": {}}
        if not self.is_new:
            self.state = json.loads((folder / STATE).read_text())

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
        """Every trial of an arm that has ended, in the order of their numbers."""
        numbers = sorted(int(p.name) for p in (self.folder / "trials" / arm).glob("*") if p.name.isdigit())
        return [record for number in numbers if (record := self.record(arm, number)) is not None]

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

    # ------------------------------------------------------------ MLflow

    def open_tracking(self, title: str, tags: Mapping[str, Any]) -> None:
        """Connect to MLflow; make experiment and parent run, or go on with those of an earlier call."""
        self._client = _client(self.store.tracking_uri)
        name = str(self.state["benchmark"])
        experiment = self._client.get_experiment_by_name(name)
        artifacts = (self.store.folder / "artifacts").as_uri()
        self._experiment = experiment.experiment_id if experiment else self._client.create_experiment(name, artifacts)
        if "mlflow_run" not in self.state:
            self.save_state(mlflow_run=self._create(title, {**tags, "level": "benchmark"}))
        self._client.update_run(self.state["mlflow_run"], status="RUNNING")

    def open_arm(self, arm: str, tags: Mapping[str, Any]) -> None:
        """Make the run of an arm below the parent run, once."""
        if arm not in self.state["arms"]:
            tags = {**tags, "arm": arm, "level": "arm"}
            self.state["arms"][arm] = self._create(arm, tags, parent=self.state["mlflow_run"])
            self.save_state()

    def log_trial(self, record: "TrialRecord", settings: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Write one trial below its arm: parameters, metrics, curves, tags, valid probabilities."""
        result, ended = record.result, int(time.time() * 1000)
        labels = {"arm": record.arm, "trial": record.number, "status": result.status, "reason": result.reason[:5000]}
        labels |= {**tags, "level": "trial", "known": record.known}
        started = ended - int(1000 * record.seconds)
        run_id = self._create(
            f"{record.arm} {record.number}", labels, parent=self.state["arms"][record.arm], started=started
        )
        self._client.log_batch(run_id, params=list(_params(settings)))
        metrics = list(_metrics(result, ended))
        for start in range(0, len(metrics), METRICS_A_BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + METRICS_A_BATCH])
        for name in (PROBABILITIES, MODEL, LOG):
            path = self.trial_folder(record.arm, record.number) / name
            if path.exists() and path.stat().st_size:
                self._link_artifact(run_id, path)
        self._client.set_terminated(run_id, MLFLOW_STATUS.get(result.status, "FAILED"), ended)

    def forget_trial(self, arm: str, number: int) -> None:
        """Delete what an interrupted call wrote of a trial to MLflow."""
        for run in self._find(arm, number):
            self._client.delete_run(run.info.run_id)

    def keep_models(self, arm: str, best: Iterable[int]) -> None:
        """Delete the models of an arm's trials other than the `best`, here and among MLflow's artifacts."""
        for path in (self.folder / "trials" / arm).glob(f"*/{MODEL}"):
            if path.parent.name.isdigit() and int(path.parent.name) not in set(best):
                for run in self._find(arm, int(path.parent.name)):
                    _artifact_path(run.info.artifact_uri, MODEL).unlink(missing_ok=True)
                path.unlink()

    def log_summary(
        self, metrics: Mapping[str, float], files: Iterable[Path], arms: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Write what the report found to the parent run and to the arms, and end them."""
        for run_id, values in [(self.state["mlflow_run"], metrics)] + [
            (self.state["arms"][a], v) for a, v in arms.items()
        ]:
            self._client.log_batch(run_id, metrics=[_metric(k, v, int(time.time() * 1000)) for k, v in values.items()])
        for path in files:
            self._link_artifact(self.state["mlflow_run"], path)

    def close_tracking(self, status: str) -> None:
        """End the parent run and the arms with MLflow's `status`."""
        for run_id in (*self.state["arms"].values(), self.state["mlflow_run"]):
            self._client.set_terminated(run_id, status)

    def _create(self, name: str, tags: Mapping[str, Any], parent: str = "", started: int | None = None) -> str:
        labels = {key: str(value) for key, value in tags.items()} | ({"mlflow.parentRunId": parent} if parent else {})
        run = self._client.create_run(self._experiment, start_time=started, tags=labels, run_name=name)
        return str(run.info.run_id)

    def _find(self, arm: str, number: int) -> list[Any]:
        query = f"tags.trial = '{number}' and tags.`mlflow.parentRunId` = '{self.state['arms'][arm]}'"
        return list(self._client.search_runs([self._experiment], query))

    def _link_artifact(self, run_id: str, source: Path) -> None:
        target = _artifact_path(self._client.get_run(run_id).info.artifact_uri, source.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        link_or_copy(source, target)


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def ui_command(folder: str | Path, port: int) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of the MLflow UI over a folder, on 127.0.0.1 alone.

    Raises
    ------
    InputError
        Where the folder has no database, or the port is taken.
    """
    database = Path(folder).resolve() / "mlflow.db"
    if not database.exists():
        raise InputError(f"{database}: there is no such file; python -m fmnist_bench run makes it")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port} cannot be used on 127.0.0.1: {error}; --port names another") from error
    server = ["--backend-store-uri", f"sqlite:///{database}", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "mlflow", "server", *server, "--workers", "1"]
    return command, {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def _client(tracking_uri: str) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    for name in ("mlflow", "mlflow.store.db.utils", "alembic"):  # importing mlflow sets their levels
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri)


def _artifact_path(uri: str, name: str) -> Path:
    return Path(unquote(urlparse(uri).path)) / name


def _params(settings: Mapping[str, Any]) -> Iterable[Any]:
    from mlflow.entities import Param

    return (Param(name, str(value)) for name, value in settings.items())


def _metric(name: str, value: float, timestamp: int, step: int = 0) -> Any:
    from mlflow.entities import Metric

    return Metric(name, float(value), timestamp, step)


def _metrics(result: TrialResult, timestamp: int) -> Iterable[Any]:
    single = {
        "valid_accuracy": result.accuracy,
        "valid_log_loss": result.log_loss,
        "fit_seconds": result.fit_seconds,
        "predict_seconds": result.predict_seconds,
        "peak_memory_mib": result.peak_memory / 2**20,
    }
    yield from (_metric(name, value, timestamp) for name, value in single.items() if value is not None)
    steps = result.history.get("step", [])
    for name, values in result.history.items():
        if name != "step":
            numbers = steps if len(steps) == len(values) else range(1, len(values) + 1)
            curve = f"curve_{name}"  # beside the final figure of the same name
            yield from (_metric(curve, v, timestamp, int(s)) for s, v in zip(numbers, values, strict=True))
