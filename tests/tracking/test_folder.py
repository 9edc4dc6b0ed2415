"""A folder of results that moves, is copied, or was left open by a process that was killed."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from fmnist_bench import load_dataset
from fmnist_bench._utils.addresses import database_uri, local_path
from fmnist_bench._utils.errors import InputError
from fmnist_bench.doctor import database_fault, examine
from fmnist_bench.runner import rewrite_report, run_benchmark
from fmnist_bench.storage.run_folder import Run, Store
from fmnist_bench.tracking.client import make_database
from fmnist_bench.tracking.folder import PLACES, settle
from fmnist_bench.tracking.servers import check_registered, serve_command
from fmnist_bench.tracking.tracker import Tracker

STUDY = '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = { low = 1e-9, high = 0.1, log = true }\n'
BENCHMARK = 'data = "digits"\nvalid_size = 0.2\ntrials = 1\nstudies = ["bayes"]\n'


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run a benchmark once; give the folder of its results, beside its file."""
    folder = tmp_path_factory.mktemp("a%20b ? é")
    (folder / "bayes.toml").write_text(STUDY)
    (folder / "tiny.toml").write_text(BENCHMARK.replace('"bayes"', f'"{folder}/bayes.toml"'))
    run_benchmark(folder / "tiny.toml", mlruns=folder / "mlruns")
    return folder / "mlruns"


HALF_WRITTEN = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 2")  # pages reach the file before the transaction ends
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE experiments SET artifact_location = 'file:///nowhere/artifacts'")
many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i, randomblob(200) FROM n"
database.execute(f"CREATE TABLE rubbish AS {many}")
os.kill(os.getpid(), 9)
"""


def copy(source, target):
    shutil.copytree(source, target, symlinks=True)


def link(source, target):
    """Copy as `cp -al` and backups do: every file of the copy is a second name of the original's."""
    shutil.copytree(source, target, copy_function=os.link)


def move(source, target):
    """Move a copy, whose first opening has made it a folder of its own."""
    copy(source, target.with_name("before"))
    settle(target.with_name("before") / "mlflow.db")
    target.with_name("before").rename(target)


