"""Limits of a worker: time, memory, and time in which it does nothing."""

import contextlib
import math
import time
from pathlib import Path

import psutil

from fmnist_bench.storage.trial import TRAIN
from fmnist_bench.storage.trial_folder import LOG, unfinished
from fmnist_bench.trials.job import Job
from fmnist_bench.trials.stop import seconds_to_finish

SCAN = 2.0  # seconds between two searches for a worker's children
TAIL = 2**16  # bytes that the last lines of a log are looked for in
HAND_IN, LEAST_HAND_IN = 0.25, 10.0  # part of the limit, and seconds, in which what is trained may still be handed in
LATE = 2.0  # times the seconds in which a training is to end its schedule are over before it is ended
BUSY = 0.2  # seconds of processor time that count as work: a process that only waits uses some


class Limits:
    """What a worker may use: time, memory, and time without doing anything."""

    def __init__(self, pid: int, job: Job) -> None:
        self._job, self._tree, self._scanned = job, _processes(pid), time.monotonic()
        self._deadline = math.inf if job.deadline is None else job.deadline
        self._over = f"past its limit of {job.seconds or 0:.0f} s"
        self._began = self._sign = time.monotonic()
        self._busy = 0.0
        self.cpu_seconds = 0.0  # that the worker and all below it have used, as far as was seen

    def extend(self) -> None:
        """Let a worker that has trained its model hand it in, although its time may be over."""
        self._deadline += max(HAND_IN * (self._job.seconds or 0.0), LEAST_HAND_IN)

    def ask_to_finish(self) -> float | None:
        """Seconds in which the worker may end its training, since the run is stopped; None where it may not."""
        if self._job.trial.phase != TRAIN:
            return None
        seconds = seconds_to_finish(time.monotonic() - self._began)
        self._deadline = min(self._deadline, time.monotonic() + LATE * seconds)
        self._over = f"did not end its schedule in {LATE * seconds:.0f} s when the run was stopped"
        return seconds

    def sign_of_life(self) -> None:
        """Take note that the worker is at work."""
        self._sign = time.monotonic()

    def passed(self) -> tuple[str, str] | None:
        """Status and reason where a limit is passed."""
        now, (size, busy) = time.monotonic(), self._use()
        self.cpu_seconds = max(self.cpu_seconds, busy)
        if busy > self._busy + BUSY:
            self._sign, self._busy = now, busy
        if now > self._deadline:
            return "timeout", self._over
        if self._job.memory is not None and size > self._job.memory:
            return "out_of_memory", f"{size / 2**30:.1f} GiB resident, limit {self._job.memory / 2**30:.1f} GiB"
        if self._job.stall is not None and now > self._sign + self._job.stall:
            words = tail(unfinished(self._job.folder) / LOG)
            return "timeout", f"did nothing for {self._job.stall:.0f} s" + (f": {words}" if words else "")
        return None

    def _use(self) -> tuple[int, float]:
        """Resident bytes and seconds of processor time of the worker and all below it."""
        with contextlib.suppress(psutil.Error):
            if time.monotonic() > self._scanned + SCAN:  # to find children every process of the machine is looked at
                self._tree = [
                    *self._tree[:1],
                    *(each for root in self._tree[:1] for each in root.children(recursive=True)),
                ]
                self._scanned = time.monotonic()
        size, busy = 0, 0.0
        for process in self._tree:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                size, busy = size + process.memory_info().rss, busy + times.user + times.system
        return size, busy


def _processes(pid: int) -> list[psutil.Process]:
    """The worker as a list of one, empty if it has ended already."""
    try:
        return [psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return []


def tail(path: Path, lines: int = 5) -> str:
    """Last lines of a log, on one line."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            return " | ".join(file.read().decode(errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return ""
