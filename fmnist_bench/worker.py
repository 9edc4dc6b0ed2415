"""Where a trial runs: a process of its own, with a deadline, a memory limit and a kill switch."""

import contextlib
import json
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from fmnist_bench.candidate import load_model, save_model, set_where_none
from fmnist_bench.data import Split
from fmnist_bench.errors import InputError
from fmnist_bench.study import Arm
from fmnist_bench.trial import Monitor, TrialPruned, TrialResult, run_trial

RESULT, PROBABILITIES, MODEL, LOG = "result.json", "valid_probabilities.npy", "model.skops", "log.txt"
GRACE = 3.0  # seconds between the polite and the hard end of a worker
POLL = 0.25  # seconds between two looks at a worker's memory
MARGIN = 0.07  # part of the time limit that a model with `max_seconds` leaves for predicting and saving


@dataclass(frozen=True)
class Rows:
    """Training rows as files, so that every worker maps them instead of receiving them."""

    folder: Path
    image_shape: tuple[int, ...]

    def load(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Map the pixels, read the labels."""
        return np.load(self.folder / "X.npy", mmap_mode="r"), np.load(self.folder / "y.npy")


@dataclass(frozen=True)
class Task:
    """All that a worker needs to run one trial.

    Attributes
    ----------
    folder : Path
        Where the result goes; it appears whole or not at all.
    seconds : float or None
        Wall-clock limit.
    memory : int or None
        Limit of the resident size of the process and its children, bytes.
    """

    arm: Arm
    number: int
    parameters: Mapping[str, Any]
    rows: Rows
    split: Split
    seed: int
    folder: Path
    cache_dir: Path
    seconds: float | None = None
    memory: int | None = None
    allow_import: tuple[str, ...] = ()


def prepare(uses: Iterable[str]) -> None:
    """Tell the server that forks the workers what to import once: the modules of the classes that studies name."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    modules = {use.rpartition(".")[0] for use in uses}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fmnist_bench.worker", "skops.io", *sorted(modules)])
    with _hidden_main(), _silent_stderr():  # TensorFlow's greetings; a worker writes to a log of its own
        forkserver.ensure_running()


def run_in_worker(task: Task, on_report: Callable[[int, float], bool], stop: threading.Event) -> TrialResult:
    """Run `task` in a process of its own and wait for it.

    Parameters
    ----------
    task : Task
    on_report : callable
        Gets ``(step, score)`` while the trial trains; its answer True prunes the trial.
    stop : Event
        Ends the trial when it is set.

    Returns
    -------
    TrialResult
        Read back from ``task.folder`` if the worker came to an end, else made up of what ended it.
    """
    started = time.perf_counter()
    with _process(_work, task) as (process, connection):
        ended_by = _attend(process, connection, task, on_report, stop)
    if ended_by is None and (result := read_result(task.folder)) is not None:
        return result
    status, reason = ended_by or _death(process.exitcode, task.folder)
    return TrialResult(status, reason, fit_seconds=time.perf_counter() - started)


def check_in_worker(arms: tuple[Arm, ...], allow_import: tuple[str, ...]) -> None:
    """Build every arm's known configurations in a worker, where importing Keras costs nobody else.

    Raises
    ------
    InputError
        Where a class or an argument does not exist.
    """
    if message := _answer(_check, (arms, allow_import)):
        raise InputError(message)


def predict_in_worker(model: Path, X: Path, target: Path, allow_import: Sequence[str] = ()) -> None:
    """Write the class probabilities of a saved model for the rows in the file `X` to the file `target`.

    Raises
    ------
    InputError
        Where the model cannot be loaded.
    """
    if message := _answer(_predict, (model, X, target, tuple(allow_import))):
        raise InputError(message)


def _answer(target: Callable[..., None], argument: Any) -> str:
    """Run `target` in a worker and return what is wrong, nothing if all is well."""
    with _process(target, argument) as (process, connection):
        try:
            return str(connection.recv())
        except EOFError:
            process.join()
            return f"a worker process ended with exit status {process.exitcode} and without an answer"


@contextlib.contextmanager
def _process(target: Callable[..., None], argument: Any) -> Iterator[tuple[Any, Connection]]:
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(argument, theirs), daemon=False)
    with _hidden_main():
        process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        _end(process)
        ours.close()


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Let what is started here inherit a standard error that goes nowhere."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep multiprocessing from running the caller's script again in every worker: nothing of it is needed there."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _attend(
    process: Any, connection: Connection, task: Task, on_report: Callable[[int, float], bool], stop: threading.Event
) -> tuple[str, str] | None:
    """Answer the worker until it ends; return status and reason if it had to be ended."""
    deadline = time.monotonic() + task.seconds if task.seconds is not None else None
    while True:
        if connection.poll(POLL):
            try:
                connection.send(on_report(*connection.recv()))
            except (EOFError, ConnectionError):
                process.join(GRACE)
                return None
        if stop.is_set():
            return "interrupted", "stopped by the user"
        if deadline is not None and time.monotonic() > deadline:
            return "timeout", f"past its limit of {task.seconds:.0f} s"
        if task.memory is not None and (size := _resident(process.pid)) > task.memory:
            return "out_of_memory", f"{size / 2**30:.1f} GiB resident, limit {task.memory / 2**30:.1f} GiB"


