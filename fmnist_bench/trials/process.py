"""Where a trial runs: a process of its own, with a deadline, a memory limit and a kill switch."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fmnist_bench._utils import stage_progress
from fmnist_bench._utils.errors import InputError, describe, one_line, printable
from fmnist_bench.config.study import Study
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial_folder import LOG, read_result, unfinished
from fmnist_bench.trials.job import ANSWER, DONE, FINISH, Job, work
from fmnist_bench.trials.limits import Limits, tail
from fmnist_bench.trials.questions import check
from fmnist_bench.trials.server import ensure_server, hidden_main
from fmnist_bench.trials.stop import Stop

GRACE = 3.0  # seconds between the polite and the hard end of a worker
STARTS = 3  # times that a worker is started before it is given up
PAUSE = 1.0  # seconds between them, if memory has run out
WORKER_POLL = 0.25  # seconds between two looks at a worker

# Gets ``(step, score)`` while the trial trains, its answer True prunes the trial; and ``(what, share)`` of a long
# computation before that, such as features, whose answer does not matter.
OnReport = Callable[[int | str, float], bool]


def run_in_worker(job: Job, on_report: OnReport, stop: threading.Event) -> TrialResult:
    """Run `job` in a process of its own and wait for it.

    Parameters
    ----------
    job : Job
    on_report : callable
        See `OnReport`.
    stop : Event
        Ends the trial when it is set; a `Stop` lets a network of the train phase end its schedule first.

    Returns
    -------
    TrialResult
        Read back from ``job.folder`` if the worker came to an end, else made up of what ended it, or kept it from
        its start.
    """
    started = time.perf_counter()
    if job.seconds is not None:
        job = replace(job, deadline=time.monotonic() + job.seconds)
    try:
        with worker(work, job) as (process, connection):
            limits = Limits(process.pid, job)
            ended_by = _attend(process, connection, limits, on_report, stop)
    except WorkerError as error:
        return TrialResult("crashed", str(error))
    if (result := read_result(job.folder)) is not None:  # it may have been ended when all was done
        return result
    status, reason = ended_by or _death(process.exitcode, job.folder)
    if (scored := read_result(unfinished(job.folder))) is not None:  # it was ended while it was fine-tuned
        os.replace(unfinished(job.folder), job.folder)
        words = f"fine-tuning {status.replace('_', ' ')}: {reason}; the model is the one that was scored"
        return replace(scored, warnings=[*scored.warnings, printable(one_line(words))])
    seconds = time.perf_counter() - started
    return TrialResult(status, reason, fit_seconds=seconds, fit_cpu_seconds=limits.cpu_seconds)


def check_in_worker(
    studies: tuple[Study, ...], allow_import: tuple[str, ...], students: tuple[Study, ...] = ()
) -> set[str]:
    """Build the default configurations of every study in a worker, so that Keras is not imported here.

    `students` are to learn from the ensemble.

    Returns
    -------
    set of str
        Names of the search spaces whose models compress their schedules.

    Raises
    ------
    InputError
        Where a class or an argument does not exist.
    """
    answer: str | set[str] = answer_of_worker(check, (studies, allow_import, students))
    if isinstance(answer, str):
        raise InputError(answer)
    return answer


def answer_of_worker(target: Callable[..., None], argument: Any, seconds: float | None = None) -> Any:
    """Run `target` in a worker and return what it sends, or what is wrong if it dies or takes longer than `seconds`."""
    try:
        with worker(target, argument) as (process, connection):
            return answer_from(process, connection, seconds)
    except WorkerError as error:
        return str(error)


def answer_from(process: Any, connection: Connection, seconds: float | None = None) -> Any:
    """Wait for what a worker sends next, or say what is wrong if it dies or takes longer than `seconds`."""
    try:
        if not connection.poll(seconds):
            return f"a worker process gave no answer within {seconds:.0f} s"
        return connection.recv()
    except (EOFError, ConnectionError):
        process.join(GRACE)
        return f"a worker process {_cause(process.exitcode)} and without an answer"


class WorkerError(Exception):
    """No worker can be started."""


@contextlib.contextmanager
def worker(target: Callable[..., None], argument: Any) -> Iterator[tuple[Any, Connection]]:
    """Run `target` in a process of its own; give it and the connection to it, and end it at last.

    Raises
    ------
    WorkerError
        Where no process can be started.
    """
    with _temporary_folder() as folder:
        process, connection = _started(partial(_work_in, folder, target), argument)
        try:
            yield process, connection
        finally:
            _end(process)
            connection.close()


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    """Make a folder for a worker's temporary files, and delete it: TensorFlow leaves some when it is killed."""
    try:
        folder = tempfile.mkdtemp(prefix="fmnist_bench-")
    except OSError as error:
        raise WorkerError(f"no folder for its temporary files: {describe(error)}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _work_in(folder: str, target: Callable[..., None], argument: Any, connection: Connection) -> None:
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    target(argument, connection)


def _started(target: Callable[..., None], argument: Any) -> tuple[Any, Connection]:
    """Start a worker; where the server that forks it was killed meanwhile, from a new one."""
    context, reason = multiprocessing.get_context("forkserver"), ""
    for attempt in range(STARTS):
        time.sleep(PAUSE * attempt)
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(argument, theirs), daemon=False)
        try:
            with hidden_main():
                ensure_server()
                process.start()
            return process, ours
        except (EOFError, OSError) as error:
            reason = describe(error)
            ours.close()  # one that was forked all the same ends
        finally:
            theirs.close()
    raise WorkerError(f"no worker process could be started: {reason}")


def _attend(
    process: Any, connection: Connection, limits: Limits, on_report: OnReport, stop: threading.Event
) -> tuple[str, str] | None:
    """Answer the worker until it ends; return status and reason if it had to be ended."""
    finishing = False
    while True:
        if connection.poll(WORKER_POLL):
            try:
                message = connection.recv()
            except (EOFError, ConnectionError):
                message = DONE
            if message is DONE:
                process.join(GRACE)
                return None
            step, score = message
            if step == stage_progress.PREDICTING:
                limits.extend()
                continue
            prune = on_report(step, score)  # whoever reads the events may have gone: that is not the worker's end
            if not isinstance(step, str):
                with contextlib.suppress(ConnectionError):
                    connection.send((ANSWER, prune))
            limits.sign_of_life()
        if stop.is_set():
            finishing = finishing or _ask_to_finish(connection, limits, stop)
            if not finishing or (isinstance(stop, Stop) and stop.at_once.is_set()):
                return "interrupted", "stopped by the user"
        if (passed := limits.passed()) is not None:
            return passed


def _ask_to_finish(connection: Connection, limits: Limits, stop: threading.Event) -> bool:
    """Ask a worker that trains a network to end its schedule; False where it does not, or must not."""
    if not isinstance(stop, Stop) or stop.at_once.is_set() or (seconds := limits.ask_to_finish()) is None:
        return False
    with contextlib.suppress(ConnectionError):
        connection.send((FINISH, seconds))
    return True


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
    cause = _cause(exitcode) + ("" if exitcode is not None and exitcode < 0 else " and no result")
    words = tail(unfinished(folder) / LOG)
    return "crashed", f"{cause}: {words}" if words else cause


def _cause(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"ended with exit status {exitcode}"
    hint = " (perhaps the kernel ran out of memory)" if -exitcode == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-exitcode).name}{hint}"
