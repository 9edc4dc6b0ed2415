import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from sqlalchemy import event
from sqlalchemy.engine import Engine

from fmnist_bench._utils.errors import InputError
from fmnist_bench.report import mlflow_notes
from fmnist_bench.storage.results import PREPARATION, PREPARED, TrialResult
from fmnist_bench.storage.run_folder import Run, Store
from fmnist_bench.storage.trial import Trial
from fmnist_bench.storage.trial_folder import LOG, MODEL, PROBABILITIES
from fmnist_bench.tracking import tracker as tracking
from fmnist_bench.tracking.servers import check_registered, serve_command
from fmnist_bench.tracking.store import LONGEST_PARAM, MlflowStore
from fmnist_bench.tracking.tracker import Tracker


@pytest.fixture
def run(arena, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return Run(Store(tmp_path / "mlruns"), folder, "b")


@pytest.fixture
def tracker(run):
    return track(run)


def with_kernel(parameters):
    return {"model__kernel": "rbf", **parameters}


def track(run, uri="", say=print, settings=with_kernel):
    tracker = Tracker(run, "b", {"seed": 0}, uri, say)
    tracker.open_study("svm", "svm", settings)
    return tracker


def finish(run, tracker, number, status="complete", history=None, **settings):
    folder = run.trial_folder("svm", number)
    folder.mkdir(parents=True)
    for name in (MODEL, PROBABILITIES):
        (folder / name).write_text("content")
    result = TrialResult(status, "why", accuracy=0.5, log_loss=1.0, history=history or {})
    record = Trial("svm", number, {"model__C": 1.5, **settings}, "", result, 2.0, 9.0)
    run.save_record(record)
    tracker.log_trial(record)


def client(run, uri=""):
    return MlflowClient(uri or run.store.tracking_uri)


def level(run, name, uri=""):
    there = client(run, uri)
    return there.search_runs([there.get_experiment_by_name("b").experiment_id], f"tags.level = '{name}'")


def trials(run, uri=""):
    """Every trial that is shown, by its number; shown twice is an error."""
    found = [(int(trial.data.tags["trial"]), trial) for trial in level(run, "trial", uri)]
    assert len(dict(found)) == len(found)
    return dict(found)


def artifacts(run, number, uri=""):
    return {item.path for item in client(run, uri).list_artifacts(trials(run, uri)[number].info.run_id)}


@pytest.mark.parametrize(
    ("status", "shown"), [("complete", "FINISHED"), ("pruned", "KILLED"), ("crashed", "FAILED"), ("timeout", "FAILED")]
)
def test_a_trial_is_shown_as_what_it_was(run, tracker, status, shown):
    finish(run, tracker, 0, status)
    trial = trials(run)[0]
    assert trial.info.status == shown
    assert (trial.data.tags["status"], trial.data.tags["reason"], trial.data.tags["family"]) == (status, "why", "svm")
    assert trial.data.params == {"model__kernel": "rbf", "model__C": "1.5"}
    assert artifacts(run, 0) == {MODEL, PROBABILITIES}


def test_a_trial_shows_what_it_warned_of_and_the_log_that_it_left_when_it_was_killed(run, tracker):
    folder = run.trial_folder("svm", 0).with_name("0.tmp")
    folder.mkdir(parents=True)
    (folder / LOG).write_text("still going\n")
    result = TrialResult("timeout", warnings=["ConvergenceWarning: no", "UserWarning: so"])
    run.save_record(record := Trial("svm", 0, {"model__C": 1.5}, "", result, 2.0, 9.0))
    tracker.log_trial(record)
    tags = trials(run)[0].data.tags
    assert tags["warnings"] == "ConvergenceWarning: no\nUserWarning: so"
    assert "reason" not in tags
    assert artifacts(run, 0) == {LOG}


def test_what_nobody_measured_is_left_out(run, tracker):
    finish(run, tracker, 0)
    finish(run, tracker, 1, "timeout")
    assert {"predict_seconds", "schedule_share"} <= trials(run)[0].data.metrics.keys()
    assert not {"predict_seconds", "schedule_share", "peak_memory_mib"} & trials(run)[1].data.metrics.keys()


def test_a_name_that_mlflow_refuses_is_changed(run, tracker):
    finish(run, tracker, 0, **{"model__units (dense)": 3, "..": 1, "/x": 2, "": 3, "./y": 4})
    assert trials(run)[0].data.params["model__units _dense_"] == "3"
    finish(run, tracker, 1, history={"loss (%)": [0.5], "x" * 999: [0.4], "a//b/../c": [0.3]})
    assert trials(run)[1].info.status == "FINISHED"
    assert trials(run)[1].data.metrics["curve_loss ___"] == 0.5
    assert trials(run)[1].data.metrics["_curve_a__b_.._c"] == 0.3


def test_a_long_curve_is_logged_whole(run, tracker):
    n = 1005  # MLflow takes 1000 at once
    finish(run, tracker, 0, history={"step": list(range(n)), "valid_loss": [float(i) for i in range(n)]})
    curve = client(run).get_metric_history(trials(run)[0].info.run_id, "curve_valid_loss")
    assert sorted((point.step, point.value) for point in curve) == [(i, float(i)) for i in range(n)]


def test_models_of_the_others_are_deleted_here_and_in_mlflow(run, tracker):
    for number in range(3):
        finish(run, tracker, number)
    tracker.keep_models("svm", [1])
    assert [run.model_file("svm", number).exists() for number in range(3)] == [False, True, False]
    assert [MODEL in artifacts(run, number) for number in range(3)] == [False, True, False]
    assert all(PROBABILITIES in artifacts(run, number) for number in range(3))


def test_going_on_uses_the_same_runs_and_forgets_half_a_trial(run, tracker):
    finish(run, tracker, 0)
    state = json.dumps(run.state)
    again = track(run)
    assert json.dumps(run.state) == state
    again.forget_trial("svm", 0)
    assert trials(run) == {}


def test_going_on_deletes_models_that_an_earlier_call_left(run, tracker):
    finish(run, tracker, 0)
    again = track(run)
    finish(run, again, 1)
    again.keep_models("svm", [1])
    assert [run.model_file("svm", number).exists() for number in range(2)] == [False, True]
    assert [MODEL in artifacts(run, number) for number in range(2)] == [False, True]


def test_the_best_and_the_members_are_marked_and_nobody_else(run, tracker):
    for number in range(3):
        finish(run, tracker, number)
    tracker.show(partial(mlflow_notes.mark, best={"svm": 0}, members=[("svm", 0, 0.7), ("svm", 2, 0.3)]))
    track(run).show(partial(mlflow_notes.mark, best={"svm": 1}, members=[("svm", 1, 0.6), ("svm", 2, 0.4)]))
    tags = {number: trial.data.tags for number, trial in trials(run).items()}
    assert {n: (t.get("best"), t.get("weight")) for n, t in tags.items()} == {
        0: (None, None),
        1: ("yes", "0.600"),
        2: (None, "0.400"),
    }


def test_marks_that_failed_half_way_are_taken_back_later(run, tracker, monkeypatch):
    for number in range(3):
        finish(run, tracker, number)
    tag = MlflowStore.tag

    def fails_at_the_second(store, run_id, tags):
        monkeypatch.setattr(MlflowStore, "tag", refuse)
        tag(store, run_id, tags)

    def refuse(store, run_id, tags):
        raise ConnectionError("away")

    monkeypatch.setattr(MlflowStore, "tag", fails_at_the_second)
    tracker.show(partial(mlflow_notes.mark, best={"svm": 2}, members=[("svm", 1, 1.0)]))
    assert trials(run)[2].data.tags["best"] == "yes"
    assert "weight" not in trials(run)[1].data.tags
    monkeypatch.setattr(MlflowStore, "tag", tag)
    tracker.show(partial(mlflow_notes.mark, best={"svm": 0}, members=[]))
    assert [n for n, trial in trials(run).items() if {"best", "weight"} & trial.data.tags.keys()] == [0]


def test_pages_say_what_is_compared_and_which_rows_are_learnt_from(run, tracker, digits, split):
    run.save_state(data="digits")
    for about in ("first", "second"):  # a run that goes on, whose experiment tells how it had ended
        tracker.show(partial(mlflow_notes.begin, about=about, dataset=digits, split=split))
    (parent,) = level(run, "benchmark")
    assert client(run).get_experiment_by_name("b").tags["mlflow.note.content"].startswith("first\n\nEach run is")
    assert parent.data.tags["mlflow.note.content"].startswith("second\n\nEach run is")
    found = {one.tags[0].value: one.dataset for one in parent.inputs.dataset_inputs}
    assert {context: data.name for context, data in found.items()} == {
        "training": "digits training",
        "validation": "digits validation",
    }
    assert json.loads(found["training"].profile)["features_shape"] == [len(split.train), 64]
    assert len(parent.inputs.dataset_inputs) == 2
    assert found["training"].digest != found["validation"].digest


def test_a_report_that_is_made_again_replaces_the_old_one(run, tracker, tmp_path, caplog):
    report = run.folder / "report.md"
    for text in ("old", "new"):
        report.unlink(missing_ok=True)
        report.write_text(text)
        mlflow_notes.renew(run, [report])
    where = {"run_id": run.state["mlflow_run"], "tracking_uri": run.store.tracking_uri}
    assert Path(download_artifacts(artifact_path="report.md", **where)).read_text() == "new"
    missing = tmp_path / "missing.db"
    run.save_state(tracking_uri=f"sqlite:///{missing}")
    mlflow_notes.renew(run, [report])
    assert f"MLflow keeps the report as it was: {missing}: there is no such file" in caplog.text
    assert not missing.exists()


def test_a_trial_costs_the_same_whatever_there_is(run, tracker):
    statements = []
    listen = lambda *arguments: statements.append(arguments[2])  # noqa: E731
    event.listen(Engine, "before_cursor_execute", listen)
    costs = []
    try:
        for number in range(12):
            finish(run, tracker, number)
            logged = len(statements)
            tracker.keep_models("svm", [number])
            costs.append((logged, len(statements) - logged))
            statements.clear()
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert costs[1] == costs[11] and costs[11][0] > 0
    assert costs[11][1] == 0


def test_a_long_value_is_cut_and_shows_it(run, tracker):
    finish(run, tracker, 0, model__sizes="x" * (LONGEST_PARAM + 1))
    shown = trials(run)[0].data.params["model__sizes"]
    assert len(shown) == LONGEST_PARAM and shown.endswith("xx...")


def test_a_trial_that_mlflow_refuses_does_not_stop_the_run(run):
    said = []
    tracker = track(run, say=said.append)
    with sqlite3.connect(run.store.folder / "mlflow.db") as database:
        refuse = "BEFORE INSERT ON params WHEN NEW.key = 'odd' BEGIN SELECT RAISE(ABORT, 'no odd ones'); END"
        database.execute(f"CREATE TRIGGER refuse {refuse}")
    finish(run, tracker, 0, odd=1)
    assert run.state["unlogged"] == [["svm", 0]]
    assert len(said) == 1 and "no odd ones" in said[0]
    finish(run, tracker, 1)
    assert json.loads((run.folder / "run.json").read_text())["unlogged"] == [["svm", 0]]
    tracker.log_summary({}, [], {})
    assert len(said) == 2 and "lacks 1 of the trials" in said[1]
    with sqlite3.connect(run.store.folder / "mlflow.db") as database:
        database.execute("DROP TRIGGER refuse")
    again = track(run, say=said.append)
    again.log_summary({}, [], {})
    assert trials(run)[0].data.params == {"model__C": "1.5", "model__kernel": "rbf", "odd": "1"}
    assert trials(run)[1].info.status == "FINISHED"
    assert run.state["unlogged"] == [] and len(said) == 2


def test_what_was_cut_off_in_the_middle_is_shown_once(run, tracker):
    finish(run, tracker, 0)
    client(run).update_run(trials(run)[0].info.run_id, status="RUNNING")
    run.save_state(unlogged=[["svm", 0]])
    track(run).log_trial(run.record("svm", 0))
    assert run.state["unlogged"] == []
    assert trials(run)[0].info.status == "FINISHED"
    assert trials(run)[0].info.end_time == int(1000 * (run.trial_folder("svm", 0) / "trial.json").stat().st_mtime)


def test_a_run_that_was_deleted_in_mlflow_is_logged_anew(run, tracker):
    finish(run, tracker, 0)
    client(run).delete_run(run.state["mlflow_run"])
    client(run).delete_run(trials(run)[0].info.run_id)
    again = track(run)
    again.log_summary({"test_accuracy": 0.9}, [], {"svm": {"test_accuracy": 0.8}})
    again.close("FINISHED")
    assert trials(run)[0].data.tags["mlflow.parentRunId"] == run.state["studies"]["svm"]
    parent = level(run, "benchmark")[0]
    assert (parent.info.run_id, parent.data.metrics) == (run.state["mlflow_run"], {"test_accuracy": 0.9})


def test_another_database_gets_every_trial_of_the_run(run, tracker, tmp_path, empty_database):
    finish(run, tracker, 0)
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    shutil.copy(empty_database, tmp_path / "other.db")
    there = track(run, uri)
    assert run.state["tracking_uri"] == uri
    finish(run, there, 1)
    there.keep_models("svm", [1])
    there.log_summary({}, [], {})
    assert {number: trial.info.status for number, trial in trials(run, uri).items()} == {0: "FINISHED", 1: "FINISHED"}
    assert trials(run, uri)[0].data.params == {"model__C": "1.5", "model__kernel": "rbf"}
    assert [artifacts(run, number, uri) for number in (0, 1)] == [{PROBABILITIES}, {PROBABILITIES, MODEL}]
    assert set(trials(run)) == {0}
    state = json.dumps(run.state)
    track(run, uri)
    assert json.dumps(run.state) == state


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://somebody:secret@127.0.0.1:{port}", "Connection refused"),
        ("http://secret@127.0.0.1:{port}?token=secret", "http://127.0.0.1"),
        ("http://somebody:secret/x@127.0.0.1:{port}", "http://127.0.0.1"),
        ("postgresql://somebody:secret@127.0.0.1:{port}/mlflow", "refused|psycopg"),
        ("sqlite:////nowhere/at/all/mlflow.db", "unable to open"),
        ("gopher://127.0.0.1", "gopher"),
    ],
)
def test_an_address_where_nobody_answers_is_refused_at_once(run, uri, why):
    started = time.monotonic()
    with pytest.raises(InputError, match=why) as refusal:
        track(run, uri.format(port=free_port()))
    assert time.monotonic() - started < 60
    assert "secret" not in str(refusal.value) and "\n" not in str(refusal.value)
    assert "127.0.0.1" in str(refusal.value) or "nowhere" in str(refusal.value)
    assert "mlflow_run" not in run.state


