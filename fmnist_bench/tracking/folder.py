"""MLflow's database within a folder of results: where it says that its files lie, and what killed processes left open.

MLflow writes absolute places into its database. A folder that was moved or copied would go on writing to the place it
came from, so they are rewritten when the folder is opened at another one.
"""

import contextlib
import fcntl
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fmnist_bench._utils.addresses import local_path
from fmnist_bench._utils.files import unshare
from fmnist_bench.storage.run_folder import STATE

DATABASE, ARTIFACTS = "mlflow.db", "artifacts"
BEGAN = "began"  # tag of every MLflow run: when the run in the folder of results began, by which both know each other
PLACES = (  # columns that hold addresses of files
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
MOVE = "UPDATE {0} SET {1} = :new || substr({1}, :n + 1) WHERE {1} = :old OR substr({1}, 1, :n + 1) = :old || '/'"


def settle(database: Path) -> None:
    """Let a database that was moved or copied with its folder say where its files lie now.

    What it was copied from is not touched, not even where the two share their files by hard links.
    """
    if not _foreign(database):
        return
    with database.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # who waited here finds it done
        if places := _foreign(database):
            unshare(database)
            _rewrite(database, places)


def place_default(database: Path, folder: Path) -> None:
    """Let MLflow's experiment Default, of a new database, keep its files in `folder`, not in the working directory."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0", (f"{_own(folder / DATABASE)}/0",)
        )


def left_open(client: Any, results: Path, mine: str = "") -> list[str]:
    """Give the runs that killed processes left open, of whatever benchmark: those that nobody is at work on.

    `mine` says when this process's own run began.
    """
    experiments = [found.experiment_id for found in client.search_experiments()]
    running = client.search_runs(experiments, "attributes.status = 'RUNNING'") if experiments else []
    left = [run for run in running if run.data.tags.get(BEGAN, mine) != mine]
    alive = set(_at_work(results)) if left else set()
    return [str(run.info.run_id) for run in left if run.data.tags[BEGAN] not in alive]


def is_locked(folder: Path) -> bool:
    """Whether a process is at work in the folder of a run."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _at_work(results: Path) -> Iterator[str]:
    """When the runs began that processes are at work on."""
    for path in results.glob(f"runs/*/{STATE}"):
        if is_locked(path.parent):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # `doctor` names one that is damaged
                yield str(json.loads(path.read_text(encoding="utf-8"))["created"])


def _foreign(database: Path) -> list[str]:
    with contextlib.closing(connect(database)) as connection:
        if not _columns(connection, "experiments"):  # MLflow has not filled it yet
            return []
        rows = connection.execute("SELECT DISTINCT artifact_location FROM experiments")
        places = [str(uri) for (uri,) in rows if str(uri).startswith("file:") and local_path(uri).name == ARTIFACTS]
    return [uri for uri in places if uri != _own(database)]


def connect(database: Path) -> sqlite3.Connection:
    """Open a database to look at it.

    Nothing is written, unless a process was killed while it wrote: SQLite then takes back what that had begun, which it
    refuses to one who may only read.
    """
    if begun := database.with_name(f"{database.name}-journal").exists():
        unshare(database)
    return sqlite3.connect(f"{database.as_uri()}?mode={'rw' if begun else 'ro'}", uri=True)


def _rewrite(database: Path, places: list[str]) -> None:
    with contextlib.closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for table, column in PLACES:
            if column in _columns(connection, table):
                for old in places:
                    values = {"new": _own(database), "old": old, "n": len(old)}
                    connection.execute(MOVE.format(table, column), values)
        connection.execute("COMMIT")


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}


def _own(database: Path) -> str:
    return (database.parent / ARTIFACTS).as_uri()
