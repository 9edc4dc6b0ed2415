"""Asks for parameters, tells how they did. The only importer of optuna."""

import math
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import psutil
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from fmnist_bench.budget import ArmClaim, Clock, next_arm
from fmnist_bench.data import Split
from fmnist_bench.job import Rows, Task
from fmnist_bench.progress import Progress
from fmnist_bench.space import Range
from fmnist_bench.store import Run, TrialRecord, best
from fmnist_bench.study import Arm
from fmnist_bench.tracking import Tracker
from fmnist_bench.trial import TrialResult
from fmnist_bench.worker import run_in_worker

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
STARTUP_TRIALS = 5  # random trials before TPE learns: a run has tens of trials an arm, not hundreds
DRAWS = 20  # tries at parameters that have not been tried; a small discrete space runs out of them


@dataclass(frozen=True)
class Ask:
    """One question that Optuna asked: the number of the trial, its parameters, the name of a known configuration."""

    number: int
    parameters: Mapping[str, Any]
    known: str = ""


class ArmSearch:
    """The search over one arm: Optuna's questions from its journal, their answers from the run's records.

    Parameters
    ----------
    arm : Arm
    run : Run
    seed : int
    share : float
        Part of the search time.
    """

    def __init__(self, arm: Arm, run: Run, seed: int, share: float) -> None:
        self.arm, self.seed, self.share = arm, seed, share
        self.exhausted = False
        self._live: optuna.Trial | None = None
        self._distributions = {name: distribution(r) for name, r in arm.ranges().items()}
        self._study = optuna.create_study(
            storage=open_journal(run),
            study_name=arm.name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1, n_min_trials=2),
        )
        told = {trial.number for trial in self._trials() if trial.state.is_finished()}
        self.records = [record for record in run.records(arm.name) if record.number in told]
        queued = {trial.user_attrs.get("known") for trial in self._trials()}
        for known in arm.study.known:
            if known.name not in queued:
                self._enqueue(known.parameters, known.name)

    def ask(self) -> Ask | None:
        """Parameters of the next trial; None where nothing is left that has not been tried."""
        tried = [record.parameters for record in self.records if record.result.status != "interrupted"]
        for draw in range(DRAWS):
            # Seeded by position, so that a run which was interrupted asks what it would have asked.
            seed = self.seed + self.count() + 7919 * draw
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
            self._live = self._study.ask(self._distributions)
            ask = self._as_ask(self._live)
            if ask.parameters not in tried:
                return ask
            self._study.tell(self._live, state=TrialState.FAIL)
        self.exhausted = True
        return None

    def should_prune(self, ask: Ask, step: int, score: float) -> bool:
        """Take a score of the trial that is training and say whether to stop it; known ones are never stopped."""
        if self._live is None or not math.isfinite(score):
            return False
        self._live.report(score, step)
        return not ask.known and self._live.should_prune()

    def tell(self, record: TrialRecord) -> None:
        """Take the answer to a question; an interrupted trial's parameters go back into the queue."""
        result = record.result
        state = STATES.get(result.status, TrialState.FAIL)
        self._study.tell(record.number, result.accuracy if state == TrialState.COMPLETE else None, state=state)
        self.records.append(record)
        if result.status == "interrupted":
            self._enqueue(record.parameters, record.known)

    def withdraw(self, ask: Ask) -> bool:
        """Take back a question that was cut off before all of it was written; say whether it was."""
        if self._distributions.keys() <= ask.parameters.keys():
            return False
        self._study.tell(ask.number, state=TrialState.FAIL)
        if known := next((k for k in self.arm.study.known if k.name == ask.known), None):
            self._enqueue(known.parameters, known.name)
        return True

    def left_running(self) -> list[Ask]:
        """Trials that an earlier call has asked for and not told."""
        return [self._as_ask(t) for t in self._trials() if t.state == TrialState.RUNNING]

    def best(self, n: int) -> list[TrialRecord]:
        """The `n` best complete trials, best first."""
        return best(self.records, n)

    def count(self) -> int:
        """Number of trials that have ended and were not interrupted."""
        return sum(record.result.status != "interrupted" for record in self.records)

    def claim(self) -> ArmClaim:
        """What the budget's rule needs to know."""
        spent = sum(record.seconds for record in self.records)
        ended = [r.seconds for r in self.records if r.result.status in ("complete", "pruned")]
        cut = [1.5 * r.seconds for r in self.records if r.result.status == "timeout"]
        typical = statistics.median(ended) if ended else max(cut, default=0.0)
        return ArmClaim(self.share, spent, math.inf if self.exhausted else typical)

    def _enqueue(self, parameters: Mapping[str, Any], known: str) -> None:
        own = {name: value for name, value in parameters.items() if name in self._distributions}
        constants = {name: value for name, value in parameters.items() if name not in self._distributions}
        self._study.enqueue_trial(own, user_attrs={"known": known, "constants": constants})

    def _as_ask(self, trial: optuna.Trial | FrozenTrial) -> Ask:
        attributes = trial.user_attrs
        return Ask(trial.number, {**trial.params, **attributes.get("constants", {})}, attributes.get("known", ""))

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)