@pytest.mark.slow
def test_a_server_that_takes_the_call_and_says_nothing_is_refused(run):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        started = time.monotonic()
        with pytest.raises(InputError, match="timed out"):
            track(run, f"http://127.0.0.1:{mute.getsockname()[1]}")
    assert time.monotonic() - started < 60


def test_an_empty_database_is_made_in_a_thread_and_writes_nothing(tmp_path):
    code = (
        "import sys, threading\n"
        "from fmnist_bench.tracking.client import empty_database\n"
        "assert 'mlflow' not in sys.modules\n"
        "threads = [threading.Thread(target=empty_database) for _ in range(3)]\n"
        "[thread.start() for thread in threads]; found = empty_database(); [thread.join() for thread in threads]\n"
        "assert {'mlflow.tracking', 'mlflow.store.tracking.sqlalchemy_store', 'alembic.command'} <= set(sys.modules)\n"
        "assert found.startswith(b'SQLite format 3')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_new_database_outlives_a_kill_and_other_processes(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from fmnist_bench.storage.run_folder import Run, Store; from fmnist_bench.tracking.tracker import Tracker\n"
        "print('go', flush=True); run = Run(Store('mlruns'), Path(sys.argv[1]), 'b')\n"
        "run.folder.mkdir(); Tracker(run, 'b', {})\n"
    )

    def start(name):
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-c", code, name]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE)

    for delay in (1.0, 2.0, 3.0):
        with start(f"killed-{delay}") as process:
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
    processes = [start(f"run-{number}") for number in range(3)]
    assert [process.communicate()[0] for process in processes] == [b"go\n"] * 3
    assert [process.returncode for process in processes] == [0, 0, 0]
    there = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    assert len(there.search_runs([there.get_experiment_by_name("b").experiment_id])) >= 3


