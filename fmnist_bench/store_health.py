"""What is wrong with a folder of results; looks, and changes nothing."""

import glob
import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.addresses import database_uri
from fmnist_bench._utils.errors import InputError
from fmnist_bench.ensemble.manifest import MANIFEST
from fmnist_bench.search.optuna_sampler import remembered
from fmnist_bench.search.sampler import agree
from fmnist_bench.storage.run_folder import JOURNAL, ORACLES, STATE, read_split, read_state
from fmnist_bench.storage.trial import Trial, read_record, trial_fault
from fmnist_bench.tracking.client import open_database, reason
from fmnist_bench.tracking.folder import connect, deleted, is_locked, left_open, moved_from

Fault = tuple[str, str]  # what is wrong, and what to do about it


def database_fault(path: Path) -> Fault | None:
    """Say what is wrong with MLflow's database, if anything."""
    cure = "move the file away: the next run of each benchmark logs its trials again from their own files"
    try:
        with closing(connect(path)) as database:
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


def database_notes(path: Path) -> Iterator[Fault]:
    """Say what the next run will put right in a database that is whole."""
    client = open_database(path)
    for place in moved_from(path):
        was = f"{path}: was moved or copied, and says that its files are in {place}"
        yield was, "the next run, report, ui or serve writes down where they are now; the old place stays as it is"
    for name in sorted(deleted(path) & set(_benchmarks(path.parent))):
        again = f"python -m fmnist_bench run {name}"
        yield f"{path}: the experiment {name} was deleted in MLflow", f"{again} restores it, with its runs"
    if left := left_open(client, path.parent):
        yield f"{path}: {len(left)} runs are marked as running and have no process", "the next run closes them"


def _benchmarks(folder: Path) -> Iterator[str]:
    for path in folder.glob(f"runs/*/{STATE}"):
        with suppress(InputError):  # said of the run
            yield str(read_state(path)["benchmark"])


def run_faults(folder: Path) -> Iterator[Fault]:
    """Say what is wrong with one run."""
    if is_locked(folder):
        return
    try:
        state = read_state(folder / STATE)
    except InputError as error:
        yield str(error).partition(";")[0], "move the folder away; nothing can go on from it"
        return
    again = f"python -m fmnist_bench run {state['benchmark']}"
    try:
        y = read_split(folder, "y_validation")
    except InputError as error:
        yield str(error).partition(";")[0], f"{again} writes it"
        y = None
    yield from _trial_faults(folder, again, y)
    yield from _memory_faults(folder, again)
    yield from _ensemble_faults(folder / "ensemble", again)
    if "environment" in state and not (folder / "report.html").is_file():
        yield f"{folder}: report.html is missing", f"python -m fmnist_bench report {state['benchmark']} writes it"
    if unlogged := len(state.get("unlogged", ())):
        yield f"{folder}: {unlogged} trials are not in MLflow", f"{again} logs them"


def _trial_faults(folder: Path, again: str, y: NDArray[np.int64] | None) -> Iterator[Fault]:
    folders = [path for path in folder.glob("trials/*/*") if path.is_dir()]
    trials = sorted({path.with_suffix("") for path in folders})  # what has not come to an end lies in one of .tmp
    records = {path: read_record(path) for path in trials}
    if open_ones := [path for path in trials if records[path] is None]:
        yield f"{folder}: {len(open_ones)} trials have not ended", f"{again} tries them again"
    for path, record in records.items():
        if record is not None and y is not None and (fault := trial_fault(path, record, y)):
            yield f"{path}: {fault}", f"{again} asks its parameters again"


def _memory_faults(folder: Path, again: str) -> Iterator[Fault]:
    """Say where what the search remembers of its questions does not agree with the trials."""
    asked, journal, used = dict[str, list[Trial]](), folder / JOURNAL, False
    for study in sorted(path.name for path in folder.glob("trials/*") if path.is_dir()):
        records = [r for path in folder.glob(f"trials/{glob.escape(study)}/*") if (r := read_record(path)) is not None]
        oracle = folder / ORACLES / f"{study}.json"
        if oracle.is_file():
            if not agree(_questions(oracle), records):
                yield f"{oracle}: is damaged, or does not agree with the trials", f"{again} makes it again from them"
            continue
        if not used:
            asked, used = _journal(journal), True
        if not agree(asked.get(study, []), records):
            yield f"{journal}: is damaged, or does not agree with the trials", f"{again} makes it again from them"
            return


def _questions(oracle: Path) -> list[Trial]:
    from fmnist_bench.search.keras_tuner_sampler import asked_of

    try:
        return asked_of(json.loads(oracle.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _journal(path: Path) -> dict[str, list[Trial]]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return remembered(Path(shutil.copy(path, folder)))
        except Exception:  # Optuna raises whatever reading what it did not write raises
            return {}


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
