"""What happened, as MLflow shows it: an experiment a benchmark, a run an invocation, below it studies and trials.

The run's own files are the truth and MLflow is their image: where the store does not take a trial, the run goes on, and
the trial is logged later from its files.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from fmnist_bench._utils.addresses import without_secrets
from fmnist_bench._utils.digests import digest_of_file
from fmnist_bench._utils.errors import InputError
from fmnist_bench.storage.results import PREPARATION, PREPARED
from fmnist_bench.storage.run_folder import MANIFEST, Run
from fmnist_bench.storage.trial import RECORD, Trial
from fmnist_bench.storage.trial_folder import LOG, MODEL, PROBABILITIES, SAMPLES, unfinished
from fmnist_bench.tracking.client import ANSWER_SECONDS, patience, reason, shortened
from fmnist_bench.tracking.folder import BEGAN, left_open
from fmnist_bench.tracking.models import RegisteredModels
from fmnist_bench.tracking.registry import CHAMPION, describe, is_better
from fmnist_bench.tracking.store import PARENT, MlflowStore, metrics_of

MLFLOW_STATUS = {"complete": "FINISHED", PREPARED: "FINISHED", "pruned": "KILLED", "interrupted": "KILLED"}
LONGEST_REASON = 5000  # characters; MLflow takes 8000
UPLOAD_SECONDS = 120  # for the answer to a model or a report
PAUSE = 60.0  # seconds until a store that did not answer is asked again
CATCH_UP = 5.0  # seconds after a trial for those that the store lacks

Settings = Callable[[Mapping[str, Any]], Mapping[str, Any]]
log = logging.getLogger(__name__)


class Tracker:
    """Copies a run into MLflow; goes on where an earlier call of the same run stopped.

    ``run.state["unlogged"]`` names the trials that the store did not take; they are logged when it answers again. A
    run that the store does not hold, because it was logged elsewhere or deleted there, is logged anew, every trial.

    Parameters
    ----------
    run : Run
    title : str
        Name of the parent run.
    tags : mapping
        Tags of the parent run, of every study and of every trial.
    tracking_uri : str
        Address of an MLflow server (``http://host:5000``) or of a database; empty for the run's own folder.
    say : callable
        Is told, in one line, that the store lacks something.

    Raises
    ------
    InputError
        Where MLflow cannot be used at that address.
    """

    def __init__(
        self,
        run: Run,
        title: str,
        tags: Mapping[str, Any],
        tracking_uri: str = "",
        say: Callable[[str], None] = log.warning,
    ) -> None:
        self._run, self._say = run, say
        self._tags = {**tags, BEGAN: run.state["created"]}
        uri, own = tracking_uri or run.store.tracking_uri, None if tracking_uri else run.store.folder / "artifacts"
        self._uri, self._where = uri, without_secrets(uri)
        self._studies: dict[str, tuple[str, Settings]] = {}
        self._models: dict[str, dict[int, list[Any] | None]] = {}  # runs that hold a trial's model; None: to be found
        self._warned, self._away_until = False, 0.0
        with _or_refuse(uri):
            self._mlflow = MlflowStore(uri, str(run.state["benchmark"]), own)
            self._open_run(title, without_secrets(tracking_uri))
        if self._mlflow.restored:
            say(f"MLflow at {self._where}: the experiment had been deleted there; it is restored, with its runs")
        if own is not None:
            self._attempt(self._close_left)

    def open_study(self, study: str, family: str, settings: Settings = dict) -> None:
        """Make the run of a study below the parent run, once; `settings` adds a study's constants to parameters."""
        self._studies[study] = family, settings
        kept = (self._run.folder / "trials" / study).glob(f"*/{MODEL}")
        self._models[study] = {int(path.parent.name): None for path in kept if path.parent.name.isdigit()}
        if not self._run.state["studies"].get(study):
            tags = {"study": study, "family": family, "level": "study"}
            with _or_refuse(self._uri):
                self._run.state["studies"][study] = (
                    self._find_study(study) or self._create(study, tags, self._run.state["mlflow_run"]).run_id
                )
            self._run.save_state()

    def log_trial(self, record: Trial) -> None:
        """Write one trial whose record is saved: parameters, metrics, curves, tags, validation probabilities, model."""
        study, number = record.study, record.number
        if self._run.model_file(study, number).exists():
            self._models[study][number] = []
        write = partial(self._write_trial, record)
        if [study, number] in self._unlogged or self._attempt(write):
            self._catch_up(CATCH_UP)
        else:
            self._postpone(study, number)

    def log_missing(self, record: Trial) -> None:
        """Write a trial that a killed process has recorded and not logged."""
        if not self._attempt(partial(self._write_missing, record)):
            self._postpone(record.study, record.number)

    def forget_trial(self, study: str, number: int) -> None:
        """Delete what an interrupted call wrote of a trial to MLflow."""
        if not self._attempt(partial(self._delete_trial, study, number)):
            self._postpone(study, number)

    def keep_models(self, study: str, best: Iterable[int]) -> None:
        """Delete the models of a study's trials other than the `best`, here and among MLflow's artifacts."""
        models = self._models[study]
        for number in models.keys() - set(best):
            if models[number] == [] or self._attempt(partial(self._delete_model, study, number)):
                self._run.model_file(study, number).unlink(missing_ok=True)
                del models[number]

    def register(self, name: str, tags: Mapping[str, Any], example: ArrayLike, columns: Sequence[str]) -> None:
        """Log the saved ensemble as a model of the parent run, make it a version of a registered model, say so.

        ``run.state["registered"]`` tells which; an ensemble that is registered there stays the version that it is.

        Parameters
        ----------
        name : str
            Of the registered model.
        tags : mapping
            Of the version, see `registry.is_better`.
        example : array-like of shape (1, n_features)
            A row that the ensemble takes.
        columns : sequence of str
            Names of the probabilities that it answers.
        """
        manifest = digest_of_file(self._run.ensemble_folder / MANIFEST)
        if self._is_registered(manifest):
            return
        labels = {key: str(value) for key, value in tags.items()}
        if not self._attempt(partial(self._register, name, labels, example, columns, manifest), UPLOAD_SECONDS):
            self._run.save_state(registered=None)
            self._say(f"MLflow at {self._where}: {name} is not registered; the same command does it when run again")

    def log_summary(
        self, metrics: Mapping[str, float], files: Iterable[Path], studies: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Write what the report found to the parent run and to the studies, and whatever the store still lacks."""
        self._away_until = 0.0
        self._catch_up(math.inf)
        steps = [partial(self._write_summary, metrics, files, studies)]
        if not self._mlflow.owned:  # uploaded when the best are known, instead of uploaded and deleted
            steps += [partial(self._upload_model, study, n) for study, models in self._models.items() for n in models]
        done = [self._attempt(step, UPLOAD_SECONDS) for step in steps]
        if self._unlogged or not all(done):
            what = f"{n} of the trials" if (n := len(self._unlogged)) else "a part"
            self._say(f"MLflow at {self._where} lacks {what} of this run; the same command adds it when run again")

    def show(self, step: Callable[[MlflowStore, Run], None]) -> None:
        """Update the text on MLflow's pages of the run, see `pages`."""
        self._attempt(partial(step, self._mlflow, self._run))

    def close(self, status: str) -> None:
        """End the parent run and the studies with MLflow's `status`."""
        for run_id in filter(None, (*self._run.state["studies"].values(), self._run.state["mlflow_run"])):
            self._attempt(partial(self._mlflow.client.set_terminated, run_id, status))

    def _is_registered(self, manifest: str) -> bool:
        """Whether this very ensemble is registered; while the store cannot be asked, what was last known of it."""
        known, found = self._run.state.get("registered") or {}, [True]
        if known.get("manifest") != manifest:
            return False
        models = RegisteredModels(self._mlflow)
        self._attempt(lambda: found.append(models.has(known["name"], known["version"])))
        return found[-1]

    def _register(
        self, name: str, tags: Mapping[str, str], example: ArrayLike, columns: Sequence[str], manifest: str
    ) -> None:
        run_id, models = self._run.state["mlflow_run"], RegisteredModels(self._mlflow)
        version = models.register(name, run_id, self._run.ensemble_folder, example, columns, tags)
        champion = models.tags_of(name, CHAMPION)
        if is_better(tags, champion):
            models.name_version(name, CHAMPION, version)
        self._run.save_state(
            registered={"model": f"{name}/{version}", "name": name, "version": version, "manifest": manifest}
        )
        self._say(describe(name, version, tags, champion))

    @property
    def _unlogged(self) -> list[list[Any]]:
        return self._run.state.setdefault("unlogged", [])  # type: ignore[no-any-return]

    def _open_run(self, title: str, tracking_uri: str) -> None:
        state = self._run.state
        known = "mlflow_run" in state and tracking_uri == without_secrets(state.get("tracking_uri", ""))
        if not known or not self._mlflow.has(state["mlflow_run"]):
            self._run.save_state()  # what was created and not written down here is known again by when the run began
            self._run.save_state(
                mlflow_run=self._find_parent() or self._create(title, {"level": "benchmark"}).run_id,
                tracking_uri=tracking_uri,
                unlogged=[[study, record.number] for study in state["studies"] for record in self._run.records(study)],
                studies=dict.fromkeys(state["studies"], ""),
                registered=None,
            )
        self._run.save_state(experiment=self._mlflow.experiment)
        self._mlflow.client.update_run(state["mlflow_run"], status="RUNNING")

    def _attempt(self, step: Callable[[], None], seconds: int = ANSWER_SECONDS) -> bool:
        """Try to write to the store and say whether it worked; after a failure, skip the store for a while."""
        if time.monotonic() < self._away_until:
            return False
        try:
            with patience(seconds):
                step()
            return True
        except Exception as error:  # a store raises whatever its libraries raise
            if not self._warned:
                why = reason(error, self._uri)
                self._say(f"MLflow at {self._where}: {why}; the run goes on, what is missing is added later")
            self._warned = True
            if not self._mlflow.answers():
                self._away_until = time.monotonic() + PAUSE
            return False

    def _postpone(self, study: str, number: int) -> None:
        if [study, number] not in self._unlogged:
            self._unlogged.append([study, number])
            self._run.save_state()

    def _catch_up(self, seconds: float) -> None:
        """Log trials that the store lacks, from their records, for some seconds."""
        end = time.monotonic() + seconds
        for study, number in [*self._unlogged]:
            if time.monotonic() < end and self._attempt(partial(self._log_again, study, number)):
                self._unlogged.remove([study, number])
                self._run.save_state()

    def _log_again(self, study: str, number: int) -> None:
        self._delete_trial(study, number)  # it may have been cut off in the middle
        if record := self._run.record(study, number):
            self._write_trial(record)

    def _write_trial(self, record: Trial) -> None:
        family, constants = self._studies[record.study]
        settings = constants(record.settings)
        result, folder = record.result, self._run.trial_folder(record.study, record.number)
        ended = int(1000 * (folder / RECORD).stat().st_mtime)
        labels = {
            "study": record.study,
            "trial": record.number,
            "level": "trial",
            "family": family,
            "default": record.default,
        }
        said = {"status": result.status, "reason": result.reason, "warnings": "\n".join(result.warnings)}
        labels |= {name: shortened(text, LONGEST_REASON) for name, text in said.items() if text}
        started, parent = ended - int(1000 * record.seconds), self._run.state["studies"][record.study]
        name = f"{record.study} learns" if record.number == PREPARATION else f"{record.study} {record.number}"
        run = self._create(name, labels, parent, started)
        self._mlflow.log(run.run_id, ended, metrics_of(result), settings)
        log_file = folder / LOG if (folder / LOG).exists() else unfinished(folder) / LOG  # of one that was killed
        files = [folder / PROBABILITIES, log_file, *sorted(folder.glob(SAMPLES))]
        if self._mlflow.owned and (folder / MODEL).exists():
            self._models[record.study][record.number] = [run]
            files.append(folder / MODEL)
        for path in files:
            if path.exists() and path.stat().st_size:
                self._mlflow.put(run, path)
        self._mlflow.client.set_terminated(run.run_id, MLFLOW_STATUS.get(result.status, "FAILED"), ended)

    def _write_missing(self, record: Trial) -> None:
        if all(run.status == "RUNNING" for run in self._find(record.study, record.number)):  # none, or cut off
            self._log_again(record.study, record.number)

    def _write_summary(
        self, metrics: Mapping[str, float], files: Iterable[Path], studies: Mapping[str, Mapping[str, float]]
    ) -> None:
        parent, now = self._run.state["mlflow_run"], int(1000 * time.time())
        by_run = {self._run.state["studies"][study]: values for study, values in studies.items()}
        for run_id, values in {**by_run, parent: metrics}.items():
            self._mlflow.log(run_id, now, ((name, value, 0) for name, value in values.items()))
        run = self._mlflow.client.get_run(parent).info
        for path in files:
            self._mlflow.put(run, path)

    def _delete_trial(self, study: str, number: int) -> None:
        for run in self._find(study, number):
            self._mlflow.drop(run, MODEL)
            self._mlflow.discard(run)

    def _delete_model(self, study: str, number: int) -> None:
        runs = self._models[study][number]
        for run in self._find(study, number) if runs is None else runs:
            self._mlflow.drop(run, MODEL)

    def _upload_model(self, study: str, number: int) -> None:
        for run in self._find(study, number):
            if not self._mlflow.holds(run, MODEL):
                self._mlflow.put(run, self._run.model_file(study, number))

    def _create(self, name: str, tags: Mapping[str, Any], parent: str = "", started: int | None = None) -> Any:
        return self._mlflow.create(name, {**self._tags, **tags}, parent, started)

    def _close_left(self) -> None:
        """Close what other processes left open when they were killed."""
        for run_id in left_open(self._mlflow.client, self._run.store.folder, str(self._run.state["created"])):
            self._mlflow.client.set_terminated(run_id, "KILLED")

    def _find_parent(self) -> str:
        found = self._mlflow.search(level="benchmark", **{BEGAN: self._run.state["created"]})
        return found[0].info.run_id if found else ""

    def _find_study(self, study: str) -> str:
        below = self._mlflow.search(level="study", **{PARENT: self._run.state["mlflow_run"]})
        return next((run.info.run_id for run in below if run.data.tags.get("study") == study), "")

    def _find(self, study: str, number: int) -> list[Any]:
        return self._mlflow.find(self._run.state["studies"][study], number)


@contextlib.contextmanager
def _or_refuse(uri: str) -> Iterator[None]:
    try:
        with patience():
            yield
    except Exception as error:
        allowed = "a tracking URI is the address of a running MLflow server or of a database"
        raise InputError(
            f"{without_secrets(uri)}: MLflow cannot be used there: {reason(error, uri)}; {allowed}"
        ) from error
