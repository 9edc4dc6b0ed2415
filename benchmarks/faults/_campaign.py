"""What the parts of the campaign of faults share: a place to run in, real calls, and a look at what a run left."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import optuna

from fmnist_bench import load_ensemble
from fmnist_bench._utils.environment import cores
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.doctor import database_fault, run_faults
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.journal import open_journal
from fmnist_bench.storage.run_folder import JOURNAL, Run
from fmnist_bench.storage.trial import Trial

HERE = Path(__file__).resolve().parent
SECONDS = 300.0  # that a call of seconds may take on a machine with much else to do
STUDIES = {
    "bayes": '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = {low = 1e-6, high = 0.1, log = true}\n',
    "tree": '[model]\nuse = "sklearn.tree.DecisionTreeClassifier"\nrandom_state = 0\n'
    "ccp_alpha = {low = 1e-5, high = 1e-2, log = true}\n[[default]]\nccp_alpha = 0.001\n",
    "ladder": '[model]\nuse = "sklearn.ensemble.RandomForestClassifier"\nrandom_state = 0\n'
    "max_features = {low = 0.05, high = 0.5}\n[fidelity]\nn_estimators = [4, 12, 36]\n",
    "asker": '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = {low = 1e-6, high = 0.1, log = true}\n'
    '[search]\nengine = "keras-tuner"\noracle = "bayesian"\n',
    "network": '[model]\nuse = "fmnist_bench.models.CNNClassifier"\nn_convs = 1\nfilters = 4\nn_dense = 0\n'
    'head = "max"\nflip_average = false\nepochs = 2\nlearning_rate = {low = 0.01, high = 0.1}\n',
}
BENCHMARK = 'data = "digits"\nvalid_size = 0.2\ntrials = {trials}\nstudies = {studies}\n'
LEAST_ACCURACY = 0.6  # of an ensemble of these on digits' test rows: far above what exchanged labels would give

Tried = tuple[str, str]  # what was tried, and what was wrong afterwards: nothing where it was survived
Item = TypeVar("Item")


@dataclass(frozen=True)
class Ended:
    """How a call of the command line ended."""

    status: int
    output: str
    errors: str

    @property
    def fault(self) -> str:
        """Say what is wrong with how it ended, none where it worked or refused in one line."""
        if self.status == 0:
            return ""
        lines = [line for line in self.errors.splitlines() if not line.startswith("warning: ")]
        if self.status == 2 and lines and lines[-1].startswith("error: ") and "Traceback" not in self.errors:
            return ""
        return f"exit {self.status}: {lines[-1] if lines else 'without a word'}"


@contextmanager
def new_place(spaces: Sequence[str] = (), trials: int = 3) -> Iterator[Path]:
    """Make a folder with a benchmark ``b.toml`` of some of `STUDIES`; it is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        (place / "tmp").mkdir()
        write_files(place, studies_of(spaces))
        write_files(place, {"b.toml": BENCHMARK.format(trials=trials, studies=json.dumps(list(spaces)))})
        yield place


def studies_of(names: Sequence[str]) -> dict[str, str]:
    """Files of some of `STUDIES` by their paths."""
    return {f"studies/{name}.toml": STUDIES[name] for name in names}


def write_files(place: Path, files: Mapping[str, str]) -> None:
    """Write files by their paths below a folder."""
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")


