"""The search over one study: what it has tried, what it would try next, and the sampler that chooses parameters."""

import math
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fmnist_bench.config.fidelity import ROWS
from fmnist_bench.config.study import Study
from fmnist_bench.search.allocation import StudyClaim
from fmnist_bench.search.epochs import embed_seconds, epoch_seconds
from fmnist_bench.search.plan import has_room, minutes_for_augmentation
from fmnist_bench.search.sampler import Sampler
from fmnist_bench.search.successive_halving import AS_IT_STANDS, MORE, SuccessiveHalving
from fmnist_bench.storage.results import NO_WEIGHTS, PREPARATION, PREPARED
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.storage.trial import LOOK, TRAIN, Config, Trial, best

TAKEN_OVER = 3  # best configurations of the study without augmentation that the other one tries as well
TRIES = 3  # of a default configuration that runs out of time
STALE, GAIN = 8, 0.001  # trials without a gain of so much accuracy after which a study waits for the others


class StudySearch:
    """The search over one study.

    Parameters
    ----------
    study : Study
    run : Run
    sampler : Sampler
    thorough : bool
        Run every trial as its study says, without successive halving.
    plain : StudySearch or None
        Of the same search space without the augmentation.

    Attributes
    ----------
    halving : SuccessiveHalving
        Of the trials of look and search.
    records : list of Trial
        Of the trials that have ended, in that order.
    running : dict of Trial
        By their numbers.
    queue : dict of Trial
        Default configurations, and trials that were interrupted: they come before anything else.
    prepared : bool
        Whether its augmentation, if it has one, has learnt.
    preparation_seconds : float
        What that took.
    exhausted : bool
        Whether no new configuration will be asked for: there is none, or no weights, or the augmentation cannot learn.
    """

    def __init__(
        self, study: Study, run: Run, sampler: Sampler, thorough: bool = False, plain: "StudySearch | None" = None
    ) -> None:
        self.study, self.plain, self.sampler = study, plain, sampler
        self.halving = SuccessiveHalving(study.space.fidelity.costs, study.space.fidelity.work)
        self.first_rung = AS_IT_STANDS if thorough and study.space.fidelity.levels else 0
        self.records: list[Trial] = []
        self.running: dict[int, Trial] = {}
        self.queue: dict[Hashable, Trial] = {}
        self.prepared, self.preparation_seconds, self.exhausted = not study.augmented, 0.0, False
        self._best, self._without_gain = 0.0, 0
        self._enqueue_defaults()
        self._take_records(run)

    def _enqueue_defaults(self) -> None:
        for default in self.study.space.defaults:
            if not default.alone and self.plain is None:
                says_all = self.study.space.fidelity.levels.keys() & default.parameters.keys()
                self._enqueue(default.parameters, default.name, AS_IT_STANDS if says_all else self.first_rung)

    def _take_records(self, run: Run) -> None:
        told = self.sampler.told()
        for record in run.records(self.study.name):
            if record.number == PREPARATION:
                self._take_preparation(record, ("interrupted", "timeout"))  # there may be more time now
            elif record.number in told and record.rung <= self.halving.top:  # others may have changed the record
                self._take(record, ("interrupted", NO_WEIGHTS))  # there may be some now

    @property
    def is_network(self) -> bool:
        """Whether the train phase trains its best configurations."""
        return self.study.space.trains_network

    def count(self) -> int:
        """Number of trials of look and search that run or have ended and were not interrupted."""
        return self.halving.count

    def best(self, n: int) -> list[Trial]:
        """The `n` best complete trials, best first."""
        return best(self.records, n)

    @property
    def spent(self) -> float:
        """Seconds that trials of look and search have taken, and those that run are likely to take."""
        now = time.monotonic()
        running = [max(t.seconds, now - t.started) for t in self.running.values() if t.phase != TRAIN]
        ended = [r.seconds for r in self.records if r.number != PREPARATION and _counts(r)]
        return sum(running) + self.preparation_seconds + sum(ended)

    def claim(self, ready: bool) -> StudyClaim:
        """Say what `next_study` must know."""
        stale = self._without_gain >= STALE
        return StudyClaim(self.study.space.name, self.promise, self.spent, ready, stale)

    @property
    def promise(self) -> float:
        """Accuracy that its best configuration, or the one without augmentation, is likely to have in the end."""
        return max(self.halving.promise(), 0.0 if self.plain is None else self.plain.halving.promise())

    def look(self, box: float) -> Trial | None:
        """Propose the first trial: the first default configuration that has not failed, at the lowest fidelity.

        None where the study has a complete trial, or is trying. `box` are the seconds that a network may take.
        """
        if self.plain is not None or self.running or self.exhausted or self.best(1):
            return None
        if wish := next(iter(self.queue.values()), None):
            return replace(self._proposal(wish, wish.rung, box), phase=LOOK)
        return None if self.records else replace(self._new(box), phase=LOOK)

    def search(self, left: float, box: float = math.inf) -> Trial | None:
        """Propose the next trial that is likely to end within `left` seconds.

        What waits first; then the best configuration on all train rows; then what successive halving promotes; then new
        configurations. `box` are the seconds that a network may take.
        """
        return next((trial for trial in self._candidates(box) if trial.seconds <= left), None)

    def compare(self, left: float, box: float = math.inf) -> Trial | None:
        """Propose the trial by which families are compared: the best configuration so far on all train rows.

        None where one has begun, or is not likely to end within `left` seconds. A study with an augmentation tries what
        the one without it has.
        """
        if self.is_compared:
            return None
        candidates = self._on_all_rows(box) if self.plain is None else self._candidates(box)
        return next((trial for trial in candidates if trial.seconds <= left and not trial.new), None)

    @property
    def is_compared(self) -> bool:
        """Whether a trial on all train rows has begun, or a network of the train phase has learnt from them."""
        trained = any(record.phase == TRAIN and record.is_complete for record in self.records)
        return trained or self.first_rung != 0 or self.halving.reached(self.full_rung)

    @property
    def full_rung(self) -> int:
        """The lowest rung on all train rows of a network, which trains on in the train phase; of others the highest."""
        rows = self.study.space.fidelity.levels.get(ROWS, (1.0,))
        return next((rung for rung, share in enumerate(rows) if share == 1), 0) if self.is_network else self.halving.top

    def _candidates(self, box: float) -> Iterator[Trial]:
        if not self.prepared:
            if self._may_prepare(box):
                seconds, limit = (box, box) if math.isfinite(box) else (0.0, None)
                learning = self.trial({}, "", AS_IT_STANDS)
                yield replace(learning, number=PREPARATION, seconds=seconds, limit=limit)
            return
        for wish in self.queue.values():
            yield self._proposal(wish, wish.rung, box)
        if self.plain is not None:
            yield from self._of_plain(self.plain, box)
        yield from self._on_all_rows(box)
        yield from self._promoted(box)
        if not self.exhausted and (math.isinf(box) or self.halving.trials) and self.has_room(box):
            yield self._new(box)

    def _may_prepare(self, box: float) -> bool:
        """Whether the augmentation may learn: once, when there is a result without it to compare with."""
        ready = self.plain is not None and self.plain.best(1) and not self.exhausted and not self.running
        return bool(ready) and self.has_room(box)

    def has_room(self, box: float) -> bool:
        """Whether the run is long enough to try more of a network than its first look."""
        if not self.is_network or math.isinf(box):
            return True
        records = (self.plain or self).records
        return (epoch := epoch_seconds(records)) > 0 and has_room(box, epoch, embed_seconds(records))

    def _on_all_rows(self, box: float) -> Iterator[Trial]:
        """The best configuration on all train rows."""
        found = self.halving.best()
        if found is not None and not self.is_compared and self._promotes(box):
            yield self._proposal(found, self.full_rung, box)

    def _promotes(self, box: float) -> bool:
        return self.first_rung == 0 and not self.sampler.chooses_rungs and self.has_room(box)

    def _promoted(self, box: float) -> Iterator[Trial]:
        """What successive halving promotes."""
        for trial in self.halving.promotions() if self._promotes(box) else []:
            if not self.is_network or trial.rung < self.full_rung:
                yield self._proposal(trial, trial.rung + 1, box)

    def _of_plain(self, plain: "StudySearch", box: float) -> Iterator[Trial]:
        """The best configurations of the study without augmentation, at the fidelity they have there, or are getting.

        So with and without augmentation are compared at equal time.
        """
        mine = {(_of_model(config), rung) for config, rung in self.halving.begun}
        mine |= {(_of_model(wish.config), wish.rung) for wish in self.queue.values()}
        complete = sorted(plain.halving.complete, key=lambda t: (-t.rung, -(t.accuracy or 0.0)))
        for config in list(dict.fromkeys(t.config for t in complete))[:TAKEN_OVER]:
            rung = max(rung for other, rung in plain.halving.begun if other == config)
            if (config, rung) not in mine:
                trial = next(t for t in complete if t.config == config)
                default = trial.default or f"{plain.study.name} best"
                yield self._proposal(replace(trial, default=default), rung, box)

    def trial(self, parameters: Mapping[str, Any], default: str, rung: int) -> Trial:
        """Give a trial of this study that could be begun."""
        return Trial(self.study.name, parameters=parameters, default=default, rung=rung, fidelity=self._levels(rung))

    def _levels(self, rung: int) -> dict[str, Any]:
        return {} if rung < 0 else self.study.space.fidelity.at(rung)

    def _new(self, box: float) -> Trial:
        trial, seconds = self.trial({}, "", self.first_rung), self._seconds(None, self.first_rung, box)
        return replace(trial, new=True, seconds=seconds, limit=self._limit(box, self.first_rung))

    def _proposal(self, like: Trial, rung: int, box: float) -> Trial:
        """Give a trial of the same configuration on a rung."""
        box *= MORE ** self.halving.timeouts(like.config, rung)
        trial, seconds = self.trial(like.parameters, like.default, rung), self._seconds(like.config, rung, box)
        return replace(trial, seconds=seconds, limit=self._limit(box, rung))

    def _limit(self, box: float, rung: int) -> float | None:
        """Seconds in which a network's schedule ends; one without rungs of epochs is cut short in its look alone."""
        looks = self.study.space.compresses_schedule and rung == 0 < self.halving.top
        return box if (self.is_network or looks) and math.isfinite(box) else None

    def _seconds(self, config: Config | None, rung: int, box: float) -> float:
        """Seconds that a trial is likely to take; a network's schedule is compressed to end in its box."""
        seconds = self.halving.seconds(config, rung)
        if not self.halving.trials and self.plain is not None:
            seconds = self.plain.halving.seconds(None if config is None else _of_model(config), rung)
        return seconds if self._limit(box, rung) is None else min(seconds, box)

    def why_not_begun(self, box: float) -> str:
        """Say why no trial was begun."""
        if self.plain is not None and not self.has_room(box) and (epoch := epoch_seconds(self.plain.records)):
            return f"needs a budget of about {minutes_for_augmentation(epoch)} min"
        return "the time was over before its turn"

    def ask(self, proposal: Trial) -> Trial | None:
        """Begin a trial; None where no configuration is left that has not been tried."""
        asked: Trial | None = proposal
        if proposal.new:
            asked = self.sampler.ask(self.halving, self.first_rung)
        elif proposal.number != PREPARATION:
            asked = self.sampler.repeat(proposal)
        if asked is None:
            self.exhausted = True
            return None
        begun = replace(proposal, number=asked.number, parameters=asked.parameters, new=False, started=time.monotonic())
        if asked.rung != proposal.rung:  # KerasTuner's Hyperband chooses the rung itself
            seconds = self.halving.seconds(asked.config, asked.rung)
            begun = replace(begun, rung=asked.rung, fidelity=self._levels(asked.rung), seconds=seconds)
        self.running[begun.number] = begun
        if begun.number != PREPARATION and begun.phase != TRAIN:
            self.queue.pop(_key(begun), None)
            self.halving.start(begun.config, begun.rung)
        return begun

    def should_prune(self, trial: Trial, step: int, score: float) -> bool:
        """Take a score of a trial that is training and say whether to stop it; a default configuration never is."""
        return trial.number != PREPARATION and self.sampler.should_prune(trial, step, score)

    def tell(self, record: Trial) -> None:
        """Take how a trial ended; one that was interrupted is tried again."""
        if record.number != PREPARATION:
            self.sampler.tell(record)
        self._take(record, ("interrupted",))

    def left_running(self) -> list[Trial]:
        """Trials that an earlier call has asked for and not told."""
        return [replace(trial, fidelity=self._levels(trial.rung)) for trial in self.sampler.left_running()]

    def _take(self, record: Trial, again: Sequence[str]) -> None:
        """Take note of how a trial ended; with a status of `again` it is tried again."""
        if record.number == PREPARATION:
            self._take_preparation(record, ("interrupted",))
            return
        self.running.pop(record.number, None)
        self.records.append(record)
        if record.phase == TRAIN:
            return
        if record.status in again:
            self.halving.withdraw(record.config, record.rung)
            self._enqueue(record.parameters, record.default, record.rung)
            return
        self.queue.pop(_key(record), None)
        self.halving.end(record)
        self._note_gain(record.accuracy or 0.0)
        timeouts = self.halving.timeouts(record.config, record.rung)
        if record.status == "timeout" and record.default and timeouts < TRIES:
            self._enqueue(record.parameters, record.default, record.rung)  # with what it is now known to need
        if record.status == NO_WEIGHTS:  # nor will there be any for the next trial
            self.exhausted = True
            self.queue.clear()

    def _note_gain(self, accuracy: float) -> None:
        self._without_gain = 0 if accuracy > self._best + GAIN else self._without_gain + 1
        self._best = max(self._best, accuracy)

    def _take_preparation(self, record: Trial, again: Sequence[str]) -> None:
        """Begin, or end where the augmentation could not learn; with a status of `again` it goes on from its file."""
        self.running.pop(PREPARATION, None)
        self.preparation_seconds = record.seconds  # those of every time
        self.prepared = record.status == PREPARED
        if not self.prepared and record.status not in again:
            self.records.append(record)
            self.exhausted = True

    def _enqueue(self, parameters: Mapping[str, Any], default: str, rung: int) -> None:
        wish = self.trial(parameters, default, rung)
        self.queue[_key(wish)] = wish


def _key(trial: Trial) -> Hashable:
    """What tells two wishes apart: a default configuration may leave parameters open."""
    return trial.default or trial.config, trial.rung


def _of_model(config: Config) -> Config:
    """Leave out the parameters of an augmentation."""
    return frozenset(pair for pair in config if not pair[0].startswith("augment"))


def _counts(record: Trial) -> bool:
    """Whether the seconds of a trial are time of the search."""
    return record.status != "interrupted" and record.phase != TRAIN