TAGS = {"data_fingerprint": "f", "train_rows": 80, "validation_rows": 20, "seed": 0}


def register(run, tracker, content, accuracy, **tags):
    run.ensemble_folder.mkdir(exist_ok=True)
    (run.ensemble_folder / "manifest.json").write_text(content)
    (run.ensemble_folder / "0-svm.skops").write_text("model")
    tracker.register("b-ensemble", {**TAGS, "valid_accuracy": accuracy, **tags}, np.zeros((1, 4), np.uint8), ["x", "y"])
    return run.state["registered"]


def champion(run, uri=""):
    return client(run, uri).get_model_version_by_alias("b-ensemble", "champion")


def test_a_version_is_the_champion_while_none_is_better(run):
    said = []
    tracker = track(run, say=said.append)
    for number, (accuracy, tags, best) in enumerate(
        [(0.8, {}, 1), (0.9, {"seed": 1}, 2), (0.85, {}, 2), (0.9, {}, 2), (0.99, {"validation_rows": 30}, 2)], start=1
    ):
        registered = register(run, tracker, f"manifest {number}", accuracy, **tags)
        assert str(champion(run).version) == str(best)
        assert registered["model"] == f"b-ensemble/{number}"
    assert champion(run).tags == {"data_fingerprint": "f", "train_rows": "80", "validation_rows": "20", "seed": "1"} | {
        "valid_accuracy": "0.9"
    }
    assert [line.rpartition("; ")[2] if ";" in line else line.rpartition(", ")[2] for line in said] == [
        "the new champion",
        "the new champion",
        "the champion is no worse and stays",
        "the champion is no worse and stays",
        "the champion was chosen or fine-tuned on other rows and stays",
    ]