def checksums(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def places(database):
    """Every place of a file that the database knows."""
    with contextlib.closing(sqlite3.connect(database)) as there:
        found = [there.execute(f"SELECT {column} FROM {table}").fetchall() for table, column in PLACES]
    return {local_path(uri) for rows in found for (uri,) in rows}


def test_every_place_lies_within_the_folder_whatever_its_name(finished):
    assert all(path.is_relative_to(finished / "artifacts") for path in places(finished / "mlflow.db"))
    assert {path.name for path in finished.parent.iterdir()} == {"bayes.toml", "tiny.toml", "mlruns"}


@pytest.mark.parametrize("bring", [link, *(pytest.param(way, marks=pytest.mark.slow) for way in (copy, move))])
def test_a_folder_at_another_place_is_whole_and_writes_nothing_elsewhere(finished, bring, tmp_path, monkeypatch):
    here, before = tmp_path / "elsewhere" / "results", checksums(finished)
    here.parent.mkdir()
    bring(finished, here)
    rewrite_report("tiny", here)
    assert all(path.is_relative_to(here / "artifacts") for path in places(here / "mlflow.db"))
    outcome = run_benchmark(finished.parent / "tiny.toml", trials=2, mlruns=here)
    assert outcome.folder.is_relative_to(here)
    assert checksums(finished) == before
    assert [path.name for path in here.parent.iterdir()] == ["results"]
    there = MlflowClient(database_uri(here / "mlflow.db"))
    (parent,) = there.search_runs(["1"], "tags.level = 'benchmark'")
    report = local_path(parent.info.artifact_uri) / "report.html"
    assert report.read_bytes() == (outcome.folder / "report.html").read_bytes()
    _, environment = serve_command("digits-ensemble-tiny@champion", here, "", 0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", environment["MLFLOW_TRACKING_URI"])
    finished.rename(finished.with_name("away"))
    try:
        served = mlflow.pyfunc.load_model("models:/digits-ensemble-tiny@champion")
        X = load_dataset("digits", "test").X[:5].astype(float)
        (champion,) = {model.run_id for model in there.search_model_versions("name = 'digits-ensemble-tiny'")}
        assert champion == parent.info.run_id and len(served.predict(X)) == 5
    finally:
        finished.with_name("away").rename(finished)


def test_a_copy_is_served_from_its_own_files_or_not_at_all(finished, tmp_path):
    copy(finished, tmp_path / "copy")
    _, environment = serve_command("digits-ensemble-tiny/1", tmp_path / "copy", "", 0)
    for model in ("digits-ensemble-tiny/1", "digits-ensemble-tiny@champion"):
        check_registered(model, environment["MLFLOW_TRACKING_URI"])
    shutil.rmtree(tmp_path / "copy" / "artifacts")
    for model in ("digits-ensemble-tiny/1", "digits-ensemble-tiny@champion"):
        with pytest.raises(InputError, match=f"its files are missing, {tmp_path}/copy/artifacts/models"):
            check_registered(model, environment["MLFLOW_TRACKING_URI"])


def test_a_damaged_database_is_refused_before_a_server_starts(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database, but long enough to look like something" * 20)
    with pytest.raises(InputError, match="not a database; python -m fmnist_bench doctor says what to do"):
        serve_command("digits-ensemble-tiny/1", tmp_path, "", 0)


def test_an_experiment_of_somebody_else_stays_where_it_is(tmp_path):
    database = tmp_path / "mlflow.db"
    make_database(database)
    there = MlflowClient(database_uri(database))
    for name, place in (("theirs", "file:///elsewhere/3"), ("old", "file:///old/artifacts")):
        there.create_experiment(name, place)
    settle(database)
    assert there.get_experiment_by_name("theirs").artifact_location == "file:///elsewhere/3"
    assert there.get_experiment_by_name("old").artifact_location == (tmp_path / "artifacts").as_uri()
    assert there.get_experiment("0").artifact_location == (tmp_path / "artifacts/0").as_uri()


def test_an_experiment_that_was_deleted_is_restored(finished, tmp_path):
    copy(finished, tmp_path / "copy")
    database = tmp_path / "copy" / "mlflow.db"
    with contextlib.closing(sqlite3.connect(database)) as there, there:
        there.execute("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'tiny'")
    run_benchmark(finished.parent / "tiny.toml", mlruns=tmp_path / "copy")
    assert MlflowClient(database_uri(database)).get_experiment_by_name("tiny").lifecycle_stage == "active"
    assert [check.status for check in examine(tmp_path / "copy") if check.name in ("MLflow", "runs")] == ["ok", "ok"]


def test_a_run_that_mlflow_refused_leaves_nothing(finished, tmp_path):
    copy(finished, tmp_path / "copy")
    before = checksums(tmp_path / "copy")
    uri = "sqlite:////nowhere/at/all/mlflow.db"
    with pytest.raises(InputError, match="unable to open"):
        run_benchmark(finished.parent / "tiny.toml", fresh=True, mlruns=tmp_path / "copy", tracking_uri=uri)
    assert checksums(tmp_path / "copy").keys() == before.keys()


CUT = """
import os, signal, sys
from pathlib import Path
from fmnist_bench.tracking.store import MlflowStore
from fmnist_bench.storage.run_folder import Run, Store
from fmnist_bench.tracking.tracker import Tracker
made, create, countdown = [], MlflowStore.create, int(sys.argv[2])
def killed(*arguments):
    info = create(*arguments)
    made.append(info)
    if len(made) == countdown:
        os.kill(os.getpid(), signal.SIGKILL)
    return info
MlflowStore.create = killed
store = Store("mlruns")
(store.folder / "runs" / sys.argv[1]).mkdir(exist_ok=True)
with Run(store, store.folder / "runs" / sys.argv[1], "b") as run:
    Tracker(run, "b", {}).open_study("svm", "svm")
"""


def levels(folder):
    there = MlflowClient(database_uri(folder / "mlflow.db"))
    runs = there.search_runs([there.get_experiment_by_name("b").experiment_id])
    return sorted((run.data.tags["level"], run.info.status) for run in runs)


@pytest.mark.parametrize(("countdown", "left"), [(1, ["benchmark"]), (2, ["study", "benchmark"])])
def test_what_a_kill_left_running_is_gone_on_with_or_closed(arena, tmp_path, countdown, left):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", CUT, "first", str(countdown)], env=environment, cwd=tmp_path)
    assert done.returncode == -9
    store = Store(tmp_path / "mlruns")
    assert levels(store.folder) == sorted((level, "RUNNING") for level in left)
    (store.folder / "runs" / "other").mkdir()
    with Run(store, store.folder / "runs" / "other", "b") as run:
        tracker = Tracker(run, "b", {})
        assert levels(store.folder) == sorted([*((level, "KILLED") for level in left), ("benchmark", "RUNNING")])
        tracker.close("FINISHED")
    with Run(store, store.folder / "runs" / "first", "b") as run:
        tracker = Tracker(run, "b", {})
        tracker.open_study("svm", "svm")
        tracker.close("FINISHED")
    assert levels(store.folder) == [("benchmark", "FINISHED"), ("benchmark", "FINISHED"), ("study", "FINISHED")]


def test_what_another_process_is_at_work_on_is_left_alone(arena, tmp_path):
    store = Store(tmp_path / "mlruns")
    for name in ("one", "two"):
        (store.folder / "runs" / name).mkdir()
    with Run(store, store.folder / "runs" / "one", "b") as one, Run(store, store.folder / "runs" / "two", "b") as two:
        Tracker(one, "b", {})
        Tracker(two, "b", {})
        assert levels(store.folder) == [("benchmark", "RUNNING")] * 2


@pytest.mark.parametrize("how", [copy, link])
def test_what_a_killed_process_had_begun_to_write_is_taken_back(finished, tmp_path, how):
    copy(finished, tmp_path / "first")
    first = tmp_path / "first" / "mlflow.db"
    subprocess.run([sys.executable, "-c", HALF_WRITTEN, str(first)], check=False, timeout=60)
    assert first.with_name("mlflow.db-journal").exists()
    how(first.parent, tmp_path / "second")
    before = checksums(first.parent)
    second = tmp_path / "second" / "mlflow.db"
    assert database_fault(second) is None
    assert all(path.is_relative_to(finished / "artifacts") for path in places(second))
    settle(second)
    assert all(path.is_relative_to(second.parent / "artifacts") for path in places(second))
    assert checksums(first.parent) == before
