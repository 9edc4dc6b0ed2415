"""The registered models of a store of MLflow: the saved ensemble as a version, and what an alias names."""

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from fmnist_bench._utils.addresses import local_path
from fmnist_bench._utils.files import link_or_copy
from fmnist_bench._utils.version import __version__
from fmnist_bench.storage.run_folder import ENSEMBLE
from fmnist_bench.tracking.store import MlflowStore

LOADER = "fmnist_bench.ensemble.serving"  # what MLflow imports to load a registered ensemble


class RegisteredModels:
    """The registered models of a store."""

    def __init__(self, store: MlflowStore) -> None:
        self._store = store

    def register(
        self, name: str, run_id: str, folder: Path, example: ArrayLike, columns: Sequence[str], tags: Mapping[str, str]
    ) -> str:
        """Give a run the saved ensemble in `folder` as a model, and make that a version of a registered one.

        `example` are rows that it takes, `columns` the names of the probabilities that it answers. Gives the version's
        number; where anything fails, the run is left without the model.
        """
        from mlflow.entities import LoggedModelOutput

        self._open_registered_model(name)
        model = self._store.client.create_logged_model(self._store.experiment, "ensemble", run_id)
        try:
            self._put_model(model, folder, example, columns)
            self._store.client.finalize_logged_model(model.model_id, "READY")
            # MLflow would look up a source of models:/ in the store of the whole process, which is another one.
            source, labels = model.artifact_location, dict(tags)
            version = self._store.client.create_model_version(name, source, run_id, labels, model_id=model.model_id)
            self._store.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
        except BaseException:
            with contextlib.suppress(Exception):
                self._store.client.delete_logged_model(model.model_id)
            raise
        return str(version.version)

    def _open_registered_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._store.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _put_model(self, model: Any, folder: Path, example: ArrayLike, columns: Sequence[str]) -> None:
        place = folder.with_name(f"{folder.name}.mlflow.tmp")
        shutil.rmtree(place, ignore_errors=True)
        try:
            _write_pyfunc(place, folder, model, example, columns)
            if self._store.owned:
                target = local_path(model.artifact_location)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(place, target)
            else:
                self._store.client.log_model_artifacts(model.model_id, str(place))
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def has(self, name: str, version: str) -> bool:
        """Say whether a version is there; whoever looks after the store may have deleted it."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._store.client.get_model_version(name, version))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def tags_of(self, name: str, alias: str) -> dict[str, str] | None:
        """Tags of the version that an alias names; None where it names none."""
        aliases = self._store.client.get_registered_model(name).aliases
        return dict(self._store.client.get_model_version(name, aliases[alias]).tags) if alias in aliases else None

    def name_version(self, name: str, alias: str, version: str) -> None:
        """Let an alias name a version, instead of the one that it named."""
        self._store.client.set_registered_model_alias(name, alias, version)


def _write_pyfunc(place: Path, folder: Path, model: Any, example: ArrayLike, columns: Sequence[str]) -> None:
    """Write an MLflow model that `LOADER` loads: names and schemas by MLflow, the saved ensemble beside them."""
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
        loader_module=LOADER,
        mlflow_model=about,
        signature=ModelSignature(inputs, outputs),
        input_example=rows,
        pip_requirements=[f"fmnist-bench=={__version__}"],
    )
    (place / ENSEMBLE).mkdir()
    for path in folder.iterdir():
        link_or_copy(path, place / ENSEMBLE / path.name)
    about.model_size_bytes = sum(path.stat().st_size for path in folder.iterdir())
    about.save(str(place / "MLmodel"))
