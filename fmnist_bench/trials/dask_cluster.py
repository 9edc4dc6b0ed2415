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
from typing import Any

from fmnist_bench._utils.errors import InputError
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial_folder import RESULT
from fmnist_bench.trials._dask_client import Offer, ask_offers, check_workers, connect, described, listed, lost
from fmnist_bench.trials._dask_supervisor import answer, supervise, take_rows, write_files
from fmnist_bench.trials.job import Job
from fmnist_bench.trials.local import Workers
from fmnist_bench.trials.process import OnReport

STARTS = 2  # times that a trial is begun before it is given up
OVERTIME = 10.0  # seconds that a trial which begins again may take longer than its limit, for rows that come again
GROUP = "fmnist_bench"  # beginning of the names of all tasks
STOP_POLL = 1.0  # seconds between two looks at what no message tells: a stop, a worker that is gone

log = logging.getLogger(__name__)
Inbox = queue.SimpleQueue[dict[str, Any]]


class Cluster(Workers):
    """Runs trials on a Dask cluster, many at once; the same interface as the workers of this machine.

    Parameters
    ----------
    address : str
        The scheduler's, such as ``tcp://scheduler:8786`` or ``tls://scheduler:8786``.
    uses : iterable of str
        Dotted names of the classes that trials will need: a Dask worker imports their modules once.
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
        self._inboxes: dict[str, Inbox] = {}
        self._looking, self._sending = threading.Lock(), threading.Lock()
        self._seen: tuple[float, dict[str, Offer]] = (-math.inf, {})
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
        """Refuse what no single worker offers: what `who` asks for would be waited for without end."""
        offers = self.offers().values()
        if not any(offer.covers(resources) for offer in offers):
            there = "; ".join(sorted({listed(offer.resources) for offer in offers})) or "no worker"
            raise InputError(f"{who}: asks one worker for {listed(resources)}; {self.address} has {there}")

    def run(self, job: Job, on_report: OnReport, stop: threading.Event) -> TrialResult:
        """Run `job` on a worker of the cluster, and write its folder here; called by a thread a trial.

        Raises
        ------
        InputError
            Where the scheduler is gone.
        """
        trial, inbox = f"{job.trial.study}-{job.trial.number}-{uuid.uuid4().hex[:8]}", Inbox()
        self._inboxes[trial] = inbox
        generator = job.generator and job.generator.read_bytes()
        key, resources = (GROUP, trial), dict(job.resources) or None
        content = job, self.client.id, generator, self.uses
        future = self.client.submit(supervise, *content, key=key, resources=resources, pure=False)
        self.client.loop.add_callback(self._collect, future, inbox)
        try:
            return _Watch(self, trial, job, on_report).wait(inbox, stop)
        finally:
            future.release()  # a worker that still runs the trial ends it
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

    def call(self, worker: str, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function at a worker; that it may have died is noticed elsewhere."""
        with contextlib.suppress(OSError):
            self.client.run(function, *arguments, workers=[worker])

    def send_rows(self, worker: str, job: Job) -> None:
        """Send the rows; to one after the other, so that the first trials of many workers fit into memory."""
        with self._sending:
            files = {path.name: path.read_bytes() for path in job.rows.folder.glob("[Xy].npy")}
            self.call(worker, take_rows, job.rows.folder.name, files)

    def _deliver(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]  # Dask itself writes to the topic, too
        if (inbox := self._inboxes.get(message.get("trial", ""))) is not None:
            inbox.put(message)

    async def _collect(self, future: Any, inbox: Inbox) -> None:
        """Fetch the result when there is one, on the client's event loop: the trial's thread goes on answering."""
        ended: Any
        try:
            ended = await self.client.gather(future, asynchronous=True)
        except (Exception, asyncio.CancelledError) as error:
            ended = error
        inbox.put({"kind": "ended", "worker": "", "content": (ended,)})


class _Watch:
    """The coordinator's side of one trial: what its messages and its future say."""

    def __init__(self, cluster: Cluster, trial: str, job: Job, on_report: OnReport) -> None:
        self.cluster, self.trial, self.job, self.on_report = cluster, trial, job, on_report
        self.begun: list[str] = []  # addresses of the workers that began it
        self._start_clock()  # also to begin

    def wait(self, inbox: Inbox, stop: threading.Event) -> TrialResult:
        """Serve the trial until it ends."""
        handlers: dict[str, Callable[..., TrialResult | None]]
        handlers = {"began": self._began, "rows": self._rows, "report": self._report, "ended": self._ended}
        while not stop.is_set():
            result = None
            with contextlib.suppress(queue.Empty):
                message = inbox.get(timeout=STOP_POLL)
                result = handlers[message["kind"]](message["worker"], *message["content"])
            if result := result or self._given_up():
                return result
        return TrialResult("interrupted", "stopped by the user")

    def _start_clock(self) -> None:
        self.deadline = time.monotonic() + (math.inf if self.job.seconds is None else self.job.seconds)

    def _began(self, worker: str) -> None:
        # Dask itself starts the trial of a dead worker again, as often as its scheduler is set to.
        if self.begun:
            log.warning(
                "trial %s of %s: %s died; begun again", self.job.trial.number, self.job.trial.study, self.begun[-1]
            )
        else:
            self._start_clock()
        self.begun.append(worker)

    def _rows(self, worker: str) -> None:
        self.cluster.send_rows(worker, self.job)
        if len(self.begun) == 1:  # the trial itself begins now
            self._start_clock()

    def _report(self, worker: str, step: int | str, score: float) -> None:
        if worker != self.begun[-1]:  # one that was only cut off
            return
        prune = self.on_report(step, score)
        if not isinstance(step, str):
            self.cluster.call(worker, answer, self.trial, prune)

    def _ended(self, _: str, ended: Any) -> TrialResult:
        if isinstance(ended, (CancelledError, asyncio.CancelledError)):
            raise lost(self.cluster.address) from ended
        if isinstance(ended, Exception):
            return TrialResult("crashed", ": ".join([*self.begun[-1:], described(ended)]))
        result: TrialResult
        result, files = ended
        write_files(self.job.folder, files, whole=RESULT in files)
        return result

    def _given_up(self) -> TrialResult | None:
        """Give up a trial that kills its workers, or whose time was over before it could begin, or begin again."""
        if len(self.begun) > STARTS:
            return TrialResult("crashed", f"the Dask workers that ran it died: {', '.join(self.begun[:-1])}")
        late = time.monotonic() - self.deadline
        if late > 0 and not self.begun:
            return TrialResult("timeout", f"no worker was free for it within its limit of {self.job.seconds:.0f} s")
        if late > OVERTIME and (len(self.begun) > 1 or self.begun[0] not in self.cluster.offers()):
            return TrialResult("timeout", f"{self.begun[0]} died, and its time did not suffice to begin again")
        return None