def test_what_is_registered_belongs_to_the_run_and_takes_no_room(run, tracker):
    register(run, tracker, "manifest", 0.8)
    (model,) = client(run).search_logged_models([client(run).get_experiment_by_name("b").experiment_id])
    assert (model.status, model.source_run_id) == ("READY", run.state["mlflow_run"])
    outputs = client(run).get_run(run.state["mlflow_run"]).outputs.model_outputs
    assert [output.model_id for output in outputs] == [model.model_id]
    (member,) = run.store.folder.glob("artifacts/models/*/artifacts/ensemble/*.skops")
    assert member.samefile(run.ensemble_folder / "0-svm.skops")


def test_an_ensemble_is_registered_once_and_anew_where_it_is_not(run, tracker, tmp_path, empty_database):
    first = register(run, tracker, "manifest", 0.8)
    assert register(run, track(run), "manifest", 0.8) == first
    assert len(client(run).search_model_versions("name = 'b-ensemble'")) == 1
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    shutil.copy(empty_database, tmp_path / "other.db")
    assert register(run, track(run, uri), "manifest", 0.8)["version"] == "1"
    assert champion(run, uri).run_id == run.state["mlflow_run"]


def test_a_name_that_mlflow_refuses_does_not_stop_the_run(run):
    said = []
    tracker = track(run, say=said.append)
    register(run, tracker, "manifest", 0.8)
    (run.ensemble_folder / "manifest.json").write_text("another")
    tracker.register("not/allowed", {**TAGS, "valid_accuracy": 0.9}, np.zeros((1, 4)), ["x", "y"])
    assert run.state["registered"] is None
    assert "not/allowed is not registered; the same command does it when run again" in said[-1]
    models = client(run).search_logged_models([client(run).get_experiment_by_name("b").experiment_id])
    assert len(models) == 1
    assert not list(run.folder.glob("*.tmp"))


