import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fmnist_bench.errors import InputError
from fmnist_bench.job import MODEL, PROBABILITIES
from fmnist_bench.store import Run, Store, TrialRecord
from fmnist_bench.tracking import METRICS_A_BATCH, Tracker, ui_command
from fmnist_bench.trial import TrialResult


@pytest.fixture
def run(arena, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return Run(Store(tmp_path / "mlruns"), folder, "b")


@pytest.fixture
def tracker(run):
    tracker = Tracker(run, "b", {"seed": 0})
    tracker.open_arm("svm", "svm")
    return tracker


def finish(run, tracker, number, status="complete", history=None):
    folder = run.trial_folder("svm", number)
    folder.mkdir(parents=True)
    for name in (MODEL, PROBABILITIES):
        (folder / name).write_text("content")
    result = TrialResult(status, "why", accuracy=0.5, log_loss=1.0, history=history or {})
    tracker.log_trial(TrialRecord("svm", number, {}, "", result, 2.0, 9.0), "svm", {"model__C": 1.5})


def trials(tracker):
    found = tracker._client.search_runs([tracker._experiment], "tags.level = 'trial'")
    return {int(trial.data.tags["trial"]): trial for trial in found}


def artifacts(tracker, number):
    return {item.path for item in tracker._client.list_artifacts(trials(tracker)[number].info.run_id)}


@pytest.mark.parametrize(
    ("status", "shown"), [("complete", "FINISHED"), ("pruned", "KILLED"), ("crashed", "FAILED"), ("timeout", "FAILED")]
)
def test_a_trial_is_shown_as_what_it_was(run, tracker, status, shown):
    finish(run, tracker, 0, status)
    trial = trials(tracker)[0]
    assert trial.info.status == shown
    assert (trial.data.tags["status"], trial.data.tags["reason"], trial.data.tags["family"]) == (status, "why", "svm")
    assert trial.data.params == {"model__C": "1.5"}
    assert artifacts(tracker, 0) == {MODEL, PROBABILITIES}


def test_a_long_curve_is_logged_whole(run, tracker):
    n = METRICS_A_BATCH + 5
    finish(run, tracker, 0, history={"step": list(range(n)), "valid_loss": [float(i) for i in range(n)]})
    curve = tracker._client.get_metric_history(trials(tracker)[0].info.run_id, "curve_valid_loss")
    assert sorted((point.step, point.value) for point in curve) == [(i, float(i)) for i in range(n)]


def test_models_of_the_others_are_deleted_here_and_in_mlflow(run, tracker):
    for number in range(3):
        finish(run, tracker, number)
    tracker.keep_models("svm", [1])
    assert [run.model_file("svm", number).exists() for number in range(3)] == [False, True, False]
    assert [MODEL in artifacts(tracker, number) for number in range(3)] == [False, True, False]
    assert all(PROBABILITIES in artifacts(tracker, number) for number in range(3))


def test_going_on_uses_the_same_runs_and_forgets_half_a_trial(run, tracker):
    finish(run, tracker, 0)
    state = json.dumps(run.state)
    again = Tracker(run, "b", {"seed": 0})
    again.open_arm("svm", "svm")
    assert json.dumps(run.state) == state
    again.forget_trial("svm", 0)
    assert trials(again) == {}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_ui_binds_this_machine_alone(tmp_path):
    (tmp_path / "mlflow.db").touch()
    command, _ = ui_command(tmp_path, free_port())
    assert command[command.index("--host") + 1] == "127.0.0.1"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot be used"):
            ui_command(tmp_path, taken.getsockname()[1])
    with pytest.raises(InputError, match="no such file"):
        ui_command(tmp_path / "elsewhere", free_port())


@pytest.mark.slow
def test_the_ui_shows_the_experiment(run, tracker):
    finish(run, tracker, 0)
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-m", "fmnist_bench", "ui", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search",
                data=json.dumps({"max_results": 10}).encode(),
                headers={"Content-Type": "application/json"},
            )
            names = {experiment["name"] for experiment in json.loads(patiently(request, server))["experiments"]}
        finally:
            server.terminate()
    assert "b" in names


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
