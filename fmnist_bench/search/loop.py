"""The loop over trials: as many at once as there are workers, each asked, run, recorded, logged, told."""

import contextlib
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from fmnist_bench.config.study import ROWS
from fmnist_bench.data.dataset import Split
from fmnist_bench.progress.displays import Progress
from fmnist_bench.search.allocation import Clock, next_study
from fmnist_bench.search.proposals import Proposal
from fmnist_bench.search.sampler import Ask
from fmnist_bench.search.study import StudySearch
from fmnist_bench.storage.records import TrialRecord
from fmnist_bench.storage.results import PREPARATION, TrialResult
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.storage.trial_folder import Rows, unfinished
from fmnist_bench.tracking.tracker import Tracker
from fmnist_bench.trials.local import Workers
from fmnist_bench.trials.task import Task

LEARNING_SHARES = 1.0  # even shares of the time that an augmentation may take to learn, once for all its trials
LIMIT_FACTOR = 2.0  # a trial may take so many times longer than expected; a network then ends its schedule early
MOST_THREADS = 1024  # that attend to workers; they are made as they are needed
SAVE_SECONDS = 15.0  # how often to save the elapsed time and look for new workers while no trial finishes
FIRST_SHARE, FIRST_LIMIT = 0.25, 20.0  # of the time left, and seconds, that a trial of an unknown cost may take
TRAINING = 0.8  # of the time for trials, kept for the last training of a network that one core is too slow for


@dataclass(frozen=True)
class SearchSettings:
    """What every trial of a search shares."""

    rows: Callable[[], Rows]  # asked for each trial: they lie in the cache, which may be deleted at any time
    split: Split
    seed: int
    trials: int | None
    per_study: int
    allow_import: tuple[str, ...] = ()
    weights_dir: str | None = None


