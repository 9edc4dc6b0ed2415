"""One store of MLflow: the database in a run's folder, another database, or a server. The only importer of mlflow."""

import contextlib
import importlib
import json
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from numpy.typing import ArrayLike

from fmnist_bench import __version__, serving
from fmnist_bench.bundle import link_or_copy

LONGEST_PARAM, LONGEST_DIGEST = 6000, 36  # characters that MLflow takes
DESCRIPTION = "mlflow.note.content"
PATIENCE = 10  # seconds for one answer of a server; by itself MLflow tries for minutes

Point = tuple[str, float, int]  # name, value and step of a metric
_importing = threading.Lock()


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
    owned : bool
        Whether the artifacts lie in `own`, where a second name of a file does as well as a copy.
    """

    def __init__(self, uri: str, experiment: str, own: Path | None = None, make: bool = True) -> None:
        warm_up()
        if uri.startswith("sqlite:") and not make and not (file := Path(uri.partition(":///")[2])).exists():
            raise FileNotFoundError(f"{file}: there is no such file")
        if own is not None and not (database := own.parent / "mlflow.db").exists():
            _make_database(database)
        self._uri, self.client = uri, make_client(uri)
        found = self._open_experiment(experiment, own.as_uri() if own else None, make)
        self.experiment = str(found.experiment_id)
        self.owned = own is not None and _local_path(found.artifact_location) == own

    def _open_experiment(self, name: str, artifacts: str | None, make: bool) -> Any:
        from mlflow.exceptions import MlflowException

        if (found := self.client.get_experiment_by_name(name)) is not None:
            return found
        if not make:
            raise LookupError(f"there is no experiment {name}")
        try:
            return self.client.get_experiment(self.client.create_experiment(name, artifacts))
        except MlflowException:  # another process may have been faster
            if (found := self.client.get_experiment_by_name(name)) is None:
                raise
            return found

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
        labels = {key: str(value) for key, value in tags.items()} | ({"mlflow.parentRunId": parent} if parent else {})
        return self.client.create_run(self.experiment, started, labels, name).info

    def find(self, parent: str, trial: int) -> list[Any]:
        """RunInfo of the runs of a trial: one, or none, or a second one that was cut off."""
        query = f"tags.trial = '{trial}' and tags.`mlflow.parentRunId` = '{parent}'"
        return [run.info for run in self.client.search_runs([self.experiment], query)]

    def log(self, run_id: str, time: int, metrics: Iterable[Point], params: Mapping[str, Any] | None = None) -> None:
        """Write metrics, all at one time in milliseconds, and parameters."""
        from mlflow.entities import Metric, Param

        points = [Metric(name, float(value), time, step) for name, value, step in metrics]
        pairs = [Param(name, shortened(str(value), LONGEST_PARAM)) for name, value in (params or {}).items()]
        self.client.log_batch(run_id, metrics=points, params=pairs)

    @property
    def note(self) -> str:
        """Text in Markdown at the head of the experiment's page."""
        return str(self.client.get_experiment(self.experiment).tags.get(DESCRIPTION, ""))

    @note.setter
    def note(self, text: str) -> None:
        self.client.set_experiment_tag(self.experiment, DESCRIPTION, text)

    def tag(self, run_id: str, tags: Mapping[str, str | None]) -> None:
        """Set tags of a run; None takes one away."""
        from mlflow.exceptions import MlflowException

        for key, value in tags.items():
            try:
                if value is None:
                    self.client.delete_tag(run_id, key)
                else:
                    self.client.set_tag(run_id, key, value)
            except MlflowException as error:
                if value is not None or error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise

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
            target = _local_path(run.artifact_uri) / file.relative_to(source.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            link_or_copy(file, target)

    def holds(self, run: Any, name: str) -> bool:
        """Say whether a run has an artifact."""
        return name in {item.path for item in self.client.list_artifacts(run.run_id)}

    def drop(self, run: Any, name: str) -> None:
        """Delete an artifact of a run, where there is one and the store can."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if self.owned:
            (_local_path(run.artifact_uri) / name).unlink(missing_ok=True)
        elif self.holds(run, name):
            artifacts: Any = get_artifact_repository(run.artifact_uri, tracking_uri=self._uri)
            with contextlib.suppress(NotImplementedError):
                artifacts.delete_artifacts(name)

    def register(
        self, name: str, run_id: str, folder: Path, example: ArrayLike, columns: Sequence[str], tags: Mapping[str, str]
    ) -> str:
        """Give a run the saved ensemble in `folder` as a model, and make that a version of a registered one.

        `example` are rows that it takes, `columns` the classes whose probabilities it answers. Gives the version's
        number; where anything fails, the run is left without the model.
        """
        from mlflow.entities import LoggedModelOutput

        self._open_registered_model(name)
        model = self.client.create_logged_model(self.experiment, "ensemble", run_id)
        try:
            self._put_model(model, folder, example, columns)
            self.client.finalize_logged_model(model.model_id, "READY")
            # MLflow would look up a source of models:/ in the store of the whole process, which is another one.
            source, labels = model.artifact_location, dict(tags)
            version = self.client.create_model_version(name, source, run_id, labels, model_id=model.model_id)
            self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
        except BaseException:
            with contextlib.suppress(Exception):
                self.client.delete_logged_model(model.model_id)
            raise
        return str(version.version)

    def _open_registered_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _put_model(self, model: Any, folder: Path, example: ArrayLike, columns: Sequence[str]) -> None:
        place = folder.with_name(f"{folder.name}.mlflow.tmp")
        shutil.rmtree(place, ignore_errors=True)
        try:
            _write_pyfunc(place, folder, model, example, columns)
            if self.owned:
                target = _local_path(model.artifact_location)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(place, target)
            else:
                self.client.log_model_artifacts(model.model_id, str(place))
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def tags_of(self, name: str, alias: str) -> dict[str, str] | None:
        """Tags of the version that an alias names; None where it names none."""
        aliases = self.client.get_registered_model(name).aliases
        return dict(self.client.get_model_version(name, aliases[alias]).tags) if alias in aliases else None

    def name_version(self, name: str, alias: str, version: str) -> None:
        """Let an alias name a version, instead of the one that it named."""
        self.client.set_registered_model_alias(name, alias, version)


def open_database(path: Path) -> int:
    """Open a database that is there, and count its experiments; any fault of it is an exception."""
    return len(make_client(f"sqlite:///{path}").search_experiments())


def warm_up() -> None:
    """Import what a store needs, which takes seconds; for a thread; writes nothing and asks nobody."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with _importing:
        for name in ("mlflow", "mlflow.store.tracking.sqlalchemy_store", "alembic.command"):
            importlib.import_module(name)
        for name in ("mlflow", "alembic"):  # importing mlflow sets their levels
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("mlflow.utils.requirements_utils").setLevel(logging.ERROR)  # this may be a source tree
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # the tracker itself says what failed


@contextlib.contextmanager
def patience(seconds: int = PATIENCE) -> Iterator[None]:
    """Let requests fail after some seconds and at the first try, unless the environment says otherwise."""
    wanted = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds),
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "PGCONNECT_TIMEOUT": str(seconds),
    }
    own = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            del os.environ[name]


