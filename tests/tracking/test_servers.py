"""MLflow's servers as a person starts them: real processes, on this machine alone."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from starlette.requests import Request

from fmnist_bench import load_dataset, load_ensemble
from fmnist_bench._utils.errors import InputError
from fmnist_bench.cli import main
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.run_folder import Store
from fmnist_bench.tracking import model_server
from fmnist_bench.tracking.servers import check_registered, first_page, serve_command, ui_command

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, path, content, server, seconds=300):
    """Post JSON to a server that may still be starting; give its status and its answer."""
    deadline = time.monotonic() + seconds
    body, headers = json.dumps(content).encode(), {"Content-Type": "application/json"}
    while True:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"http://127.0.0.1:{port}/{path}", body, headers), timeout=60
            ) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (urllib.error.URLError, ConnectionError):
            assert server.poll() is None, server.stdout.read()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.5)


def post(port, body, host="127.0.0.1", kind="application/json"):
    """Post text to a server that runs, called by some name; give its status."""
    headers = {"Content-Type": kind, "Host": host}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def started():
    """Return a function that starts a verb as a process of its own, which ends with the test."""
    servers = []

    def start(*words):
        command = [sys.executable, "-m", "fmnist_bench", *words]
        servers.append(subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return servers[-1]

    yield start
    for server in servers:
        if server.returncode is None:
            server.terminate()
            server.communicate(timeout=60)


@pytest.fixture
def saved(small_benchmark):
    """Return the folder of results of a small benchmark, and what the run printed."""
    return small_benchmark


def test_they_bind_this_machine_alone(tmp_path):
    (tmp_path / "mlflow.db").touch()
    for command, environment in (
        ui_command(tmp_path, free_port()),
        serve_command("digits-ensemble/2", tmp_path, "", free_port()),
    ):
        assert command[command.index("--host") + 1] == "127.0.0.1"
        assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot be used"):
            ui_command(tmp_path, taken.getsockname()[1])
    with pytest.raises(InputError, match="no such file"):
        ui_command(tmp_path / "elsewhere", free_port())
    with pytest.raises(InputError, match="must be NAME@ALIAS or NAME/VERSION"):
        serve_command("fmnist-ensemble", tmp_path, "", free_port())


def test_a_model_that_is_not_registered_is_refused_before_a_server_starts(saved, capsys):
    uri = f"sqlite:///{saved[0]}/mlflow.db"
    for there in ("digits-ensemble@champion", "digits-ensemble/1"):
        check_registered(there, uri)
    for absent in ("digits-ensemble@nosuch", "digits-ensemble/7", "fmnist-ensemble@champion"):
        with pytest.raises(InputError, match=f"{absent}: not registered; there is digits-ensemble@champion"):
            check_registered(absent, uri)
    assert main(["serve", "--mlruns", str(saved[0])]) == 2
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match="cannot be used there"):
        check_registered("digits-ensemble@champion", "sqlite:////nowhere/mlflow.db")


def test_the_first_page_is_that_of_the_benchmark_that_ran_last(saved):
    folder, _ = saved
    run = open_folder(newest_run(folder))
    runs = f"#/experiments/{run.state['experiment']}/runs?workflowType=machine_learning"
    assert first_page(folder) == f"{runs}&viewStateShareKey=best"
    run.state.pop("environment")
    run.save_state()
    assert first_page(folder) == f"{runs}&viewStateShareKey=trials"
    run.save_state(has_views=False)
    assert first_page(folder) == runs, "a run of an earlier version"
    run.save_state(tracking_uri="http://elsewhere")
    assert first_page(folder) == "#/experiments?workflowType=machine_learning"


def test_the_views_of_a_run_are_saved_as_mlflows_pages_save_them(saved):
    folder, _ = saved
    store = Store(folder)
    tags = (
        MlflowClient(store.tracking_uri).get_experiment(open_folder(newest_run(store.folder)).state["experiment"]).tags
    )
    views = {tag.rpartition(".")[2]: json.loads(tags[tag]) for tag in tags if tag.startswith("mlflow.sharedViewState.")}
    assert set(views) == {"best", "members", "trials", "failed"}
    for view in views.values():
        assert isinstance(view["name"], str) and isinstance(view["createdAt"], int)
        state = json.loads(view["state"])
        assert state["orderByKey"] == "metrics.`valid_accuracy`" and state["orderByKey"] in state["selectedColumns"]


def test_the_first_page_of_an_empty_folder_lists_experiments(tmp_path):
    assert first_page(tmp_path) == "#/experiments?workflowType=machine_learning"


@pytest.mark.slow
def test_the_ui_shows_the_experiment(saved, started):
    port = free_port()
    server = started("ui", "--port", str(port))
    status, found = ask(port, "api/2.0/mlflow/experiments/search", {"max_results": 10}, server)
    assert status == 200
    assert "all" in {experiment["name"] for experiment in found["experiments"]}
    status, said = ends_by_ctrl_c(server)
    page = f"http://127.0.0.1:{port}/{first_page(saved[0])}"
    assert status == 0 and said.startswith(f"MLflow UI on {page} (Ctrl-C ends it)\n")
    assert not re.search("Traceback|CancelledError|Aborted|POST|Warning", said), said


def ends_by_ctrl_c(server):
    """Press Ctrl-C; give the exit status and everything that was said."""
    server.send_signal(signal.SIGINT)
    said = server.communicate(timeout=60)[0].decode()
    return server.returncode, said


def test_the_registered_model_answers_like_the_ensemble(saved, monkeypatch):
    mlruns, printed = saved
    assert "digits-ensemble version 1" in printed and "the new champion" in printed
    assert "Serve:     python -m fmnist_bench serve digits-ensemble/1 --mlruns" in printed
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlruns}/mlflow.db")
    model = mlflow.pyfunc.load_model("models:/digits-ensemble@champion")
    test = load_dataset("digits", "test")
    (folder,) = mlruns.glob("runs/*/ensemble")
    answer, expected = model.predict(test.X.astype(float)), load_ensemble(folder).predict_proba(test.X)
    assert list(answer.columns) == ["label", *test.class_names]
    assert np.array_equal(answer.drop(columns="label"), expected)
    assert list(answer["label"]) == [test.class_names[column] for column in expected.argmax(axis=1)]
    example = model.input_example
    assert example.shape == (1, 64) and len(model.predict(example)) == 1
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        model.predict(test.X / 255)
    with pytest.raises(mlflow.MlflowException, match="does not match expected shape"):
        model.predict(np.zeros((2, 63)))


def test_no_code_and_no_pickle_is_in_the_registered_model(saved):
    mlruns, _ = saved
    (folder,) = mlruns.glob("artifacts/models/*/artifacts")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "ensemble/manifest.json", "input_example.json"} <= files
    assert not [name for name in files if name.endswith((".py", ".pkl", ".pickle"))]
    assert not list(mlruns.rglob("*.tmp"))


def test_who_posts_an_image_file_is_told_what_takes_one():
    async def answer(request):
        return "passed on"

    def ask_with(kind):
        scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": [(b"content-type", kind)]}
        return asyncio.run(model_server._refuse_images(Request(scope), answer))

    refused = ask_with(b"image/png")
    assert refused.status_code == 415
    assert json.loads(refused.body)["message"].startswith("image/png: rows of pixels are taken, as application/json")
    assert ask_with(b"application/json") == "passed on"


@pytest.mark.slow
def test_pixels_are_posted_and_answered_over_http(saved, started):
    mlruns, _ = saved
    port = free_port()
    server = started("serve", "digits-ensemble@champion", "--port", str(port))
    X = load_dataset("digits", "test").X[:20]
    status, answer = ask(port, "invocations", {"inputs": X.tolist()}, server)
    assert status == 200
    table = pd.DataFrame(answer["predictions"])
    (folder,) = mlruns.glob("runs/*/ensemble")
    expected = load_ensemble(folder).predict_proba(X)
    np.testing.assert_allclose(table.drop(columns="label"), expected, rtol=0, atol=1e-12)
    assert table["label"].tolist() == [str(label) for label in expected.argmax(axis=1)]
    example = Path(__file__).parents[2] / "examples" / "post.py"
    lines = subprocess.run(
        [sys.executable, example, str(port), "64"], capture_output=True, text=True, check=True
    ).stdout
    assert [line.endswith("of 10 classes") for line in lines.splitlines()] == [True, True]
    status, answer = ask(port, "invocations", {"inputs": (X / 255).tolist()}, server)
    assert status == 400 and "whole numbers from 0 to 255" in answer
    rows = json.dumps({"inputs": X.tolist()})
    assert post(port, rows, "localhost") == 200
    assert post(port, rows, "a-page-of-somebody-else.example") == 400
    for body in ('{"inputs": ' + "[" * 100_000 + "]" * 100_000 + "}", '{"inputs": [[' + "9" * 5000 + "]]}", "{", "[]"):
        assert post(port, body) == 400
    assert post(port, rows, kind="image/png") == 415
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
        assert page.url.endswith("/docs"), "who opens it in a browser finds what it takes"
    status, said = ends_by_ctrl_c(server)
    assert status == 0 and "Traceback" not in said and "Aborted" not in said
    assert said.splitlines()[0] == "digits-ensemble@champion: loading" and f"ready: http://127.0.0.1:{port}" in said
