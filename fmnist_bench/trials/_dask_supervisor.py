"""What runs at a Dask worker: it gets the rows once, starts a child process a trial and passes on what it says."""

import functools
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial_folder import GENERATOR, unfinished
from fmnist_bench.trials.job import Job
from fmnist_bench.trials.local import LocalWorkers
from fmnist_bench.trials.server import prepare

POLL = 0.5  # seconds between two looks at whether the rows are there
ANSWER = 10.0  # seconds that a trial waits for the answer to a report before it goes on without
GRACE = 2.0  # seconds for Dask to learn that it is to end, after a trial was ended by a signal
TRANSFER = 600.0  # seconds that a trial waits for the rows
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_setting_up = threading.Lock()


class Line(threading.Event):
    """The line of a trial to its coordinator; as an event it is set when nobody waits for the trial any more."""

    of_trial: "WeakValueDictionary[str, Line]" = WeakValueDictionary()

    def __init__(self, worker: Any, topic: str) -> None:
        super().__init__()
        self._worker, self._topic, self._key = worker, topic, worker.get_current_task()
        self.prune, self.answered = False, threading.Event()
        self.of_trial[self._key[1]] = self
        self.tell("began")

    def is_set(self) -> bool:
        """Say whether Dask has cancelled the trial, as it also does without its coordinator, or closes its worker."""
        from distributed.worker import WORKER_ANY_RUNNING

        state = self._worker.state.tasks.get(self._key)
        return state is None or state.state == "cancelled" or self._worker.status not in WORKER_ANY_RUNNING

    def tell(self, kind: str, *content: Any) -> None:
        """Send a message to the coordinator."""
        message = {"kind": kind, "trial": self._key[1], "worker": self._worker.address, "content": content}
        self._worker.log_event(self._topic, message)

    def report(self, step: int | str, score: float) -> bool:
        """Ask whether to prune; without an answer the trial goes on. What is no step is told and not asked."""
        self.answered.clear()
        self.tell("report", step, score)
        return not isinstance(step, str) and self.answered.wait(ANSWER) and self.prune


def answer(trial: str, prune: bool) -> None:
    """Hand a trial of this Dask worker the answer to its report."""
    if (line := Line.of_trial.get(trial)) is not None:
        line.prune = prune
        line.answered.set()


def supervise(
    job: Job, topic: str, generator: bytes | None, uses: Iterable[str]
) -> tuple[TrialResult, dict[str, bytes]]:
    """Run a trial in a child of this Dask worker; return its result, and the files that it left, by name.

    `topic` is where its coordinator listens, `generator` what the study's augmentation has learnt. Where nobody waits
    for the trial any more, or this Dask worker closes, Dask is asked to begin it elsewhere.
    """
    from distributed import Reschedule, get_worker

    worker = get_worker()
    line, local = Line(worker, topic), Path(worker.local_directory)
    with _setting_up:
        _set_up({*uses, *job.study.space.uses}, job.allow_import)
        workers = _workers(worker.state.nthreads, worker.memory_manager.memory_limit)
        rows = _await_rows(local / job.rows.folder.name, line)
    with tempfile.TemporaryDirectory(prefix="trial-", dir=local, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        job = replace(job, folder=folder / "trial", cache_dir=local / "cache", checkpoint=None)
        job = replace(job, rows=replace(job.rows, folder=rows))
        if generator is not None:
            (folder / GENERATOR).write_bytes(generator)
            job = replace(job, generator=folder / GENERATOR)
        result = workers.run(job, line.report, line)
        if result.status == "crashed":
            time.sleep(GRACE)  # the end of a batch job is that of all its processes
        if result.status in ("crashed", "interrupted") and line.is_set():
            raise Reschedule
        found = job.folder if job.folder.exists() else unfinished(job.folder)
        return result, {path.name: path.read_bytes() for path in found.glob("*") if path.is_file()}


def _set_up(uses: Iterable[str], allow_import: tuple[str, ...]) -> None:
    """Make this process fit to start trials; what the first one imports, all later ones find."""
    multiprocessing.current_process().daemon = False  # Dask's nanny makes it a daemon, which may not have children
    for name in THREADS:
        if os.environ.get(name) == "1":  # from Dask's nanny; a trial may use all cores of its place
            del os.environ[name]
    prepare(uses, allow_import)


@functools.cache
def _workers(n: int, memory_limit: int | None) -> LocalWorkers:
    """Divide cores and memory of this Dask worker among its `n` threads."""
    workers = LocalWorkers(n)
    if memory_limit:
        workers._memory = memory_limit // n
    return workers


def _await_rows(folder: Path, line: Line) -> Path:
    """Give the folder of the rows on this worker's disk; the first trial asks for them."""
    from distributed import Reschedule

    if not folder.exists():
        line.tell("rows")
    deadline = time.monotonic() + TRANSFER
    while not folder.exists():
        if line.is_set():
            raise Reschedule
        if time.monotonic() > deadline:
            raise TimeoutError(f"the rows did not come within {TRANSFER:.0f} s")
        time.sleep(POLL)
    return folder


def take_rows(name: str, files: Mapping[str, bytes], dask_worker: Any) -> None:
    """Write the rows that a trial of this Dask worker waits for."""
    write_files(Path(dask_worker.local_directory) / name, files)


def write_files(folder: Path, files: Mapping[str, bytes], whole: bool = True) -> None:
    """Write the files of a folder that appears when it is whole, or stays unfinished."""
    temporary = unfinished(folder)
    temporary.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (temporary / Path(name).name).write_bytes(content)
    if whole:
        os.replace(temporary, folder)
