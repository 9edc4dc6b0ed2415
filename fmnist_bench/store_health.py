"""What is wrong with a folder of results; looks, and changes nothing."""

import fcntl
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from fmnist_bench.addresses import database_uri
from fmnist_bench.job import PROBABILITIES
from fmnist_bench.manifest import MANIFEST
from fmnist_bench.mlflow_access import open_database, reason
from fmnist_bench.store import RECORD, SPLIT, STATE

Fault = tuple[str, str]  # what is wrong, and what to do about it


def database_fault(path: Path) -> Fault | None:
    """Say what is wrong with MLflow's database, if anything."""
    cure = "move the file away: the next run of each benchmark logs its trials again from their own files"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            (found,) = database.execute("PRAGMA quick_check").fetchone()
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        return f"{path}: {error}", cure
    if found != "ok" or "experiments" not in tables:
        return f"{path}: {'holds no experiments' if found == 'ok' else found}", cure
    try:
        open_database(path)
    except Exception as error:  # MLflow raises whatever its libraries raise
        return f"{path}: {reason(error)}", f"mlflow db upgrade {database_uri(path)}, or the MLflow that wrote it"
    return None


def run_faults(folder: Path) -> Iterator[Fault]:
    """Say what is wrong with one run."""
    if _is_locked(folder):
        return
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        again = f"python -m fmnist_bench run {state['benchmark']}"
    except (OSError, ValueError, KeyError, TypeError):
        yield f"{folder}: {STATE} cannot be read", "move the folder away; nothing can go on from it"
        return
    if not (folder / SPLIT).is_file():
        yield f"{folder}: {SPLIT} is missing", f"{again} writes it"
    yield from _trial_faults(folder, again)
    yield from _ensemble_faults(folder / "ensemble", again)
    if "environment" in state and not (folder / "report.html").is_file():
        yield f"{folder}: report.html is missing", f"python -m fmnist_bench report {state['benchmark']} writes it"
    if unlogged := len(state.get("unlogged", ())):
        yield f"{folder}: {unlogged} trials are not in MLflow", f"{again} logs them"


def _trial_faults(folder: Path, again: str) -> Iterator[Fault]:
    folders = [path for path in folder.glob("trials/*/*") if path.is_dir()]
    trials = {path.with_suffix("") for path in folders}  # what has not come to an end lies in one that ends in .tmp
    if open_ones := [path for path in trials if _record(path) is None]:
        yield f"{folder}: {len(open_ones)} trials have not ended", f"{again} asks their parameters again"
    for path in sorted(trials):
        record = _record(path) or {}
        if record.get("result", {}).get("status") == "complete" and not (path / PROBABILITIES).is_file():
            yield f"{path}: {PROBABILITIES} is missing", f"{again} --fresh begins anew and keeps the old"


def _ensemble_faults(folder: Path, again: str) -> Iterator[Fault]:
    if not folder.is_dir():
        return
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        entries = [*manifest["members"], *filter(None, [manifest.get("stacker")])]
        for entry in entries:
            path = folder / Path(entry["file"]).name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
                yield f"{path}: missing or changed since the ensemble was saved", f"{again} makes it again"
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"{folder / MANIFEST}: cannot be read: {error}", f"{again} makes it again"


def _record(path: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads((path / RECORD).read_text(encoding="utf-8"))
        return record
    except (OSError, ValueError):
        return None


def _is_locked(folder: Path) -> bool:
    """Whether a process is at work in the folder of a run."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