@dataclass(frozen=True)
class SearchSettings:
    """What every trial of a search shares."""

    rows: Rows
    split: Split
    seed: int
    trials: int | None
    per_arm: int
    allow_import: tuple[str, ...] = ()


class Search:
    """The loop over trials: asks an arm, runs a worker, records, logs, tells.

    Parameters
    ----------
    arms : list of ArmSearch
    run : Run
    tracker : Tracker
    clock : Clock
    settings : SearchSettings
    progress : Progress
    """

    def __init__(
        self,
        arms: Sequence[ArmSearch],
        run: Run,
        tracker: Tracker,
        clock: Clock,
        settings: SearchSettings,
        progress: Progress,
    ) -> None:
        self.arms, self.run, self.tracker, self.clock = arms, run, tracker, clock
        self.settings, self.progress = settings, progress
        self.stop = threading.Event()  # set by Ctrl-C: ends the trial in progress and the search
        self._memory = int(0.9 * psutil.virtual_memory().available)

    def settle(self) -> None:
        """Close what an earlier call left open: a finished trial is recorded, an unfinished one is asked again."""
        for search in self.arms:
            for ask in search.left_running():
                if search.withdraw(ask):
                    continue
                self.tracker.forget_trial(search.arm.name, ask.number)
                record = self.run.record(search.arm.name, ask.number)
                if record is None:
                    result = self.run.result(search.arm.name, ask.number)
                    result = result or TrialResult("interrupted", "the benchmark was stopped while it ran")
                    record = self._record(search, ask, result, result.fit_seconds + result.predict_seconds)
                self._close(search, record)

    def loop(self, reserve: Callable[[], float]) -> None:
        """Run trials until budget or count is used up; `reserve` says how many seconds the end phase needs."""
        while not self.stop.is_set() and (chosen := self._next(reserve())) is not None:
            search, limit = chosen
            if (ask := search.ask()) is not None:
                self._trial(search, ask, limit)

    def _next(self, reserve: float) -> tuple[ArmSearch, float | None] | None:
        left = self.clock.left(reserve)
        if self.settings.trials is not None or left is None:
            time_left = math.inf if left is None else left
            due = [s for s in self.arms if s.count() < (self.settings.trials or 1) and s.claim().fits(time_left)]
            return (min(due, key=ArmSearch.count), left) if due else None
        chosen = next_arm([search.claim() for search in self.arms], left)
        return None if chosen is None else (self.arms[chosen[0]], chosen[1])

    def _trial(self, search: ArmSearch, ask: Ask, limit: float | None) -> None:
        name, started = search.arm.name, time.monotonic()
        self.progress.trial_started(name, ask.number)

        def on_report(step: int, score: float) -> bool:
            self.progress.trial_progress(name, ask.number, step, score)
            return search.should_prune(ask, step, score)

        result = run_in_worker(self._task(search, ask, limit), on_report, self.stop)
        self._close(search, self._record(search, ask, result, time.monotonic() - started))

    def _task(self, search: ArmSearch, ask: Ask, limit: float | None) -> Task:
        shared = self.settings
        return Task(
            arm=search.arm,
            number=ask.number,
            parameters=ask.parameters,
            rows=shared.rows,
            split=shared.split,
            seed=shared.seed,
            folder=self.run.trial_folder(search.arm.name, ask.number),
            cache_dir=self.run.store.cache,
            seconds=limit,
            memory=self._memory,
            allow_import=shared.allow_import,
        )

    def _record(self, search: ArmSearch, ask: Ask, result: TrialResult, seconds: float) -> TrialRecord:
        record = TrialRecord(
            search.arm.name, ask.number, dict(ask.parameters), ask.known, result, seconds, self.clock.elapsed
        )
        self.run.save_record(record)
        return record

    def _close(self, search: ArmSearch, record: TrialRecord) -> None:
        """Log, then tell: what Optuna knows to have ended is in MLflow."""
        self.tracker.log_trial(record, search.arm.study.name, search.arm.settings(record.parameters))
        search.tell(record)
        self.tracker.keep_models(record.arm, [r.number for r in search.best(self.settings.per_arm)])
        self.run.save_state(seconds=self.clock.elapsed)
        result = record.result
        self.progress.trial_ended(
            record.arm, record.number, result.status, result.accuracy, record.seconds, result.reason
        )


def open_journal(run: Run) -> JournalStorage:
    """Open Optuna's journal; a line that was cut off by a kill is cut away, and its lock is removed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = run.journal
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
    return JournalStorage(JournalFileBackend(str(path)))


def distribution(space: Range) -> optuna.distributions.BaseDistribution:
    """Optuna's distribution over a range of a study."""
    if space.choices:
        return optuna.distributions.CategoricalDistribution(space.choices)
    if space.is_integer:
        return optuna.distributions.IntDistribution(int(space.low), int(space.high), space.log, int(space.step or 1))
    return optuna.distributions.FloatDistribution(space.low, space.high, space.log, space.step)