def _resident(pid: int) -> int:
    try:
        root = psutil.Process(pid)
        return sum(p.memory_info().rss for p in (root, *root.children(recursive=True)))
    except psutil.Error:
        return 0


def _end(process: Any) -> None:
    """End the worker and every process that it started, first politely."""
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        if process.is_alive():
            _signal(process.pid, number)
            process.join(patience)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # helpers that outlived it


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:  # it has not made its own group yet
            os.kill(pid, number)


def _death(exitcode: int | None, folder: Path) -> tuple[str, str]:
    """Say of what a worker died, with the last lines that it wrote."""
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        hint = " (perhaps the kernel ran out of memory)" if -exitcode == signal.SIGKILL else ""
        cause = f"killed by {name}{hint}"
    else:
        cause = f"ended with exit status {exitcode} and no result"
    tail = _tail(_temporary(folder) / LOG)
    return "crashed", f"{cause}: {tail}" if tail else cause


def _tail(path: Path, lines: int = 5) -> str:
    try:
        return " | ".join(path.read_text(errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return ""


def _temporary(folder: Path) -> Path:
    return folder.with_name(folder.name + ".tmp")


# ---------------------------------------------------------------- inside the worker


def _work(task: Task, connection: Connection) -> None:
    os.setpgrp()
    folder = _temporary(task.folder)
    folder.mkdir(parents=True, exist_ok=True)
    _redirect_output(folder / LOG)
    candidate = task.arm.candidate(task.parameters, task.allow_import)
    _fill(candidate, task)
    X, y = task.rows.load()
    result = run_trial(candidate, X, y, task.split, _monitor_over(connection))
    candidate.set_params(cache_dir=None)
    _write_result(result, candidate, folder)
    os.replace(folder, task.folder)


def _fill(candidate: Any, task: Task) -> None:
    candidate.set_params(cache_dir=str(task.cache_dir))
    set_where_none(candidate, random_state=task.seed, image_shape=task.rows.image_shape)
    if task.seconds is not None:
        set_where_none(candidate, max_seconds=round(task.seconds * (1 - MARGIN), 1))


def _redirect_output(path: Path) -> None:
    """Send what the trial and its libraries print to a file, C code included."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)


def _monitor_over(connection: Connection) -> Monitor:
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def listen() -> None:
        # Ends the worker when the coordinator is gone: a trial that nobody waits for must not go on.
        try:
            while True:
                answers.put(connection.recv())
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=listen, daemon=True).start()

    def monitor(step: int, score: float) -> None:
        connection.send((step, float(score)))
        if answers.get():
            raise TrialPruned(f"pruned at step {step} with score {score:.4f}")

    return monitor


def _write_result(result: TrialResult, candidate: Any, folder: Path) -> None:
    if result.valid_probabilities is not None:
        np.save(folder / PROBABILITIES, result.valid_probabilities, allow_pickle=False)
        save_model(candidate, folder / MODEL)
    (folder / RESULT).write_text(json.dumps(asdict(replace(result, valid_probabilities=None)), indent=1) + "\n")


def read_result(folder: Path) -> TrialResult | None:
    """Read what a worker wrote, without its probabilities; None if it wrote nothing whole."""
    try:
        return TrialResult(**json.loads((folder / RESULT).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _check(argument: tuple[tuple[Arm, ...], tuple[str, ...]], connection: Connection) -> None:
    arms, allow_import = argument
    with _reports_errors(connection):
        for arm in arms:
            _check_arm(arm, allow_import)


def _predict(argument: tuple[Path, Path, Path, tuple[str, ...]], connection: Connection) -> None:
    model, rows, target, allow_import = argument
    with _reports_errors(connection):
        probabilities = load_model(model, allow_import).predict_proba(np.load(rows, mmap_mode="r"))
        temporary = target.with_suffix(".tmp.npy")
        np.save(temporary, probabilities, allow_pickle=False)
        os.replace(temporary, target)


@contextlib.contextmanager
def _reports_errors(connection: Connection) -> Iterator[None]:
    os.setpgrp()
    try:
        yield
        connection.send("")
    except InputError as error:
        connection.send(str(error))
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")


def _check_arm(arm: Arm, allow_import: tuple[str, ...]) -> None:
    middle = {name: r.choices[0] if r.choices else r.low for name, r in arm.ranges().items()}
    for parameters in ({}, *(known.parameters for known in arm.study.known)):
        candidate = arm.candidate({**middle, **parameters}, allow_import)
        if not hasattr(candidate.model, "predict_proba"):
            raise InputError(
                f"study {arm.study.name}, [model]: {arm.study.model.use} has no predict_proba; "
                "wrap it in sklearn.calibration.CalibratedClassifierCV"
            )
