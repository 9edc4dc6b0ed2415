"""One store of MLflow: the database in a run's folder, another database, or a server."""

import contextlib
import json
import posixpath
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fmnist_bench._utils.addresses import local_path
from fmnist_bench._utils.files import link_or_copy
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.tracking.client import make_client, make_database, patience, shortened, sqlite_file, warm_up
from fmnist_bench.tracking.folder import DATABASE, settle

LONGEST_NAME, LONGEST_PARAM, LONGEST_DIGEST = 250, 6000, 36  # characters that MLflow takes
DESCRIPTION, PARENT = "mlflow.note.content", "mlflow.parentRunId"
MOST_RUNS = 50_000  # that MLflow gives at once; by itself a thousand
SHARED_VIEW = "mlflow.sharedViewState."  # how the tag of a view begins
DISCARDED = "discarded"  # level of a run that was written half
FORBIDDEN = re.compile(r"[^/\w.\- :]")  # characters in the name of a parameter or metric

Point = tuple[str, float, int]  # name, value and step of a metric


class MlflowStore:
    """A store of MLflow with the experiment of a benchmark.

    Parameters
    ----------
    uri : str
        Address of a server or of a database.
    experiment : str
        Name of the experiment; made where there is none.
    own : Path or None
        Folder for its artifacts, beside the database; None lets the store choose.
    make : bool
        Make what there is none of; False: an exception says so.

    Attributes
    ----------
    client : MlflowClient
    experiment : str
        Its number.
    restored : bool
        Whether the experiment had been deleted, and is there again.
    owned : bool
        Whether the artifacts lie in `own`, where a second name of a file does as well as a copy.
    """

    def __init__(self, uri: str, experiment: str, own: Path | None = None, make: bool = True) -> None:
        warm_up()
        if not make and (file := sqlite_file(uri)) is not None and not file.exists():
            raise FileNotFoundError(f"{file}: there is no such file")
        if own is not None:
            _open_folder(own)
        self._uri, self._own, self.client = uri, own, make_client(uri)
        self.restored = False
        found = self._open_experiment(experiment, own.as_uri() if own else None, make)
        self.experiment = str(found.experiment_id)
        self.owned = own is not None and local_path(found.artifact_location) == own

    def _open_experiment(self, name: str, artifacts: str | None, make: bool) -> Any:
        from mlflow.exceptions import MlflowException

        if (found := self.client.get_experiment_by_name(name)) is not None:
            if found.lifecycle_stage == "deleted":
                self._restore(found.experiment_id, name, make)
            return found
        if not make:
            raise LookupError(f"there is no experiment {name}")
        try:
            return self.client.get_experiment(self.client.create_experiment(name, artifacts))
        except MlflowException:  # another process may have been faster
            if (found := self.client.get_experiment_by_name(name)) is None:
                raise
            return found

    def _restore(self, experiment: str, name: str, make: bool) -> None:
        """Take an experiment back that was deleted, as MLflow's pages do it, without what this program had deleted."""
        if not make:
            raise LookupError(f"the experiment {name} was deleted there; its next run restores it")
        self.client.restore_experiment(experiment)
        for run in self.client.search_runs([experiment], f"tags.level = '{DISCARDED}'"):
            self.client.delete_run(run.info.run_id)
        self.restored = True

    def answers(self) -> bool:
        """Say whether anybody answers at all."""
        try:
            with patience():
                return bool(self.client.get_experiment(self.experiment))
        except Exception:
            return False

    def has(self, run_id: str) -> bool:
        """Say whether a run is there and was not deleted."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(self.client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def create(self, name: str, tags: Mapping[str, Any], parent: str = "", started: int | None = None) -> Any:
        """Make a run, `started` in milliseconds; give MLflow's RunInfo."""
        labels = {key: str(value) for key, value in tags.items()} | ({PARENT: parent} if parent else {})
        return self.client.create_run(self.experiment, started, labels, name).info

    def find(self, parent: str, trial: int) -> list[Any]:
        """RunInfo of the runs of a trial: one, or none, or a second one that was cut off."""
        return [run.info for run in self.search(**{PARENT: parent, "trial": trial})]

    def search(self, **tags: Any) -> list[Any]:
        """Runs, newest first, that have these tags and were not deleted."""
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        return list(self.client.search_runs([self.experiment], query, max_results=MOST_RUNS))

    def discard(self, run: Any) -> None:
        """Delete a run for good: it does not come back with an experiment that was deleted and is restored."""
        self.client.set_tag(run.run_id, "level", DISCARDED)
        self.client.delete_run(run.run_id)

    def log(self, run_id: str, time: int, metrics: Iterable[Point], params: Mapping[str, Any] | None = None) -> None:
        """Write metrics, all at one time in milliseconds, and parameters."""
        from mlflow.entities import Metric, Param

        points = [Metric(_name(name), float(value), time, step) for name, value, step in metrics]
        named = {_name(name): value for name, value in (params or {}).items()}
        pairs = [Param(name, shortened(str(value), LONGEST_PARAM)) for name, value in named.items()]
        self.client.log_batch(run_id, metrics=points, params=pairs)

    @property
    def note(self) -> str:
        """Text in Markdown at the head of the experiment's page."""
        return str(self.client.get_experiment(self.experiment).tags.get(DESCRIPTION, ""))

    @note.setter
    def note(self, text: str) -> None:
        self.client.set_experiment_tag(self.experiment, DESCRIPTION, text)

    def share_view(self, key: str, name: str, query: str, columns: Iterable[str]) -> None:
        """Save a view of the experiment's table of runs, by validation accuracy, as MLflow's own pages save one.

        The address ``...&viewStateShareKey=KEY`` opens it; it is one of the table's views as well.
        """
        state = {
            "searchFilter": query,
            "orderByKey": "metrics.`valid_accuracy`",
            "orderByAsc": False,
            "selectedColumns": list(columns),
        }
        now = int(1000 * time.time())
        view = {"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
        self.client.set_experiment_tag(self.experiment, f"{SHARED_VIEW}{key}", json.dumps(view))

    def tag(self, run_id: str, tags: Mapping[str, str | None]) -> None:
        """Set tags of a run; None takes one away that is there."""
        for key, value in tags.items():
            if value is None:
                self.client.delete_tag(run_id, key)
            else:
                self.client.set_tag(run_id, key, value)

    def log_input(self, run_id: str, context: str, name: str, digest: str, source: str, shape: tuple[int, ...]) -> None:
        """Name rows of pixels, of this shape, as an input of a run; `context` is such as ``training``."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        kinds = {"features": ("uint8", [-1, *shape[1:]]), "targets": ("int64", [-1])}
        specs = {k: [{"type": "tensor", "tensor-spec": {"dtype": t, "shape": s}}] for k, (t, s) in kinds.items()}
        schema = json.dumps({"mlflow_tensorspec": {key: json.dumps(spec) for key, spec in specs.items()}})
        profile = json.dumps({"features_shape": shape, "targets_shape": shape[:1]})
        about = Dataset(name, digest[:LONGEST_DIGEST], "local", json.dumps({"uri": source}), schema, profile)
        self.client.log_inputs(run_id, [DatasetInput(about, [InputTag("mlflow.data.context", context)])])

    def put(self, run: Any, source: Path) -> None:
        """Give a run an artifact: a file, or a folder of files."""
        if not self.owned:
            self.client.log_artifact(run.run_id, str(source))
            return
        for file in source.iterdir() if source.is_dir() else [source]:
            target = self._place(run) / file.relative_to(source.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            link_or_copy(file, target)

    def _place(self, run: Any) -> Path:
        """Where MLflow has the artifacts of a run; not as the run says, which another name of the folder may begin."""
        assert self._own is not None
        return self._own / str(run.run_id) / "artifacts"

    def holds(self, run: Any, name: str) -> bool:
        """Say whether a run has an artifact."""
        return name in {item.path for item in self.client.list_artifacts(run.run_id)}

    def drop(self, run: Any, name: str) -> None:
        """Delete an artifact of a run, where there is one and the store can."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if self.owned:
            (self._place(run) / name).unlink(missing_ok=True)
        elif self.holds(run, name):
            artifacts: Any = get_artifact_repository(run.artifact_uri, tracking_uri=self._uri)
            with contextlib.suppress(NotImplementedError):
                artifacts.delete_artifacts(name)


def _open_folder(artifacts: Path) -> None:
    """Let the database beside a folder of artifacts be there, and say where it lies."""
    database = artifacts.parent / DATABASE
    if not database.exists():
        make_database(database)
    settle(database)


def _name(name: str) -> str:
    """Name that MLflow takes of a parameter or metric: of its characters, and as a path one that stays below."""
    name = shortened(FORBIDDEN.sub("_", name), LONGEST_NAME - 1)
    is_below = posixpath.normpath(name) == name and not name.startswith((".", "/"))
    return name if is_below else f"_{name.replace('/', '_')}"


def metrics_of(result: TrialResult) -> Iterator[Point]:
    """Figures and curves of a trial; of one that did not complete those that were measured."""
    complete = result.status == "complete"  # nobody measured these of another one
    single = {
        "valid_accuracy": result.accuracy,
        "valid_log_loss": result.log_loss,
        "fit_seconds": result.fit_seconds,
        "predict_seconds": result.predict_seconds if complete else None,
        "peak_memory_mib": result.peak_memory / 2**20 or None,
        "schedule_share": result.schedule_share if complete else None,
        "fine_tuned": result.fine_tuned or None,
    }
    yield from ((name, value, 0) for name, value in single.items() if value is not None)
    steps = result.history.get("step", [])
    for name, values in result.history.items():
        if name != "step":
            numbers = steps if len(steps) == len(values) else range(1, len(values) + 1)
            curve = f"curve_{name}"  # beside the final figure of the same name
            yield from ((curve, v, int(s)) for s, v in zip(numbers, values, strict=True))
