"""MLflow's two servers, the UI and the model server, on 127.0.0.1 alone: command lines, first page, what is there."""

import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from fmnist_bench._utils.addresses import database_uri, local_path, without_secrets
from fmnist_bench._utils.errors import InputError
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.tracking.client import make_client, patience, reason
from fmnist_bench.tracking.folder import DATABASE, settle

HOST = "127.0.0.1"
MODEL_VARIABLE = "FMNIST_BENCH_SERVED_MODEL"  # tells the model server what to serve
QUIET = "--log-level warning"  # else each click of a browser is forty lines
FOR_MODELS = "workflowType=machine_learning"  # else MLflow shows what it has for language models
BEST, TRIALS = "best", "trials"  # names of views: the best trial of each study, all trials
Command = tuple[list[str], dict[str, str]]


def ui_command(folder: str | Path, port: int) -> Command:
    """Command line and environment of the MLflow UI over a folder of results.

    Raises
    ------
    InputError
        Where the folder has no database that can be used, or the port is taken.
    """
    uri = _database(folder)
    server = ["--backend-store-uri", uri, "--registry-store-uri", uri, "--host", HOST, "--port", _free(port)]
    command = [sys.executable, "-m", "mlflow", "server", *server, "--workers", "1", "--uvicorn-opts", QUIET]
    quiet = {"PYTHONWARNINGS": "ignore"}  # of libraries, about each other
    return command, {**_environment(), **quiet, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def run_server(command: list[str], environment: dict[str, str]) -> int:
    """Run a server until it ends; what is to end this process ends it first, without a trace of its own.

    Returns
    -------
    int
        Exit status: 0 after Ctrl-C or a signal.
    """
    stopped: list[int] = []
    with subprocess.Popen(command, env=environment, start_new_session=True) as server:

        def stop(number: int, frame: Any) -> None:
            stopped.append(number)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)
        status = server.wait()
    return 0 if stopped else status


def first_page(folder: str | Path) -> str:
    """Path of the page to open first: the trials of the benchmark that ran last, by validation accuracy."""
    try:
        state = open_folder(newest_run(folder, folder)).state
    except (InputError, ValueError):  # none, or one that cannot be read, which `doctor` says
        state = {}
    if "experiment" not in state or state["tracking_uri"]:
        return f"#/experiments?{FOR_MODELS}"
    if state.get("has_views"):
        return view_page(state["experiment"], BEST if "environment" in state else TRIALS)
    return f"#/experiments/{state['experiment']}/runs?{FOR_MODELS}"


def view_page(experiment: str, view: str) -> str:
    """Path of a view that is saved with an experiment."""
    return f"#/experiments/{experiment}/runs?{FOR_MODELS}&viewStateShareKey={view}"


def serve_command(model: str, folder: str | Path, tracking_uri: str, port: int) -> Command:
    """Command line and environment of the server of a registered ensemble.

    Parameters
    ----------
    model : str
        ``NAME@ALIAS`` or ``NAME/VERSION``.
    folder : str or Path
        Of the results whose database names it.
    tracking_uri : str
        Another MLflow store, or empty.
    port : int

    Raises
    ------
    InputError
        Where `model` is neither, the folder has no database, or the port is taken.
    """
    if not re.fullmatch(r"[^/@:]+(@[^/@:]+|/\d+)", model):
        raise InputError(f"model {model}: must be NAME@ALIAS or NAME/VERSION, such as fmnist-ensemble@champion")
    uri = tracking_uri or _database(folder)
    served = ["--host", HOST, "--port", _free(port)]
    environment = {
        **_environment(),
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_REGISTRY_URI": uri,
        MODEL_VARIABLE: f"models:/{model}",
    }
    return [sys.executable, "-m", "fmnist_bench.tracking.model_server", *served], environment


def check_registered(model: str, uri: str) -> None:
    """Refuse a model that is not registered there, or whose files are gone.

    Raises
    ------
    InputError
        Naming those that are; or where the store cannot be asked.
    """
    name, kind, which = re.split("([@/])", model)
    try:
        with patience():
            client = make_client(uri)
            own = client.search_registered_models(f"name = '{name}'")  # it may not be among the first hundred
            aliases = {known.name: dict(known.aliases) for known in [*client.search_registered_models(), *own]}
            versions = {str(v.version): v.source for v in client.search_model_versions(f"name = '{name}'")}
    except Exception as error:  # a store raises whatever its libraries raise
        raise InputError(f"{without_secrets(uri)}: MLflow cannot be used there: {reason(error, uri)}") from error
    if which not in (aliases.get(name, {}) if kind == "@" else versions):
        there = ", ".join(f"{other}@{alias}" for other, found in sorted(aliases.items()) for alias in found)
        raise InputError(f"model {model}: not registered; there is {there or 'none: a run registers its ensemble'}")
    source = versions.get(str(aliases[name][which]) if kind == "@" else which) or ""
    if source.startswith("file:") and not local_path(source).is_dir():
        raise InputError(
            f"model {model}: its files are missing, {local_path(source)}; a run with --fresh registers anew"
        )


def _environment() -> dict[str, str]:
    return {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}


def _database(folder: str | Path) -> str:
    database = Path(folder).resolve() / DATABASE
    if not database.exists():
        raise InputError(f"{database}: there is no such file; python -m fmnist_bench run makes it")
    try:
        settle(database)
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"{database}: {error}; python -m fmnist_bench doctor says what to do") from error
    return database_uri(database)


def _free(port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port} cannot be used on {HOST}: {error}; --port names another") from error
    return str(port)
