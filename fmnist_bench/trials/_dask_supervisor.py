"""What runs at a Dask worker: it fetches the rows once, starts a child process a trial and passes on what it says."""

import contextlib
import functools
import hashlib
import io
import math
import multiprocessing
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fmnist_bench._utils.environment import allowed_cores, available_memory
from fmnist_bench.data.dataset import Split
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial_folder import GENERATOR, RESULT, unfinished
from fmnist_bench.trials.local import STALL, divide
from fmnist_bench.trials.process import prepare, run_in_worker
from fmnist_bench.trials.task import Task

ABANDONED_POLL = 0.5  # seconds between two looks at whether somebody still waits for the trial
ANSWER = 10.0  # seconds that a trial waits for the answer to a report before it goes on without
GRACE = 2.0  # seconds for Dask to learn that it is to end, after a trial was ended by a signal
TRANSFER = 600.0  # seconds that a trial waits for the rows
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SPLIT = "split.npz"  # travels with the rows

_answers: dict[str, "queue.SimpleQueue[tuple[int, Any]]"] = {}
_setting_up = threading.Lock()


class Call(NamedTuple):
    """How a trial reaches its coordinator: the topic of its messages, its name, the key of its Dask task."""

    topic: str
    trial: str
    key: tuple[str, str]


def supervise(
    task: Task, call: Call, data: str, generator: bytes | None, uses: Iterable[str]
) -> tuple[TrialResult, dict[str, bytes]]:
    """Run a trial in a child of this Dask worker, with the rows that the folder `data` here holds or will hold.

    `generator` is what the study's augmentation has learnt.

    Returns
    -------
    result : TrialResult
        ``interrupted`` where nobody waits for the trial any more, or this Dask worker closes.
    files : dict of str to bytes
        What the trial left in its folder, by name.
    """
    from distributed import get_worker

    worker = get_worker()
    with (
        _line(worker, call) as line,
        _scratch(worker) as folder,
        _place(worker, {*uses, *task.study.space.uses}, task.allow_import) as place,
    ):
        if (rows := _fetch(Path(worker.local_directory) / data, line)) is None:
            status = "interrupted" if line.is_set() else "crashed"
            return TrialResult(status, f"the rows did not come within {TRANSFER:.0f} s"), {}
        task = _localized(task, worker, folder / "trial", rows)
        if generator is not None:
            (folder / GENERATOR).write_bytes(generator)
            task = replace(task, generator=folder / GENERATOR)
        result = run_in_worker(replace(task, cpus=place), line.report, line)
        if result.status == "crashed" and line.wait(GRACE):  # the end of a batch job is that of all its processes
            result = replace(result, status="interrupted")
        found = task.folder if task.folder.exists() else unfinished(task.folder)
        return result, {path.name: path.read_bytes() for path in found.glob("*") if path.is_file()}


def pack_name(task: Task) -> str:
    """Name of the rows and the split of a task, by their content."""
    digest = hashlib.sha256(task.split.train.tobytes() + b"|" + task.split.validation.tobytes()).hexdigest()
    return f"{task.rows.folder.name}-{digest[:16]}"


