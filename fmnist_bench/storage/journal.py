"""Optuna's journal in a run's folder: opened for a search, read without changing it, cut after a kill."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import optuna
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from fmnist_bench._utils.files import unshare
from fmnist_bench._utils.intact import put_aside


def open_journal(path: Path) -> JournalStorage:
    """Open Optuna's journal: without its lock and a last line that a kill cut off; one that is damaged is put aside."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    try:
        unshare(path)  # the only file of a run that is written in place
        return _read_journal(path)
    except FileNotFoundError:
        raise
    except Exception:  # Optuna raises whatever reading what it did not write raises
        put_aside(path)
        return _read_journal(path)


def read_studies(path: Path) -> dict[str, optuna.Study]:
    """Copy the studies of a journal into memory, by name; the file stays as it is, and may still be written."""
    if not path.exists():
        return {}
    memory = InMemoryStorage()
    with tempfile.TemporaryDirectory() as place:
        journal = open_journal(Path(shutil.copy(path, place)))
        names = optuna.get_all_study_names(journal)
        for name in names:
            optuna.copy_study(from_study_name=name, from_storage=journal, to_storage=memory)
    return {name: optuna.load_study(study_name=name, storage=memory) for name in names}


def _read_journal(path: Path) -> JournalStorage:
    _cut(path)
    return JournalStorage(JournalFileBackend(str(path)))


def _cut(path: Path) -> None:
    """Cut off an incomplete last line; raise ValueError if any other line is not part of a journal."""
    content = path.read_bytes() if path.exists() else b""
    if not content.endswith(b"\n"):
        content = content[: content.rfind(b"\n") + 1]
        if path.exists():
            os.truncate(path, len(content))
    for line in content.splitlines():
        json.loads(line)
