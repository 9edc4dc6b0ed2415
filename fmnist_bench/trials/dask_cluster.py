"""Runs trials on a Dask cluster: one future a trial, watched by the Dask worker that gets it, in a child process there.

Reports travel as events of the client's own topic, answers by `Client.run`: both use connections to the scheduler that
are open already, so coordinator and workers need not reach each other, and nothing with a name is left behind (a Queue
or an Event on the scheduler is). Dask keeps the last 1,000 events of a topic, and drops them when its client has gone.
"""

import asyncio
import contextlib
import logging
import math
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import numpy as np

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.dataset import Split
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.trials._dask_client import (
    Offer,
    ask_offers,
    check_workers,
    connect,
    described,
    inventory,
    listed,
    lost,
)
from fmnist_bench.trials._dask_supervisor import Call, answer, pack, pack_name, supervise, write_files
from fmnist_bench.trials.local import Workers
from fmnist_bench.trials.process import OnReport
from fmnist_bench.trials.task import Task

STARTS = 2  # times that a trial is begun before it is given up
WORKERLESS_SECONDS = 60.0  # seconds without a worker that could take a trial
LEAST_SECONDS = 1.0  # that a trial is given which begins again
OVERTIME = 10.0  # seconds that such a trial may take longer than its limit, for rows that have to come again
GROUP = "fmnist_bench"  # beginning of the names of all tasks
STOP_POLL = 1.0  # seconds between two looks at what no message tells: a stop, a worker that is gone

log = logging.getLogger(__name__)


class Cluster(Workers):
    """Runs trials on a Dask cluster, many at once; the same interface as the workers of this machine.

    Parameters
    ----------
    address : str
        The scheduler's, such as ``tcp://scheduler:8786`` or ``tls://scheduler:8786``.
    uses : iterable of str
        Dotted names of the classes that trials will need: a Dask worker imports their modules once. The classes of
        the first trial there are added.
    timeout : float
        Seconds to wait for the scheduler.

    Raises
    ------
    InputError
        Where ``distributed`` is not installed, nothing answers, there is no worker, or one runs other versions.
    """

    def __init__(self, address: str, uses: Iterable[str] = (), timeout: float = 10.0) -> None:
        self.address, self.uses = address, tuple(uses)
        self.client = connect(address, timeout)
        self._inboxes: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        self._looking, self._sending = threading.Lock(), threading.Lock()
        self._seen: tuple[float, dict[str, Offer]] = (-STOP_POLL, {})
        try:
            check_workers(self.client, address)
            self.client.subscribe_topic(self.client.id, self._deliver)
            # Dask keeps statistics of each group of tasks for ever. Task names with an equal beginning are one group
            # as long as one of them is there: this one stays for as long as the client.
            self._anchor = self.client.submit(bool, key=(GROUP, self.client.id))
        except BaseException:
            self.close()
            raise

    @property
    def capacity(self) -> int:
        """How many trials may run at once: the threads of all Dask workers."""
        return sum(offer.threads for offer in self.offers().values())

    def check(self, resources: Mapping[str, float], who: str) -> None:
        """Look for a worker that offers `resources`.

        Raises
        ------
        InputError
            Where no single worker does: what `who` asks for would be waited for without end.
        """
        offers = self.offers()
        if not any(offer.covers(resources) for offer in offers.values()):
            raise InputError(f"{who}: asks one worker for {listed(resources)}; {self.address} has {inventory(offers)}")

    def run(self, task: Task, on_report: OnReport, stop: threading.Event) -> TrialResult:
        """Run `task` on a worker of the cluster and wait for it; called by a thread a trial.

        Parameters
        ----------
        task : Task
            Its folder is written here, as by a worker of this machine.
        on_report : callable
            See `worker.OnReport`.
        stop : Event
            Ends the trial when it is set.

        Returns
        -------
        TrialResult
            ``crashed`` where two workers died with the trial, or none was left for a minute.

        Raises
        ------
        InputError
            Where the scheduler is gone.
        """
        trial = f"{task.study.name}-{task.number}-{uuid.uuid4().hex[:8]}"
        inbox = self._inboxes[trial] = queue.SimpleQueue()
        watch = _Watch(self, trial, inbox, task, on_report, stop)
        try:
            return watch.wait()
        finally:
            watch.leave()
            del self._inboxes[trial]

    def close(self) -> None:
        """Leave the cluster; trials that still run there are ended."""
        with contextlib.suppress(OSError, TimeoutError):
            self.client.close(timeout=5)

    def offers(self) -> dict[str, Offer]:
        """Ask the scheduler what the workers offer, by address; at most once a second for all threads together."""
        with self._looking:
            if time.monotonic() - self._seen[0] >= STOP_POLL:
                self._seen = time.monotonic(), ask_offers(self.client, self.address)
            return self._seen[1]

    def answer(self, worker: str, trial: str, content: tuple[int, Any]) -> None:
        """Answer a question of a trial; that its worker may have died is noticed elsewhere."""
        with contextlib.suppress(OSError):
            self.client.run(answer, trial, content, workers=[worker])

    def send_files(self, worker: str, trial: str, number: int, contents: Callable[[], dict[str, bytes]]) -> None:
        """Answer a trial with files; one at a time, so that the first trials of many workers fit into memory."""
        with self._sending:
            self.answer(worker, trial, (number, contents()))

    def _deliver(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]  # Dask itself writes to the topic, too
        if (inbox := self._inboxes.get(message.get("trial", ""))) is not None:
            inbox.put(message)