class Server:
    """A real MLflow server over a folder, which can be killed and started again at the same address."""

    def __init__(self, folder, empty_database):
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        shutil.copy(empty_database, folder / "mlflow.db")

    def start(self):
        stores = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--artifacts-destination", self.folder]
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command = [sys.executable, "-m", "mlflow", "server", *stores, *address]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        patiently(f"{self.uri}/health", self.process)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path, empty_database):
    (tmp_path / "elsewhere").mkdir()
    server = Server(tmp_path / "elsewhere", empty_database)
    server.start()
    yield server
    server.kill()


@pytest.mark.slow
def test_everything_arrives_at_a_server(run, server, tmp_path, capfd):
    report = tmp_path / "report.md"
    report.write_text("done")
    tracker = track(run, server.uri)
    for number in range(3):
        finish(run, tracker, number, history={"valid_loss": [0.3, 0.2]})
        tracker.keep_models("svm", [number])
    assert all(artifacts(run, number, server.uri) == {PROBABILITIES} for number in range(3))
    tracker.log_summary({"test_accuracy": 0.9}, [report], {"svm": {"test_accuracy": 0.8}})
    tracker.close("FINISHED")
    assert {n: MODEL in artifacts(run, n, server.uri) for n in range(3)} == {0: False, 1: False, 2: True}
    shown = trials(run, server.uri)[2]
    assert (shown.info.status, shown.data.params, shown.data.metrics["valid_accuracy"]) == (
        "FINISHED",
        {"model__kernel": "rbf", "model__C": "1.5"},
        0.5,
    )
    (parent,) = level(run, "benchmark", server.uri)
    assert (parent.info.status, parent.data.metrics) == ("FINISHED", {"test_accuracy": 0.9})
    assert [item.path for item in client(run, server.uri).list_artifacts(parent.info.run_id)] == ["report.md"]

    again = track(run, server.uri)
    finish(run, again, 3)
    again.keep_models("svm", [3])
    again.log_summary({}, [], {})
    assert {n: MODEL in artifacts(run, n, server.uri) for n in range(4)} == {0: False, 1: False, 2: False, 3: True}
    assert not (tmp_path / "mlruns" / "artifacts").exists() or not list((tmp_path / "mlruns" / "artifacts").iterdir())
    assert "View run" not in capfd.readouterr().out


