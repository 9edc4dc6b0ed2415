"""Where trials run, several at once: worker processes on this machine, each with its part of the cores."""

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fmnist_bench._utils.environment import allowed_cores, available_memory, cores
from fmnist_bench._utils.errors import InputError
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.trials.job import Job
from fmnist_bench.trials.process import OnReport, run_in_worker

STALL = 120.0  # seconds without a report and without work after which a worker counts as hung
EFFICIENCY = 0.9  # power of the number of cores with which a network learns faster
ROOM = 3 * 2**30  # bytes of memory that a trial should find


class Workers(ABC):
    """Where trials run, some of them at once."""

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Number of trials that may run at once."""

    def speedup(self, places: int) -> float:
        """How many times faster a network learns with so many places than with one: 1 where it cannot take several."""
        return 1.0

    @abstractmethod
    def check(self, resources: Mapping[str, float], who: str) -> None:
        """Refuse what `who` asks of a machine if there is none that has it."""

    @abstractmethod
    def run(self, job: Job, on_report: OnReport, stop: threading.Event) -> TrialResult:
        """Run a trial and wait for it; called from as many threads as there is capacity."""

    def close(self) -> None:  # noqa: B027
        """Give back what was taken."""


class LocalWorkers(Workers):
    """Worker processes on this machine, each with its part of the cores.

    Parameters
    ----------
    capacity : int or None
        How many at once, at least 1. None: as many as there are cores, if each finds 3 GiB of memory. Side by side
        with one core each, trials of each of six families get through more rows a second than one after the other
        with all of the cores: ``benchmarks/search/overhead.md`` has the measurement.
    at_most : int or None
        Number of trials that there will be: fewer of them get more cores each.
    """

    def __init__(self, capacity: int | None = None, at_most: int | None = None) -> None:
        available = available_memory()
        n = capacity or max(1, min(cores(), available // ROOM))
        self._capacity = min(n, at_most or n)
        self._memory = int(0.9 * available / self._capacity)
        self._places: queue.SimpleQueue[tuple[int, ...]] = queue.SimpleQueue()
        for place in divide(allowed_cores(), self._capacity):
            self._places.put(place)

    @property
    def capacity(self) -> int:  # noqa: D102
        return self._capacity

    def speedup(self, places: int) -> float:  # noqa: D102
        each = max(1.0, cores() / self._capacity)  # cores that one place has
        return float((min(places * each, cores()) / each) ** EFFICIENCY)

    def check(self, resources: Mapping[str, float], who: str) -> None:  # noqa: D102
        gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
        for name, amount in resources.items():
            if (found := gpus if name == "gpus" else 0) < amount:
                raise InputError(f"{who}: needs {name} = {amount:g}, this machine has {found}")

    def run(self, job: Job, on_report: OnReport, stop: threading.Event) -> TrialResult:  # noqa: D102
        places = [self._places.get() for _ in range(job.trial.places)]
        cpus = tuple(sorted({cpu for place in places for cpu in place}))
        memory = self._memory * len(places)
        try:
            return run_in_worker(replace(job, cpus=cpus, memory=memory, stall=STALL), on_report, stop)
        finally:
            for place in places:
                self._places.put(place)


def divide(cpus: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """Deal `cpus` out to `n` places, of which several share one where there are more places than cores."""
    if n >= len(cpus):
        return [(cpus[i % len(cpus)],) for i in range(n)]
    return [tuple(cpus[i::n]) for i in range(n)]
