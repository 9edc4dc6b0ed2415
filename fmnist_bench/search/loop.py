"""The loop over trials: as many at once as there are workers, each asked, run, recorded, logged, told."""

import contextlib
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from fmnist_bench.config.study import Study
from fmnist_bench.data.dataset import Split
from fmnist_bench.progress.displays import Progress
from fmnist_bench.search.allocation import Clock
from fmnist_bench.search.optuna_sampler import OptunaSampler
from fmnist_bench.search.phases import Phases
from fmnist_bench.search.plan import box_seconds
from fmnist_bench.search.sampler import Sampler
from fmnist_bench.search.study import StudySearch
from fmnist_bench.search.training import STOPPED, Planned, with_epochs_made
from fmnist_bench.storage.results import PREPARATION, TrialResult
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.storage.trial import TRAIN, Trial
from fmnist_bench.storage.trial_folder import Rows, unfinished
from fmnist_bench.tracking.tracker import Tracker
from fmnist_bench.trials.job import Job
from fmnist_bench.trials.local import Workers
from fmnist_bench.trials.stop import Stop, seconds_to_finish

MOST_THREADS = 1024  # that attend to workers; they are made as they are needed
SAVE_SECONDS = 15.0  # how often to save the elapsed time and look for new workers while no trial finishes
Trials = dict[Future[tuple[TrialResult, float]], tuple[StudySearch, Trial]]


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
    fine_tune: bool = True  # trained networks, where the plan finds that it pays