@pytest.mark.slow
def test_the_ensemble_is_registered_at_a_server(run, server, tmp_path, monkeypatch):
    registered = register(run, track(run, server.uri), "manifest", 0.8)
    assert registered["model"] == "b-ensemble/1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)  # as the model server finds it
    files = Path(download_artifacts("models:/b-ensemble@champion", dst_path=str(tmp_path)))
    assert (files / "ensemble" / "0-svm.skops").read_text() == "model"
    assert (files / "MLmodel").exists()


@pytest.mark.slow
def test_a_server_that_goes_away_and_comes_back_gets_everything(run, server, monkeypatch):
    monkeypatch.setattr(tracking, "PAUSE", 1.0)
    said = []
    tracker = track(run, server.uri, said.append)
    finish(run, tracker, 0)
    server.kill()
    started = time.monotonic()
    for number in (1, 2):
        finish(run, tracker, number)
        tracker.keep_models("svm", [2])
    assert time.monotonic() - started < 60
    assert json.loads((run.folder / "run.json").read_text())["unlogged"] == [["svm", 1], ["svm", 2]]
    assert not run.model_file("svm", 1).exists()
    assert len(said) == 1 and server.uri in said[0] and "Connection" in said[0]

    server.start()
    time.sleep(2)
    finish(run, tracker, 3)
    assert run.state["unlogged"] == []
    shown = trials(run, server.uri)
    assert {number: trial.info.status for number, trial in shown.items()} == dict.fromkeys(range(4), "FINISHED")
    assert shown[1].data.params == {"model__C": "1.5", "model__kernel": "rbf"}

    server.kill()
    finish(run, tracker, 4)
    tracker.log_summary({"test_accuracy": 0.9}, [], {})
    tracker.close("FINISHED")
    assert len(said) == 2 and "lacks 1 of the trials" in said[1]
    with pytest.raises(InputError, match="Connection refused"):
        track(run, server.uri)
    server.start()
    track(run, server.uri).log_summary({"test_accuracy": 0.9}, [], {})
    assert set(trials(run, server.uri)) == set(range(5))
    assert level(run, "benchmark", server.uri)[0].data.metrics == {"test_accuracy": 0.9}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def patiently(request, server, seconds=60):
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.read()
        except (urllib.error.URLError, ConnectionError):
            assert server.poll() is None, server.stdout.read()
            assert time.monotonic() < deadline, "the UI does not answer"
            time.sleep(0.5)


