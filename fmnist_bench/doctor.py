"""What a run would find on this machine, and what to do about each problem; changes nothing, asks no network."""

import json
import os
import platform
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from fmnist_bench._utils.addresses import database_uri
from fmnist_bench._utils.environment import (
    LIBRARIES,
    available_memory,
    backend,
    cores,
    gpus,
    installed,
    matrix_unit,
    reaches_gpus,
    versions,
)
from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.fashion_mnist import DATA_VARIABLE, find_fashion_mnist
from fmnist_bench.ensemble.saved import check_bundle
from fmnist_bench.models.networks._weights import WEIGHTS, how_to_get, local_weights
from fmnist_bench.storage.run_folder import ENSEMBLE, FREE_SPACE, SPLIT, STATE, read_split, read_state
from fmnist_bench.storage.trial import RECORD, read_record, trial_fault
from fmnist_bench.storage.trial_folder import UNFINISHED
from fmnist_bench.tracking.client import open_database, reason
from fmnist_bench.tracking.folder import DATABASE, connect, is_locked
from fmnist_bench.trials.local import ROOM

# Back ends of Keras: what brings them, and what lets them use a GPU.
BACKENDS = {
    "tensorflow": ("pip install -e .", 'pip install "tensorflow[and-cuda]"'),
    "torch": ('pip install -e ".[torch]"', "pip install torch, without +cpu in its version"),
    "jax": ('pip install -e ".[jax]"', 'pip install "jax[cuda13]"'),
}
Fault = tuple[str, str]  # what is wrong with a store, and what to do about it
COMFORTABLE = 5 * 2**30  # bytes of disk: rows, features and models of a long run


@dataclass(frozen=True)
class Check:
    """What was looked at, and how it is.

    Attributes
    ----------
    name : str
    status : {"ok", "warning", "problem"}
        A run works with a warning; with a problem it will not, or not as it should.
    found : str
    advice : str
        What to do about it; empty where all is well.
    """

    name: str
    status: str
    found: str
    advice: str = ""


def examine(
    mlruns: str | Path = "mlruns", data: str | Path | None = None, weights: str | Path | None = None
) -> Iterator[Check]:
    """Look at everything that a run needs.

    Parameters
    ----------
    mlruns : str or Path
        Folder of results.
    data : str, Path or None
        Folder with the data set's files; None looks where a run would.
    weights : str, Path or None
        Folder with files of pretrained weights, looked at before the usual places.

    Yields
    ------
    Check
        One after the other, as they are done.
    """
    yield _versions()
    yield _backend()
    yield from _processor()
    yield _memory()
    yield _gpu()
    yield from _data(data)
    yield from _weights(weights)
    yield _disk(Path(mlruns).resolve())
    yield from _store(Path(mlruns).resolve())


def as_text(check: Check, as_json: bool = False) -> str:
    """Write a check as a line with its advice below, or as a JSON object."""
    if as_json:
        return json.dumps(asdict(check), ensure_ascii=False)
    return f"{check.status:<8} {check.name:<10} {check.found}" + (f"\n{'':20}{check.advice}" if check.advice else "")


def _versions() -> Check:
    found = ", ".join(f"{name} {version}" for name, version in versions().items())
    if lacking := [name for name in _requirements() if not installed(name)]:
        return Check("versions", "problem", f"not installed: {', '.join(lacking)}", "pip install -e . brings them")
    return Check("versions", "ok", f"Python {platform.python_version()}, {found}")


def _requirements() -> list[str]:
    """Distributions that this package cannot do without; those that results depend on, where it is not installed."""
    try:
        lines = metadata.requires("fmnist-bench") or []
    except metadata.PackageNotFoundError:
        return list(LIBRARIES)
    return [re.split(r"[^\w.-]", line)[0] for line in lines if "extra ==" not in line]


def _backend() -> Check:
    name = backend()
    if name not in BACKENDS:
        return Check("Keras", "problem", f"KERAS_BACKEND={name}", f"unset it, or set it to {' or '.join(BACKENDS)}")
    if not installed(name):
        return Check("Keras", "problem", f"KERAS_BACKEND={name}, which is not installed", BACKENDS[name][0])
    return Check("Keras", "ok", f"networks run on {name}{', which trains no GAN' if name == 'jax' else ''}")


def _processor() -> Iterator[Check]:
    unit = matrix_unit()
    fast = unit in ("AMX", "AVX-512 BF16") and backend() == "tensorflow"  # the others compute in float32 there
    units = f"{f'{unit}: ' if unit else ''}networks compute in {'bfloat16' if fast else 'float32'}"
    yield Check("processor", "ok", f"{cores()} of {os.cpu_count()} cores may be used; {units}")
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        found = "PYTHONDONTWRITEBYTECODE is set: every trial may compile the libraries anew, which takes many seconds"
        yield Check("processor", "warning", found, "unset PYTHONDONTWRITEBYTECODE")


