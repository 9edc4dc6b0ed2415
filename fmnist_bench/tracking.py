"""What happened, as MLflow shows it: an experiment a benchmark, a run an invocation, below it arms and trials.

The only importer of mlflow.
"""

import logging
import os
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from fmnist_bench.ensemble import link_or_copy
from fmnist_bench.errors import InputError
from fmnist_bench.job import LOG, MODEL, PROBABILITIES
from fmnist_bench.store import Run, TrialRecord
from fmnist_bench.trial import TrialResult

METRICS_A_BATCH = 1000  # MLflow's limit
MLFLOW_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "interrupted": "KILLED"}


class Tracker:
    """The image of a run in MLflow; goes on with what an earlier call of the same run has written.

    Parameters
    ----------
    run : Run
    title : str
        Name of the parent run.
    tags : mapping
        Tags of the parent run, of every arm and of every trial.
    """

    def __init__(self, run: Run, title: str, tags: Mapping[str, Any]) -> None:
        self._run, self._tags = run, dict(tags)
        self._client = _client(run.store.tracking_uri)
        name = str(run.state["benchmark"])
        experiment = self._client.get_experiment_by_name(name)
        artifacts = (run.store.folder / "artifacts").as_uri()
        self._experiment = experiment.experiment_id if experiment else self._client.create_experiment(name, artifacts)
        if "mlflow_run" not in run.state:
            run.save_state(mlflow_run=self._create(title, {"level": "benchmark"}))
        self._client.update_run(run.state["mlflow_run"], status="RUNNING")

    def open_arm(self, arm: str, family: str) -> None:
        """Make the run of an arm below the parent run, once."""
        if arm not in self._run.state["arms"]:
            tags = {"arm": arm, "family": family, "level": "arm"}
            self._run.state["arms"][arm] = self._create(arm, tags, parent=self._run.state["mlflow_run"])
            self._run.save_state()

    def log_trial(self, record: TrialRecord, family: str, settings: Mapping[str, Any]) -> None:
        """Write one trial below its arm: parameters, metrics, curves, tags, valid probabilities."""
        result, ended = record.result, int(time.time() * 1000)
        labels = {"arm": record.arm, "trial": record.number, "status": result.status, "reason": result.reason[:5000]}
        labels |= {"level": "trial", "family": family, "known": record.known}
        started = ended - int(1000 * record.seconds)
        run_id = self._create(
            f"{record.arm} {record.number}", labels, parent=self._run.state["arms"][record.arm], started=started
        )
        self._client.log_batch(run_id, params=list(_params(settings)))
        metrics = list(_metrics(result, ended))
        for start in range(0, len(metrics), METRICS_A_BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + METRICS_A_BATCH])
        for name in (PROBABILITIES, MODEL, LOG):
            path = self._run.trial_folder(record.arm, record.number) / name
            if path.exists() and path.stat().st_size:
                self._link_artifact(run_id, path)
        self._client.set_terminated(run_id, MLFLOW_STATUS.get(result.status, "FAILED"), ended)

    def forget_trial(self, arm: str, number: int) -> None:
        """Delete what an interrupted call wrote of a trial to MLflow."""
        for run in self._find(arm, number):
            self._client.delete_run(run.info.run_id)

    def keep_models(self, arm: str, best: Iterable[int]) -> None:
        """Delete the models of an arm's trials other than the `best`, here and among MLflow's artifacts."""
        for path in (self._run.folder / "trials" / arm).glob(f"*/{MODEL}"):
            if path.parent.name.isdigit() and int(path.parent.name) not in set(best):
                for run in self._find(arm, int(path.parent.name)):
                    _artifact_path(run.info.artifact_uri, MODEL).unlink(missing_ok=True)
                path.unlink()

    def log_summary(
        self, metrics: Mapping[str, float], files: Iterable[Path], arms: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Write what the report found to the parent run and to the arms, and end them."""
        by_run = {self._run.state["arms"][arm]: values for arm, values in arms.items()}
        for run_id, values in {**by_run, self._run.state["mlflow_run"]: metrics}.items():
            self._client.log_batch(run_id, metrics=[_metric(k, v, int(time.time() * 1000)) for k, v in values.items()])
        for path in files:
            self._link_artifact(self._run.state["mlflow_run"], path)

    def close(self, status: str) -> None:
        """End the parent run and the arms with MLflow's `status`."""
        for run_id in (*self._run.state["arms"].values(), self._run.state["mlflow_run"]):
            self._client.set_terminated(run_id, status)

    def _create(self, name: str, tags: Mapping[str, Any], parent: str = "", started: int | None = None) -> str:
        labels = {key: str(value) for key, value in {**self._tags, **tags}.items()}
        labels |= {"mlflow.parentRunId": parent} if parent else {}
        run = self._client.create_run(self._experiment, start_time=started, tags=labels, run_name=name)
        return str(run.info.run_id)

    def _find(self, arm: str, number: int) -> list[Any]:
        query = f"tags.trial = '{number}' and tags.`mlflow.parentRunId` = '{self._run.state['arms'][arm]}'"
        return list(self._client.search_runs([self._experiment], query))

    def _link_artifact(self, run_id: str, source: Path) -> None:
        target = _artifact_path(self._client.get_run(run_id).info.artifact_uri, source.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        link_or_copy(source, target)


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