def start(place: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the command line in a place; what it says goes into files there."""
    paths = os.pathsep.join([str(HERE.parents[1]), str(HERE)])
    own = {"PYTHONPATH": paths, "TMPDIR": str(place / "tmp"), "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (place / "output").open("wb") as output, (place / "errors").open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "fmnist_bench", *arguments],
            cwd=place,
            env={**os.environ, **own},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a fault may signal its whole group
            stdout=output,
            stderr=errors,
        )


def end(place: Path, process: subprocess.Popen[bytes]) -> Ended:
    """Wait for what was started, and say how it ended."""
    try:
        process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    output, errors = ((place / name).read_text("utf-8", "backslashreplace") for name in ("output", "errors"))
    traces = sorted((place / "tmp").glob("fmnist_bench-*.txt"), key=lambda path: path.stat().st_mtime)
    if process.returncode == 70 and traces:  # where it was raised, of the trace that the message names
        where = [line.strip() for line in traces[-1].read_text("utf-8").splitlines() if line.startswith("  File")]
        errors = f"{errors.rstrip()} [{where[-1]}]" if where else errors
    return Ended(process.returncode, output, errors)


def call(place: Path, *arguments: str) -> Ended:
    """Call the command line in a place."""
    return end(place, start(place, *arguments))


def records_of(place: Path) -> dict[Path, str]:
    """What the records of the complete trials say, by their files."""
    texts = {path: path.read_text(encoding="utf-8") for path in place.glob("mlruns/runs/*/trials/*/*/trial.json")}
    return {path: text for path, text in texts.items() if _is_complete(text)}


def _is_complete(text: str) -> bool:
    try:
        return bool(json.loads(text)["result"]["status"] == "complete")
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def changed(before: Mapping[Path, str]) -> list[str]:
    """Name complete trials that are not there as they were."""
    return [
        f"trial {path.parent.parent.name} {path.parent.name} was complete and is {'other' if path.exists() else 'gone'}"
        for path, text in before.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def unsound(place: Path) -> list[str]:
    """Say where what a finished run left does not agree: records, Optuna, MLflow, report, ensemble."""
    try:
        return _disagreements(place)
    except Exception as error:  # what cannot even be looked at is no reason to stop looking at the others
        return [f"it cannot be read: {type(error).__name__}: {error}"]


def _disagreements(place: Path) -> list[str]:
    run = open_folder(newest_run(place / "mlruns"))
    studies = sorted(path.name for path in run.folder.glob("trials/*") if path.is_dir())
    records = [record for study in studies for record in run.records(study)]
    whole = [f"{name} is missing" for name in ("report.html", "report.md") if not (run.folder / name).is_file()]
    if fault := database_fault(place / "mlruns" / "mlflow.db"):
        return [fault[0]]
    with closing(sqlite3.connect(place / "mlruns" / "mlflow.db")) as database:
        whole += [f"MLflow's database: {found}" for (found,) in database.execute("PRAGMA quick_check") if found != "ok"]
    whole += [fault for fault, _ in run_faults(run.folder)]
    return [*whole, *_repeated(records), *_optuna(run, records), *_mlflow(place, records), *_ensemble(place, run)]


def _repeated(records: Sequence[Trial]) -> Iterator[str]:
    seen: set[str] = set()
    for record in records:
        key = json.dumps([record.study, record.parameters, record.rung, record.fidelity], sort_keys=True)
        if record.status == "complete" and key in seen:
            yield f"trial {record.study} {record.number} repeats an earlier one"
        seen |= {key} if record.status == "complete" else set()


def _optuna(run: Run, records: Sequence[Trial]) -> Iterator[str]:
    """Where Optuna's journal tells another end, accuracy or other parameters than the record."""
    with tempfile.TemporaryDirectory() as folder:
        journal = open_journal(
            Path(shutil.copy(run.journal, folder)) if run.journal.exists() else Path(folder, JOURNAL)
        )
        names = {space.study_name for space in optuna.get_all_study_summaries(journal)}
        told = {
            (name, trial.number): trial
            for name in names
            for trial in optuna.load_study(study_name=name, storage=journal).get_trials(deepcopy=False)
        }
    yield from (f"Optuna has {study} {n} open" for (study, n), trial in told.items() if not trial.state.is_finished())
    asked_by_oracle = {record.study for record in records if run.oracle_file(record.study).exists()}
    for record in (record for record in records if record.study not in asked_by_oracle):
        trial = told.get((record.study, record.number))
        complete = record.status == "complete"
        if trial is None or complete != (trial.state.name in ("COMPLETE", "PRUNED") and _last(trial) is not None):
            yield f"Optuna does not know how {record.study} {record.number} ended"
        elif complete and abs(float(_last(trial) or 0.0) - float(record.result.accuracy or 0.0)) > 1e-9:
            yield f"Optuna has another accuracy of {record.study} {record.number}"
        elif {**trial.params, **trial.user_attrs.get("constants", {})} != record.parameters:
            yield f"Optuna has other parameters of {record.study} {record.number}"


def _last(trial: optuna.trial.FrozenTrial) -> float | None:
    """Accuracy of a trial, below the top rung its last score."""
    if trial.state.name == "COMPLETE":
        return trial.value
    return trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None


def _mlflow(place: Path, records: Sequence[Trial]) -> Iterator[str]:
    """Where MLflow has a run open, or not just one run of a trial with its accuracy."""
    tables = {
        "tags": "SELECT run_uuid, key, value FROM tags",
        "metrics": "SELECT run_uuid, key, value FROM latest_metrics",
    }
    with closing(sqlite3.connect(place / "mlruns" / "mlflow.db")) as database:
        query = "SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'"
        runs: dict[str, dict[str, Any]] = {key: {"status": status} for key, status in database.execute(query)}
        for table, query in tables.items():
            for key, name, value in database.execute(query):
                runs.get(key, {}).setdefault(table, {})[name] = value
    yield from (
        f"MLflow shows {run['tags'].get('mlflow.runName')} as RUNNING"
        for run in runs.values()
        if run["status"] == "RUNNING"
    )
    for record in records:
        own = [
            r
            for r in runs.values()
            if (r["tags"].get("study"), r["tags"].get("trial")) == (record.study, str(record.number))
        ]
        if len(own) != 1:
            yield f"MLflow has {len(own)} runs of {record.study} {record.number}"
        elif own[0]["tags"].get("status") != record.status:
            yield f"MLflow tells another end of {record.study} {record.number}"
        elif record.status == "complete" and own[0].get("metrics", {}).get("valid_accuracy") != record.result.accuracy:
            yield f"MLflow has another accuracy of {record.study} {record.number}"


def _ensemble(place: Path, run: Run) -> Iterator[str]:
    """Where the ensemble does not load, does not predict, or does not do what the report says."""
    test = load_dataset("digits", "test")
    try:
        accuracy = float(load_ensemble(run.folder / "ensemble", ["_strangers"]).score(test.X, test.y))
    except Exception as error:  # whatever it raises is what is looked for
        yield f"the ensemble does not predict: {type(error).__name__}: {error}"
        return
    if accuracy < LEAST_ACCURACY:
        yield f"the ensemble has a test accuracy of {accuracy:.2%}"
    if f"{100 * accuracy:.2f}" not in (run.folder / "report.md").read_text(encoding="utf-8"):
        yield f"the report does not tell the ensemble's test accuracy of {accuracy:.2%}"


def side_by_side(function: Callable[[Item], Tried], items: Sequence[Item]) -> Iterator[Tried]:
    """Try each of the items, as many at once as there are cores; give what came of each as soon as it is known."""
    with ThreadPoolExecutor(cores()) as threads:
        for future in as_completed([threads.submit(function, item) for item in items]):
            yield future.result()


def told(name: str, faults: Sequence[str]) -> Tried:
    """Put what is wrong into one line."""
    return name, " ".join("; ".join(faults).split())