def test_what_a_killed_process_recorded_and_did_not_log_is_logged_once(run, tracker):
    finish(run, tracker, 0)
    record = run.record("svm", 0)
    tracker.log_missing(record)
    assert trials(run).keys() == {0}
    tracker.forget_trial("svm", 0)
    assert not trials(run)
    tracker.log_missing(record)
    assert trials(run).keys() == {0}


def test_half_a_preparation_is_written_anew(run, tracker):
    folder = run.trial_folder("svm", PREPARATION)
    folder.mkdir(parents=True)
    record = Trial("svm", PREPARATION, {}, "", TrialResult(PREPARED, "", log_loss=1.0), 2.0, 9.0)
    run.save_record(record)
    tracker.log_missing(record)
    client(run).update_run(trials(run)[PREPARATION].info.run_id, status="RUNNING")
    track(run).log_missing(record)
    whole = trials(run)[PREPARATION].info
    assert whole.status == "FINISHED"
    track(run).log_missing(record)
    assert trials(run)[PREPARATION].info.run_id == whole.run_id


def test_a_deleted_experiment_comes_back_without_what_was_discarded(run, tracker, tmp_path, caplog):
    for number in range(2):
        finish(run, tracker, number)
    tracker.forget_trial("svm", 1)
    client(run).delete_experiment(run.state["experiment"])
    report = tmp_path / "report.md"
    report.write_text("done")
    mlflow_notes.renew(run, [report])
    assert "the experiment b was deleted there; its next run restores it" in caplog.text
    said, state = [], json.dumps(run.state)
    again = track(run, say=said.append)
    assert json.dumps(run.state) == state
    assert len(said) == 1 and "had been deleted there; it is restored" in said[0]
    finish(run, again, 2)
    assert trials(run).keys() == {0, 2}
    track(run, say=said.append)
    assert len(said) == 1


def test_a_version_that_was_deleted_is_registered_anew(run, tracker):
    first = register(run, tracker, "manifest", 0.8)
    client(run).delete_registered_model("b-ensemble")
    assert register(run, track(run), "manifest", 0.8) == first
    assert str(champion(run).version) == "1"
    client(run).delete_model_version("b-ensemble", "1")
    assert register(run, track(run), "manifest", 0.8)["version"] != ""
    assert len(client(run).search_model_versions("name = 'b-ensemble'")) == 1


@pytest.mark.parametrize("name", ["MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_URI"])
def test_another_store_in_the_environment_has_no_say(run, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    register(run, track(run), "manifest", 0.8)
    check_registered("b-ensemble/1", run.store.tracking_uri)
    _, environment = serve_command("b-ensemble/1", run.store.folder, "", free_port())
    assert environment["MLFLOW_TRACKING_URI"] == environment["MLFLOW_REGISTRY_URI"] == run.store.tracking_uri


def test_coming_back_to_a_store_goes_on_with_what_is_there(run, tracker, tmp_path, empty_database):
    finish(run, tracker, 0)
    first = run.state["mlflow_run"]
    shutil.copy(empty_database, tmp_path / "other.db")
    finish(run, track(run, f"sqlite:///{tmp_path / 'other.db'}"), 1)
    back = track(run)
    back.log_summary({}, [], {})
    assert run.state["mlflow_run"] == first
    assert trials(run).keys() == {0, 1}
    assert len(level(run, "study")) == len(level(run, "benchmark")) == 1