class Search:
    """The search of a run."""

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
        self.stop = Stop()  # set by Ctrl-C: ends the trials in progress and the search
        planned = run.state.get("networks", [])
        self.phases = Phases(
            studies, clock, workers, settings.seed, settings.trials, self._write_down, planned, self._is_saved
        )
        self._lock = threading.RLock()  # the threads that attend to workers hand in scores

    def settle(self) -> None:
        """Close what an earlier call left open: a finished trial is recorded, an unfinished one is asked again."""
        for search in self.studies:
            for trial in search.left_running():
                self.tracker.forget_trial(trial.study, trial.number)
                record = self.run.record(trial.study, trial.number)
                if record is None:
                    if [trial.study, trial.number] in self.run.state.get("training", []):
                        trial = replace(trial, phase=TRAIN)
                    result = self.run.result(trial.study, trial.number)
                    result = result or TrialResult("interrupted", "the benchmark was stopped while it ran")
                    record = self._record(trial, result, result.fit_seconds + result.predict_seconds)
                self._close(search, record)
            if (prepared := self.run.record(search.study.name, PREPARATION)) is not None:  # Optuna knows nothing of it
                self.tracker.log_missing(prepared)

    def loop(self, reserve: Callable[[], float]) -> None:
        """Run trials until budget or count is used up; `reserve` says how many seconds the end phase needs."""
        running: Trials = {}
        with ThreadPoolExecutor(MOST_THREADS) as threads, self._stops_on_error():  # a cluster may grow
            while True:
                while self.phases.free_places() and (started := self._start(threads, reserve())):
                    running |= started
                if not running:
                    self._note_what_was_not_begun(reserve())
                    return
                done = wait(running, SAVE_SECONDS, FIRST_COMPLETED).done
                self.run.save_state(seconds=self.clock.elapsed)
                for future in done:
                    search, trial = running.pop(future)
                    result, seconds = future.result()
                    earlier = search.preparation_seconds if trial.number == PREPARATION else 0.0
                    self._close(search, self._record(trial, result, earlier + seconds))

    def _write_down(self, networks: list[Planned], lines: list[str]) -> None:
        """Keep and say what the train phase is going to train."""
        self.run.save_state(networks=networks)
        for line in lines:
            self.progress.message(f"Training {line}")

    def _is_saved(self, training: Trial) -> bool:
        return self.run.checkpoint_file(training).exists()

    def _note_what_was_not_begun(self, reserve: float) -> None:
        box = math.inf if self.phases.is_counted else box_seconds((self.clock.budget or 0.0) - reserve)
        reasons = {search.study.name: search.why_not_begun(box) for search in self.studies if not search.records}
        self.run.save_state(not_begun=reasons)

    def interrupt(self) -> bool:
        """Stop as Ctrl-C asks: networks in training end their schedules first, and a second time nothing does.

        Returns
        -------
        bool
            Whether that was something new; False asks to end the program.
        """
        training = [r for search in self.studies for r in search.running.values() if r.phase == TRAIN]
        if self.stop.is_set() and (self.stop.at_once.is_set() or not training):
            return False
        if self.stop.is_set():
            self.stop.at_once.set()
            self.progress.message("Stopping at once; ensemble and report follow (Ctrl-C again ends the program)")
            return True
        self.stop.set()
        seconds = max((seconds_to_finish(time.monotonic() - running.started) for running in training), default=0.0)
        what = f"The training ends its schedule in about {seconds:.0f} s; then" if training else "Stopping the search;"
        self.progress.message(f"{what} ensemble and report follow (Ctrl-C again stops at once)")
        return True

    @contextlib.contextmanager
    def _stops_on_error(self) -> Iterator[None]:
        """End the trials in progress where the loop cannot go on: nobody would record them."""
        try:
            yield
        except BaseException:
            self.stop.set()
            self.stop.at_once.set()
            raise

    def _start(self, threads: ThreadPoolExecutor, reserve: float) -> Trials:
        """Begin the next trial, if there is one that is likely to end in time and that the free places suffice for."""
        while not self.stop.is_set() and (chosen := self.phases.next(reserve)) is not None:
            search, proposal = chosen
            if (trial := self._ask(search, proposal)) is not None:
                self._clear(trial.study, trial.number)
                self.progress.trial_started(trial.study, trial.number)
                limit = self.phases.limit(trial, reserve)
                return {threads.submit(self._attend, search, trial, limit): (search, trial)}
        return {}

    def _ask(self, search: StudySearch, proposal: Trial) -> Trial | None:
        """Begin a trial; note one of the train phase: after a kill the plan is made anew, and nothing repeats it."""
        with self._lock:
            trial = search.ask(proposal)
        if trial is not None and trial.phase == TRAIN:
            self.run.save_state(training=[*self.run.state.get("training", []), [trial.study, trial.number]])
        return trial

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

    def _attend(self, search: StudySearch, trial: Trial, limit: float | None) -> tuple[TrialResult, float]:
        """Run a trial; in a thread of its own."""
        name, number, started = trial.study, trial.number, time.monotonic()
        heard: dict[str, list[float]] = {}

        def on_report(step: int | str, score: float) -> bool:
            with self._lock:
                if isinstance(step, str):
                    self.progress.trial_stage(name, number, step, score)
                    return False
                heard.setdefault("step", []).append(float(step))
                heard.setdefault("fidelity" if number == PREPARATION else "valid_accuracy", []).append(score)
                self.progress.trial_progress(name, number, step, score)
                return search.should_prune(trial, step, score)

        result = self.workers.run(self.job(search.study, trial, limit), on_report, self.stop)
        if not result.history:  # it was stopped, or died, and could not hand it in
            result = replace(result, history=heard)
        return result, time.monotonic() - started

    def job(self, study: Study, trial: Trial, limit: float | None) -> Job:
        """Give all that a worker needs to know of a trial that has `limit` seconds."""
        shared = self.settings
        return Job(
            study=study,
            trial=trial,
            rows=shared.rows(),
            split=shared.split,
            seed=shared.seed,
            folder=self.run.trial_folder(trial.study, trial.number),
            cache_dir=self.run.store.cache,
            seconds=limit,
            resources=study.space.resources,
            allow_import=shared.allow_import,
            weights_dir=shared.weights_dir,
            generator=self.run.generator_file(trial.study) if study.augmented else None,
            checkpoint=self.run.checkpoint_file(trial) if trial.phase == TRAIN else None,
            fine_tune=shared.fine_tune and trial.fine_tune,
        )

    def _record(self, trial: Trial, result: TrialResult, seconds: float) -> Trial:
        record = replace(trial, result=result, seconds=seconds, ended=self.clock.elapsed)
        if trial.phase == TRAIN:
            record = with_epochs_made(record)
        self.run.save_record(record)
        return record

    def _close(self, search: StudySearch, record: Trial) -> None:
        """Log, then tell: what Optuna knows to have ended is in MLflow."""
        self.tracker.log_trial(record)
        with self._lock:
            search.tell(record)
        if record.phase == TRAIN and record.status not in STOPPED:
            self.run.delete_checkpoint(record)
        best = search.best(self.settings.per_study)
        self.tracker.keep_models(record.study, [r.number for r in best])
        self.run.save_state(seconds=self.clock.elapsed)
        how = record.status, record.result.accuracy, record.seconds, record.result.reason
        self.progress.trial_ended(record.study, record.number, *how)


def make_study_searches(studies: Sequence[Study], run: Run, seed: int, thorough: bool) -> list[StudySearch]:
    """Open every study; the plain one over a space stands before those with an augmentation."""
    searches: dict[str, StudySearch] = {}
    for study in studies:
        plain = searches.get(study.space.name) if study.augmented else None
        searches[study.name] = StudySearch(study, run, _make_sampler(study, run, seed), thorough, plain)
    return list(searches.values())


def _make_sampler(study: Study, run: Run, seed: int) -> Sampler:
    if study.space.engine.name == "keras-tuner":
        from fmnist_bench.search.keras_tuner_sampler import KerasTunerSampler

        return KerasTunerSampler(study, run, seed)
    return OptunaSampler(study, run, seed, study.space.engine.oracle)