def _memory() -> Check:
    free = available_memory()
    side_by_side = max(1, min(cores(), free // ROOM))
    found = f"{_size(free)} free: {side_by_side} trials side by side"
    if free < ROOM:
        return Check(
            "memory", "warning", found, f"a trial needs about {_size(ROOM)}; larger networks may run out of memory"
        )
    if side_by_side < cores():
        return Check("memory", "warning", found, f"more memory would keep all {cores()} cores busy")
    return Check("memory", "ok", found)


def _gpu() -> Check:
    none = "none; networks train on the processor"
    try:
        names = ", ".join(gpus())
    except (OSError, subprocess.SubprocessError) as error:
        return Check("GPU", "warning", f"nvidia-smi fails: {error}", "load the driver, or networks use the processor")
    if names and not reaches_gpus():
        _, brings = BACKENDS.get(backend(), ("", ""))
        return Check("GPU", "warning", f"{names}, which {backend()} cannot use", brings)
    return Check("GPU", "ok", names or none)


def _data(folder: str | Path | None) -> Iterator[Check]:
    with warnings.catch_warnings(record=True) as damaged:
        warnings.simplefilter("always")
        try:
            found = Check(
                "data", "ok", f"Fashion-MNIST in {find_fashion_mnist(folder, download=False)}, SHA-256 verified"
            )
        except InputError as error:
            named = folder is not None or DATA_VARIABLE in os.environ
            advice = "python -m fmnist_bench data fetches it (31 MB); --data DIR names a folder that has it"
            found = Check("data", "problem" if named else "warning", str(error), advice)
    yield from (Check("data", "warning", str(w.message), "delete these files; another copy is used") for w in damaged)
    yield found


def _weights(folder: str | Path | None) -> Iterator[Check]:
    for name in WEIGHTS:
        try:
            path = local_weights(name, None if folder is None else str(folder))
        except (OSError, ValueError) as error:
            yield Check("weights", "problem", f"{name}: {error}", how_to_get(name))
            continue
        if path is None:
            how = f"{how_to_get(name)}; it must have the {WEIGHTS[name].proof}"
            yield Check("weights", "warning", f"{name}: not on this machine", how)
        else:
            yield Check("weights", "ok", f"{name}: {path}")


def _disk(folder: Path) -> Check:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Check("disk", "problem", f"{there} cannot be written", "--mlruns DIR names another folder")
    free = shutil.disk_usage(there).free
    found = f"{_size(free)} free for {folder}"
    if free < FREE_SPACE:
        return Check("disk", "problem", found, f"a run needs {_size(FREE_SPACE)}; mlruns/cache may be deleted")
    if free < COMFORTABLE:
        return Check("disk", "warning", found, f"a long run may need {_size(COMFORTABLE)}; mlruns/cache may be deleted")
    return Check("disk", "ok", found)


def _store(folder: Path) -> Iterator[Check]:
    database = folder / DATABASE
    if not database.exists():
        yield Check("MLflow", "ok", f"no database in {folder} yet")
    elif fault := database_fault(database):
        yield Check("MLflow", "problem", *fault)
    else:
        yield Check("MLflow", "ok", f"{database} opens")
    runs = sorted(path for path in folder.glob("runs/*") if path.is_dir())
    faults = [fault for run in runs for fault in run_faults(run)]
    yield from (Check("runs", "warning", *fault) for fault in faults)
    if not faults:
        yield Check("runs", "ok", f"{len(runs)} in {folder}: records, models and reports are whole")


def database_fault(path: Path) -> Fault | None:
    """Say what opening MLflow's database says; MLflow itself would fill an empty one."""
    upgrade = f"mlflow db upgrade {database_uri(path)} if another MLflow has written it"
    cure = f"{upgrade}; or move it away: the next run of each benchmark logs its trials again"
    try:
        with closing(connect(path)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
                return f"{path}: holds no experiments", cure
        open_database(path)
    except Exception as error:  # MLflow raises whatever its libraries raise
        return f"{path}: {reason(error)}", cure
    return None


def run_faults(folder: Path) -> Iterator[Fault]:
    """Say what a run would find damaged in its folder: itself, its split, its trials, its ensemble, its report."""
    if is_locked(folder):
        return
    try:
        state = read_state(folder / STATE)
    except InputError:
        yield f"{folder / STATE}: is damaged", "move the folder away; nothing can go on from it"
        return
    again = f"python -m fmnist_bench run {state['benchmark']}"
    try:
        y = read_split(folder, "y_validation")
        for path in sorted(folder.glob("trials/*/*")):
            if not path.is_dir() or path.name.endswith(UNFINISHED):
                continue
            record = read_record(path)
            if fault := f"{RECORD} is missing or damaged" if record is None else trial_fault(path, record, y):
                yield f"{path}: {fault}", f"{again} asks its parameters again"
    except InputError:
        yield f"{folder / SPLIT}: is missing or damaged", f"{again} writes it"
    try:
        if (folder / ENSEMBLE).is_dir():
            check_bundle(folder / ENSEMBLE)
    except (InputError, OSError) as error:
        yield str(error), f"{again} makes it again"
    if "environment" in state and not (folder / "report.html").is_file():
        yield f"{folder}: report.html is missing", f"python -m fmnist_bench report {state['benchmark']} writes it"


def _size(n: float) -> str:
    return f"{n / 2**30:.1f} GiB" if n >= 2**30 else f"{n / 2**20:.0f} MiB"