class _Watch:
    """The coordinator's side of one trial: what its messages and its future say."""

    def __init__(
        self,
        cluster: Cluster,
        trial: str,
        inbox: "queue.SimpleQueue[dict[str, Any]]",
        task: Task,
        on_report: OnReport,
        stop: threading.Event,
    ) -> None:
        self.cluster, self.trial, self.inbox, self.task = cluster, trial, inbox, task
        self.on_report, self.stop = on_report, stop
        self.begun: list[str] = []  # addresses of the workers that began it
        self.homeless_since: float | None = None
        self.deadline = math.inf  # from when it first began
        self.latest = math.inf if task.seconds is None else time.monotonic() + task.seconds  # to begin
        self.futures: list[Any] = []
        self.handlers: dict[str, Callable[[dict[str, Any]], TrialResult | None]] = {
            "began": self._began,
            "rows": self._rows,
            "report": self._report,
            "ended": self._ended,
        }

    def wait(self) -> TrialResult:
        """Serve the trial until it ends."""
        self._submit()
        while not self.stop.is_set():
            try:
                message = self.inbox.get(timeout=STOP_POLL)
            except queue.Empty:
                result = self._without_news()
            else:
                result = self.handlers[message["kind"]](message)
            if result is not None:
                return result
            if (result := self._overtime()) is not None:
                return result
        return TrialResult("interrupted", "stopped by the user")

    def leave(self) -> None:
        """Let the scheduler forget the trial; a worker that still runs it ends it."""
        for future in self.futures:
            future.release()

    def _submit(self) -> None:
        none = Split(np.empty(0, np.int64), np.empty(0, np.int64))  # the row numbers travel with the rows
        key = (GROUP, f"{self.trial}-{len(self.futures)}")
        future = self.cluster.client.submit(
            supervise,
            replace(self.task, split=none, seconds=self._seconds_left()),
            Call(self.cluster.client.id, self.trial, key),
            pack_name(self.task),
            self.task.generator and self.task.generator.read_bytes(),
            self.cluster.uses,
            key=key,
            resources=dict(self.task.resources) or None,
            pure=False,
        )
        self.futures.append(future)
        self.cluster.client.loop.add_callback(self._collect, future)

    def _seconds_left(self) -> float | None:
        """Give what is left of the time of the trial, which began when its first worker did."""
        seconds = self.task.seconds
        return None if seconds is None else min(seconds, max(self.deadline - time.monotonic(), LEAST_SECONDS))

    async def _collect(self, future: Any) -> None:
        """Fetch the result when there is one, on the client's event loop: the trial's thread goes on answering."""
        content: dict[str, Any] = {"kind": "ended"}
        try:
            content["value"] = await self.cluster.client.gather(future, asynchronous=True)
        except (Exception, asyncio.CancelledError) as error:
            content["error"] = error
        self.inbox.put(content)

    def _began(self, message: dict[str, Any]) -> TrialResult | None:
        # Dask itself starts the trial of a dead worker again, as often as its scheduler is set to.
        if self.begun:
            log.warning("trial %s of %s: %s died; begun again", self.task.number, self.task.study.name, self.begun[-1])
        else:
            self._start_clock()
        self.begun.append(message["worker"])
        return self._given_up(self.begun[:-1])

    def _report(self, message: dict[str, Any]) -> None:
        if message["worker"] == self.begun[-1]:  # not one that was only cut off
            prune = self.on_report(message["step"], message["score"])
            if isinstance(message["step"], str):
                return
            self.cluster.answer(message["worker"], self.trial, (message["number"], prune))

    def _rows(self, message: dict[str, Any]) -> None:
        self.cluster.send_files(message["worker"], self.trial, message["number"], lambda: pack(self.task))
        if len(self.begun) == 1:  # the trial itself begins now
            self._start_clock()

    def _start_clock(self) -> None:
        if self.task.seconds is not None:
            self.deadline = time.monotonic() + self.task.seconds

    def _ended(self, message: dict[str, Any]) -> TrialResult | None:
        from distributed import KilledWorker

        error = message.get("error")
        if isinstance(error, (CancelledError, asyncio.CancelledError)):
            raise lost(self.cluster.address) from error
        if isinstance(error, KilledWorker):
            if len(self.begun) < len(self.futures):  # it died before it could say that it began
                self.begun.append(error.last_worker.address)
            return self._again()
        if error is not None:
            return TrialResult("crashed", ": ".join([*self.begun[-1:], described(error)]))
        result: TrialResult
        result, files = message["value"]
        if result.status == "interrupted":  # by the end of the Dask worker, not from here
            return self._again()
        write_files(self.task.folder, files)
        return result

    def _again(self) -> TrialResult | None:
        if (result := self._given_up(self.begun)) is None:
            self._submit()
        return result

    def _given_up(self, dead: list[str]) -> TrialResult | None:
        if len(dead) < STARTS:
            return None
        return TrialResult("crashed", f"the Dask workers that ran it died: {', '.join(dead)}")

    def _overtime(self) -> TrialResult | None:
        """Give up a trial whose time was over before it found a worker, or that began again and has none left."""
        if not self.begun and time.monotonic() > self.latest:
            return TrialResult("timeout", f"no worker was free for it within its limit of {self.task.seconds:.0f} s")
        if len(self.begun) > 1 and time.monotonic() > self.deadline + OVERTIME:
            return TrialResult("timeout", f"{self.begun[-2]} died, and its time did not suffice to begin again")
        return None

    def _without_news(self) -> TrialResult | None:
        """Give up a trial that has been waiting too long for a worker which could take it."""
        offers, wanted = self.cluster.offers(), self.task.resources
        if any(offer.covers(wanted) for offer in offers.values()):
            self.homeless_since = None
            return None
        self.homeless_since = self.homeless_since or time.monotonic()
        if time.monotonic() - self.homeless_since < WORKERLESS_SECONDS:
            return None
        asked = f" with {listed(wanted)}" if wanted else ""
        died = f"; {', '.join(self.begun)} died" if self.begun else ""
        return TrialResult("crashed", f"no Dask worker{asked} for {WORKERLESS_SECONDS:.0f} s{died}")