def pack(task: Task) -> dict[str, bytes]:
    """Files with the rows and the split of a task, by name."""
    split = io.BytesIO()
    np.savez(split, train=task.split.train, validation=task.split.validation)
    rows = {name: (task.rows.folder / name).read_bytes() for name in ("X.npy", "y.npy")}
    return {**rows, SPLIT: split.getvalue()}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a folder that appears whole or, as that of a trial without a result, stays unfinished."""
    temporary = unfinished(folder)
    temporary.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (temporary / Path(name).name).write_bytes(content)
    if RESULT in files or SPLIT in files:
        os.replace(temporary, folder)


def answer(trial: str, content: tuple[int, Any]) -> None:
    """Hand a trial of this Dask worker the number of its question and the answer."""
    if trial in _answers:
        _answers[trial].put(content)


class Line(threading.Event):
    """The line of a trial to its coordinator; as an event it is set when nobody waits for the trial any more."""

    def __init__(self, worker: Any, call: Call) -> None:
        super().__init__()
        self._worker, self._call = worker, call
        self._asked = 0

    def is_set(self) -> bool:
        """Say whether Dask has cancelled the trial, as it also does without its coordinator, or closes its worker."""
        from distributed.worker import WORKER_ANY_RUNNING

        state = self._worker.state.tasks.get(self._call.key)
        return state is None or state.state == "cancelled" or self._worker.status not in WORKER_ANY_RUNNING

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until that is so, at most `timeout` seconds."""
        deadline = time.monotonic() + (math.inf if timeout is None else timeout)
        while not self.is_set() and time.monotonic() < deadline:
            time.sleep(ABANDONED_POLL)
        return self.is_set()

    def tell(self, kind: str, **content: Any) -> None:
        """Send a message."""
        message = {"kind": kind, "trial": self._call.trial, "worker": self._worker.address, "number": self._asked}
        self._worker.log_event(self._call.topic, {**message, **content})

    def ask(self, kind: str, patience: float, **content: Any) -> Any:
        """Send a message and wait for its answer; None where none comes in time."""
        self._asked += 1
        self.tell(kind, **content)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and not self.is_set():
            with contextlib.suppress(queue.Empty):
                number, reply = _answers[self._call.trial].get(timeout=ABANDONED_POLL)
                if number == self._asked:
                    return reply
        return None

    def report(self, step: int | str, score: float) -> bool:
        """Ask whether to prune; without an answer the trial goes on. What is no step is told and not asked."""
        if isinstance(step, str):
            self.tell("report", step=step, score=score)
            return False
        return bool(self.ask("report", ANSWER, step=step, score=score))


@contextlib.contextmanager
def _line(worker: Any, call: Call) -> Iterator[Line]:
    _answers[call.trial] = queue.SimpleQueue()
    line = Line(worker, call)
    line.tell("began")
    try:
        yield line
    finally:
        _answers.pop(call.trial, None)


@contextlib.contextmanager
def _scratch(worker: Any) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="trial-", dir=worker.local_directory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _place(worker: Any, uses: Iterable[str], allow_import: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """Give a trial its part of the cores, of as many parts as the Dask worker has threads."""
    with _setting_up:
        _set_up(uses, allow_import)
        places = _places(worker.state.nthreads)
    place = places.get()
    try:
        yield place
    finally:
        places.put(place)


@functools.cache
def _places(n: int) -> "queue.SimpleQueue[tuple[int, ...]]":
    places: queue.SimpleQueue[tuple[int, ...]] = queue.SimpleQueue()
    for place in divide(allowed_cores(), n) if n > 1 else [()]:
        places.put(place)
    return places


def _set_up(uses: Iterable[str], allow_import: Sequence[str]) -> None:
    """Make this process fit to start trials; what the first one imports, all later ones find."""
    multiprocessing.current_process().daemon = False  # Dask's nanny makes it a daemon, which may not have children
    for name in THREADS:
        if os.environ.get(name) == "1":  # from Dask's nanny; a trial may use all cores of its place
            del os.environ[name]
    prepare(uses, allow_import)


def _fetch(folder: Path, line: Line) -> Path | None:
    """Give the folder of the rows on this worker's disk; the first trial asks for them."""
    with _setting_up:
        if not folder.exists():
            if (files := line.ask("rows", TRANSFER)) is None:
                return None
            write_files(folder, files)
    return folder


def _localized(task: Task, worker: Any, folder: Path, rows: Path) -> Task:
    """Give the trial the folders and the memory of this machine."""
    with np.load(rows / SPLIT, allow_pickle=False) as arrays:
        split = Split(arrays["train"], arrays["validation"])
    return replace(
        task,
        stall=STALL,
        folder=folder,
        rows=replace(task.rows, folder=rows),
        split=split,
        cache_dir=Path(worker.local_directory) / "cache",
        memory=_memory(worker.memory_manager.memory_limit, worker.state.nthreads),
    )


@functools.cache
def _memory(limit: int | None, n: int) -> int:
    """Bytes for one of `n` trials; without a limit those that were free when the first one began."""
    return int((limit or 0.9 * available_memory()) / n)