def reason(error: BaseException) -> str:
    """Say why in one line: the system's own words where it is a matter of connections, else the library's."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    if any(isinstance(cause, OSError) for cause in chain):
        texts = [getattr(cause, "strerror", None) or str(cause) for cause in reversed(chain)]
    else:
        texts = [str(error)]
    text = next((text.strip() for text in texts if text.strip()), type(error).__name__)
    return shortened(text.splitlines()[0], 200)


def shortened(text: str, longest: int) -> str:
    """Cut a text that is too long, and show that it was cut."""
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _make_database(path: Path) -> None:
    """Make an empty database whole or not at all, since MLflow never gets over a half-made one.

    It is made in memory where there is a folder for that: hundreds of small writes would wait for the disk.
    """
    from mlflow import MlflowClient

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    try:
        with tempfile.TemporaryDirectory(prefix=f"fmnist_bench-{os.getpid()}-", dir=memory) as folder:
            MlflowClient(f"sqlite:///{folder}/{path.name}").search_experiments()
            shutil.copyfile(f"{folder}/{path.name}", temporary)
        try:
            os.link(temporary, path)  # unlike a rename it leaves the database of a process that was faster
        except FileExistsError:
            pass
        except OSError:  # no second names on this file system
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_pyfunc(place: Path, folder: Path, model: Any, example: ArrayLike, columns: Sequence[str]) -> None:
    """Write an MLflow model that `serving` loads: names and schemas by MLflow, the saved ensemble beside them."""
    import numpy as np
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    rows = np.asarray(example, dtype=np.float64)  # what JSON holds; a type of whole numbers would cut fractions off
    inputs = Schema([TensorSpec(rows.dtype, (-1, *rows.shape[1:]))])
    outputs = Schema([ColSpec("string", "label"), *(ColSpec("double", name) for name in columns)])
    about = Model(run_id=model.source_run_id, model_id=model.model_id, model_uuid=model.model_id)
    pyfunc.save_model(
        place,
        loader_module=serving.__name__,
        mlflow_model=about,
        signature=ModelSignature(inputs, outputs),
        input_example=rows,
        pip_requirements=[f"fmnist-bench=={__version__}"],
    )
    (place / serving.FOLDER).mkdir()
    for path in folder.iterdir():
        link_or_copy(path, place / serving.FOLDER / path.name)
    about.model_size_bytes = sum(path.stat().st_size for path in folder.iterdir())
    about.save(str(place / "MLmodel"))


def make_client(uri: str) -> Any:
    """Give MLflow's client of a store; a database has answered."""
    warm_up()
    from mlflow import MlflowClient
    from mlflow.store.db.db_types import DATABASE_ENGINES
    from mlflow.store.db.utils import create_sqlalchemy_engine

    if re.split(r"[+:]", uri)[0] in DATABASE_ENGINES:  # MLflow itself would try a wrong address for minutes
        engine = create_sqlalchemy_engine(uri)  # type: ignore[no-untyped-call]
        engine.connect().close()
        engine.dispose()
    return MlflowClient(uri)


def _local_path(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))