class Search:
    """The search of a run.

    Parameters
    ----------
    studies : list of StudySearch
    run : Run
    tracker : Tracker
    clock : Clock
    workers : Workers
    settings : SearchSettings
    progress : Progress
    """

    def __init__(
        self,
        studies: Sequence[StudySearch],
        run: Run,
        tracker: Tracker,
        clock: Clock,
        workers: Workers,
        settings: SearchSettings,
        progress: Progress,
    ) -> None:
        self.studies, self.run, self.tracker, self.clock, self.workers = studies, run, tracker, clock, workers
        self.settings, self.progress = settings, progress
        self.stop = threading.Event()  # set by Ctrl-C: ends the trials in progress and the search
        self._until = math.inf  # seconds until a network is trained last, which nothing else may delay
        self._lock = threading.RLock()  # the threads that attend to workers hand in scores

    def settle(self) -> None:
        """Close what an earlier call left open: a finished trial is recorded, an unfinished one is asked again."""
        for search in self.studies:
            for ask in search.left_running():
                self.tracker.forget_trial(search.study.name, ask.number)
                record = self.run.record(search.study.name, ask.number)
                if record is None:
                    result = self.run.result(search.study.name, ask.number)
                    result = result or TrialResult("interrupted", "the benchmark was stopped while it ran")
                    record = self._record(search, ask, result, result.fit_seconds + result.predict_seconds)
                self._close(search, record)
            if (prepared := self.run.record(search.study.name, PREPARATION)) is not None:  # Optuna knows nothing of it
                self.tracker.log_missing(prepared)

    def loop(self, reserve: Callable[[], float]) -> None:
        """Run trials until budget or count is used up; `reserve` says how many seconds the end phase needs."""
        running: dict[Future[tuple[TrialResult, float]], tuple[StudySearch, Ask]] = {}
        with ThreadPoolExecutor(MOST_THREADS) as threads, self._stops_on_error():  # a cluster may grow
            while True:
                while len(running) < self.workers.capacity and (started := self._start(threads, reserve())):
                    running |= started
                if not running:
                    return
                done = wait(running, SAVE_SECONDS, FIRST_COMPLETED).done
                self.run.save_state(seconds=self.clock.elapsed)
                for future in done:
                    search, ask = running.pop(future)
                    result, seconds = future.result()
                    earlier = search.learning_seconds if ask.number == PREPARATION else 0.0
                    self._close(search, self._record(search, ask, result, earlier + seconds))

    @contextlib.contextmanager
    def _stops_on_error(self) -> Iterator[None]:
        """End the trials in progress where the loop cannot go on: nobody would record them."""
        try:
            yield
        except BaseException:
            self.stop.set()
            raise

    def _start(
        self, threads: ThreadPoolExecutor, reserve: float
    ) -> dict[Future[tuple[TrialResult, float]], tuple[StudySearch, Ask]]:
        """Begin the next trial, if there is one that is likely to end in time.

        The last training of a network has the machine to itself: it waits for the trials in progress, and then nothing
        is begun beside it.
        """
        running = [trial for search in self.studies for trial in search.running.values()]
        if any(trial.all_cores for trial in running):
            return {}
        while not self.stop.is_set() and (chosen := self._next(reserve)) is not None:
            search, proposal = chosen
            if proposal.all_cores and running:
                return {}
            longest = math.inf if proposal.all_cores or search.count() == 0 else max(self._until, FIRST_LIMIT)
            with self._lock:
                ask = search.ask(proposal)
            if ask is not None:
                self._clear(search.study.name, ask.number)
                limit = self._limit(search.running[ask.number].expected, reserve, proposal.preparation)
                limit = None if limit is None else min(limit, longest)
                self.progress.trial_started(search.study.name, ask.number)
                return {threads.submit(self._attend, search, ask, limit): (search, ask)}
        return {}

    def _clear(self, study: str, number: int) -> None:
        """Take away what lies in the place of a trial that begins: nothing there may be taken for its result.

        It is what an earlier call left of an augmentation that was stopped in learning, or of a trial of which nobody
        knows any more.
        """
        if self.run.record(study, number) is not None:
            self.tracker.forget_trial(study, number)
        folder = self.run.trial_folder(study, number)
        shutil.rmtree(folder, ignore_errors=True)
        if number != PREPARATION:  # the images that it drew before it was stopped are worth having
            shutil.rmtree(unfinished(folder), ignore_errors=True)

    def _next(self, reserve: float) -> tuple[StudySearch, Proposal] | None:
        until_end = self.clock.left(reserve)
        left = math.inf if until_end is None else until_end
        proposals = [search.propose(left) if self._is_due(search) else None for search in self.studies]
        if any(PREPARATION in search.running for search in self.studies):  # others may find in a file what it learns
            proposals = [None if proposal and proposal.preparation else proposal for proposal in proposals]
        pairs = [(search, proposal) for search, proposal in zip(self.studies, proposals, strict=True) if proposal]
        if self._counted or not pairs:
            return min(pairs, key=lambda pair: pair[0].count(), default=None)
        last = [pair for pair in pairs if pair[1].all_cores]
        waits = {search.study.space.name for search, _ in last}  # what else these studies would try has had its time
        self._until = self._until_last(last, left, reserve)
        others = [
            (search, proposal)
            for search, proposal in pairs
            if search.study.space.name not in waits and (search.count() == 0 or proposal.seconds <= self._until)
        ]
        if not others:
            return max(last, key=lambda pair: pair[0].ladder.promise())
        fair, proposed = self._fair(reserve), {search.study.name: proposal for search, proposal in others}
        claims = [search.claim(proposed.get(search.study.name), fair) for search in self.studies]
        # One worker looks at what takes long, while the others look at quick families: these make an
        # ensemble within the first minute, and where there is one worker they come first.
        busy = any(search.running for search in self.studies if not search.study.space.is_quick)
        chosen = next_study(claims, quick=busy or self.workers.capacity == 1)
        return self.studies[chosen], proposed[self.studies[chosen].study.name]

    def _until_last(self, last: Sequence[tuple[StudySearch, Proposal]], left: float, reserve: float) -> float:
        """Seconds until the last training begins, of a network that promises most; infinite where there is none."""
        promises = [search.ladder.promise() for search in self.studies]
        best = any(search.ladder.promise() == max(promises) for search, _ in last)
        budget = self.clock.budget
        return left - TRAINING * (budget - reserve) if best and budget is not None else math.inf

    @property
    def _counted(self) -> bool:
        return self.settings.trials is not None or self.clock.budget is None

    def _is_due(self, search: StudySearch) -> bool:
        return not self._counted or search.count() < (self.settings.trials or 1)

    def _limit(self, expected: float, reserve: float, preparation: bool = False) -> float | None:
        """Seconds that a trial may take: one that goes wrong must not use up the time of the others."""
        left = self.clock.left(reserve)
        if left is None or self._counted:
            return left
        if preparation:
            return min(left / 2, max(LEARNING_SHARES * self._fair(reserve), FIRST_LIMIT))
        first = 0.0 if expected else max(FIRST_SHARE * left, FIRST_LIMIT)
        return min(left, max(LIMIT_FACTOR * expected, self._fair(reserve), first))

    def _fair(self, reserve: float) -> float:
        """Seconds that each study would get if what is left were shared evenly."""
        left = self.clock.left(reserve)
        return math.inf if left is None else left * self.workers.capacity / len(self.studies)

    def _attend(self, search: StudySearch, ask: Ask, limit: float | None) -> tuple[TrialResult, float]:
        """Run a trial; in a thread of its own."""
        name, started = search.study.name, time.monotonic()
        heard: dict[str, list[float]] = {}

        def on_report(step: int | str, score: float) -> bool:
            with self._lock:
                if isinstance(step, str):
                    self.progress.trial_stage(name, ask.number, step, score)
                    return False
                heard.setdefault("step", []).append(float(step))
                heard.setdefault("fidelity" if ask.number == PREPARATION else "valid_accuracy", []).append(score)
                self.progress.trial_progress(name, ask.number, step, score)
                return search.should_prune(ask, step, score)

        result = self.workers.run(self._task(search, ask, limit), on_report, self.stop)
        if not result.history:  # it was stopped, or died, and could not hand it in
            result = replace(result, history=heard)
        return result, time.monotonic() - started

    def _task(self, search: StudySearch, ask: Ask, limit: float | None) -> Task:
        shared, fidelity = self.settings, search.fidelity(ask)
        rows_share = fidelity.pop(ROWS, 1.0)
        return Task(
            study=search.study,
            number=ask.number,
            parameters={**ask.parameters, **fidelity},
            rows=shared.rows(),
            split=shared.split,
            seed=shared.seed,
            folder=self.run.trial_folder(search.study.name, ask.number),
            cache_dir=self.run.store.cache,
            seconds=limit,
            rows_share=rows_share,
            resources=search.study.space.resources,
            allow_import=shared.allow_import,
            weights_dir=shared.weights_dir,
            all_cores=search.running[ask.number].all_cores,
            generator=self.run.generator_file(search.study.name) if search.study.augmented else None,
        )

    def _record(self, search: StudySearch, ask: Ask, result: TrialResult, seconds: float) -> TrialRecord:
        record = TrialRecord(
            search.study.name,
            ask.number,
            dict(ask.parameters),
            ask.default,
            result,
            seconds,
            self.clock.elapsed,
            ask.rung,
            search.fidelity(ask),
        )
        self.run.save_record(record)
        return record

    def _close(self, search: StudySearch, record: TrialRecord) -> None:
        """Log, then tell: what Optuna knows to have ended is in MLflow."""
        self.tracker.log_trial(record)
        with self._lock:
            search.tell(record)
        best = search.best(self.settings.per_study)
        self.tracker.keep_models(record.study, [r.number for r in best])
        self.run.save_state(seconds=self.clock.elapsed)
        result = record.result
        self.progress.trial_ended(
            record.study, record.number, result.status, result.accuracy, record.seconds, result.reason
        )
