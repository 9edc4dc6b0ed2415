"""The search over one study: what it has tried, what it would try next, and the sampler that chooses parameters."""

import math
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fmnist_bench.config.study import ROWS, Study
from fmnist_bench.search.allocation import StudyClaim
from fmnist_bench.search.plan import LEAST_FULL_BOX, minutes_for_augmentation
from fmnist_bench.search.proposal import Proposal, Running
from fmnist_bench.search.sampler import Ask, Sampler
from fmnist_bench.search.successive_halving import AS_IT_STANDS, MORE, Attempt, SuccessiveHalving
from fmnist_bench.storage.records import LOOK, SEARCH, TRAIN, TrialRecord, best
from fmnist_bench.storage.results import NO_WEIGHTS, PREPARATION, PREPARED
from fmnist_bench.storage.run_folder import Run

EPOCHS = "model__epochs"
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
    records : list of TrialRecord
        Of the trials that have ended, in that order.
    running : dict of Running
        By the number of the trial.
    queue : dict of Ask
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
        self.records: list[TrialRecord] = []
        self.running: dict[int, Running] = {}
        self.queue: dict[Hashable, Ask] = {}
        self.prepared, self.preparation_seconds, self.exhausted = not study.augmented, 0.0, False
        self._tried: dict[Hashable, tuple[Mapping[str, Any], str]] = {}  # parameters, name of a default configuration
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

    def best(self, n: int) -> list[TrialRecord]:
        """The `n` best complete trials, best first."""
        return best(self.records, n)

    @property
    def spent(self) -> float:
        """Seconds that trials of look and search have taken, and those that run are likely to take."""
        running = [r.seconds for r in self.running.values() if r.proposal.phase != TRAIN]
        ended = [r.seconds for r in self.records if r.number != PREPARATION and _counts(r)]
        return sum(running) + self.preparation_seconds + sum(ended)

    @property
    def has_result(self) -> bool:
        """Whether any trial has come to an end of its own."""
        return any(record.result.status not in (NO_WEIGHTS, "interrupted") for record in self.records)

    def claim(self, ready: bool) -> StudyClaim:
        """Say what `next_study` must know."""
        stale = self._without_gain >= STALE
        return StudyClaim(self.study.space.name, self.promise, self.spent, ready, stale)

    @property
    def promise(self) -> float:
        """Accuracy that its best configuration, or the one without augmentation, is likely to have in the end."""
        return max(self.halving.promise(), 0.0 if self.plain is None else self.plain.halving.promise())

    def look(self, box: float) -> Proposal | None:
        """Propose the first trial: the first default configuration that has not failed, at the lowest fidelity.

        None where the study has a complete trial, or is trying. `box` are the seconds that a network may take.
        """
        if self.plain is not None or self.running or self.exhausted or self.best(1):
            return None
        if wish := next(iter(self.queue.values()), None):
            return self._proposal(wish.parameters, wish.default, wish.rung, box, phase=LOOK)
        return None if self.records else self._new(box, phase=LOOK)

    def search(self, left: float, box: float = math.inf) -> Proposal | None:
        """Propose the next trial that is likely to end within `left` seconds.

        What waits first; then the best configuration on all train rows, since families are compared there; then what
        successive halving promotes; then new configurations. `box` are the seconds that a network may take.
        """
        return next((proposal for proposal in self._candidates(box) if proposal.seconds <= left), None)

    @property
    def is_compared(self) -> bool:
        """Whether a trial on all train rows has begun."""
        return self.first_rung != 0 or self.halving.reached(self.full_rung)

    @property
    def full_rung(self) -> int:
        """The lowest rung on all train rows of a network, which trains on in the train phase; of others the highest."""
        rows = self.study.space.fidelity.levels.get(ROWS, (1.0,))
        return next((rung for rung, share in enumerate(rows) if share == 1), 0) if self.is_network else self.halving.top

    def _candidates(self, box: float) -> Iterator[Proposal]:
        if not self.prepared:
            if self._may_prepare(box):
                seconds, limit = (box, box) if math.isfinite(box) else (0.0, None)
                yield Proposal({}, "", AS_IT_STANDS, seconds, preparation=True, limit=limit)
            return
        for wish in self.queue.values():
            yield self._proposal(wish.parameters, wish.default, wish.rung, box)
        if self.plain is not None:
            yield from self._of_plain(self.plain, box)
        if not self.sampler.chooses_rungs and self.first_rung == 0:
            yield from self._promoted(box)
        if not self.exhausted and (math.isinf(box) or self.halving.attempts) and self._has_room(box):
            yield self._new(box)

    def _may_prepare(self, box: float) -> bool:
        """Whether the augmentation may learn: once, when there is a result without it to compare with."""
        ready = self.plain is not None and self.plain.best(1) and not self.exhausted and not self.running
        return bool(ready) and self._has_room(box)

    def _has_room(self, box: float) -> bool:
        """Whether the run is long enough to try more of a network than its first look."""
        return not self.is_network or box >= LEAST_FULL_BOX

    def _promoted(self, box: float) -> Iterator[Proposal]:
        """The best configuration on all train rows, then what successive halving promotes."""
        if not self._has_room(box):
            return
        found = self.halving.best()
        if found is not None and not self.is_compared:
            yield self._proposal(*self._tried[found[0]], self.full_rung, box)
        for config, rung in self.halving.promotions():
            if not self.is_network or rung <= self.full_rung:
                yield self._proposal(*self._tried[config], rung, box)

    def _of_plain(self, plain: "StudySearch", box: float) -> Iterator[Proposal]:
        """The best configurations of the study without augmentation, at the fidelity they have there, or are getting.

        So with and without augmentation are compared at equal time.
        """
        mine = {(_of_model(config), rung) for config, rung in self.halving.begun}
        mine |= {(_of_model(wish.config), wish.rung) for wish in self.queue.values()}
        complete = [a for a in plain.halving.attempts if a.accuracy is not None]
        complete.sort(key=lambda a: (-a.rung, -(a.accuracy or 0.0)))
        for config in list(dict.fromkeys(a.config for a in complete))[:TAKEN_OVER]:
            rung = max(rung for other, rung in plain.halving.begun if other == config)
            if (config, rung) not in mine:
                parameters, default = plain._tried[config]
                yield self._proposal(parameters, default or f"{plain.study.name} best", rung, box)

    def _new(self, box: float, phase: str = SEARCH) -> Proposal:
        return Proposal(
            None, "", self.first_rung, self._seconds(None, self.first_rung, box), phase=phase, limit=self._limit(box)
        )

    def _proposal(
        self, parameters: Mapping[str, Any], default: str, rung: int, box: float, phase: str = SEARCH
    ) -> Proposal:
        config = Ask(-1, parameters).config
        box *= MORE ** self.halving.timeouts(config, rung)
        return Proposal(
            parameters, default, rung, self._seconds(config, rung, box), phase=phase, limit=self._limit(box)
        )

    def _limit(self, box: float) -> float | None:
        return box if self.is_network and math.isfinite(box) else None

    def _seconds(self, config: Hashable | None, rung: int, box: float) -> float:
        """Seconds that a trial is likely to take; a network's schedule is compressed to end in its box."""
        seconds = self.halving.seconds(config, rung)
        if not self.halving.attempts and self.plain is not None:
            seconds = self.plain.halving.seconds(None if config is None else _of_model(config), rung)
        return min(seconds, box) if self.is_network else seconds

    def epoch_seconds(self) -> float:
        """Seconds that an epoch of all train rows takes with one place, from the last trial; 0 where none has ended."""
        searched = [record for record in self.records if record.phase != TRAIN and EPOCHS in record.fidelity]
        last = next((record for record in reversed(searched) if record.result.status == "complete"), None)
        if last is None:
            return 0.0
        epochs = last.fidelity.get(ROWS, 1.0) * last.fidelity[EPOCHS] * last.result.schedule_share
        return float(last.result.fit_seconds / epochs)

    def why_not_begun(self, box: float) -> str:
        """Say why no trial was begun."""
        if self.plain is not None and not self._has_room(box):
            return f"needs a budget of about {minutes_for_augmentation()} min"
        return "the time was over before its turn"

    def ask(self, proposal: Proposal) -> Ask | None:
        """Begin a trial; None where no configuration is left that has not been tried."""
        if proposal.preparation:
            ask: Ask | None = Ask(PREPARATION, {}, rung=AS_IT_STANDS)
        elif proposal.parameters is None:
            ask = self.sampler.ask(self.halving, self.first_rung)
        else:
            ask = self.sampler.repeat(proposal.parameters, proposal.default, proposal.rung)
        if ask is None:
            self.exhausted = True
            return None
        if ask.rung != proposal.rung:  # KerasTuner's Hyperband chooses the rung itself
            proposal = replace(proposal, rung=ask.rung, seconds=self.halving.seconds(ask.config, ask.rung))
        self.running[ask.number] = Running(proposal, time.monotonic())
        if not proposal.preparation and proposal.phase != TRAIN:
            self.queue.pop(_key(ask), None)
            self.halving.start(ask.config, ask.rung)
        return ask

    def fidelity(self, ask: Ask) -> dict[str, Any]:
        """What the rung of a trial and the plan set, beside its parameters."""
        levels = {} if ask.rung == AS_IT_STANDS else self.study.space.fidelity.at(ask.rung)
        return levels | dict(self.running[ask.number].proposal.settings if ask.number in self.running else {})

    def phase(self, ask: Ask) -> str:
        """The phase that a trial belongs to; of one that an earlier call left, the search."""
        return self.running[ask.number].proposal.phase if ask.number in self.running else SEARCH

    def should_prune(self, ask: Ask, step: int, score: float) -> bool:
        """Take a score of a trial that is training and say whether to stop it; a default configuration never is."""
        return ask.number != PREPARATION and self.sampler.should_prune(ask, step, score)

    def tell(self, record: TrialRecord) -> None:
        """Take how a trial ended; one that was interrupted is tried again."""
        if record.number != PREPARATION:
            self.sampler.tell(record)
        self._take(record, ("interrupted",))

    def left_running(self) -> list[Ask]:
        """Trials that an earlier call has asked for and not told."""
        return self.sampler.left_running()

    def _take(self, record: TrialRecord, again: Sequence[str]) -> None:
        """Take note of how a trial ended; with a status of `again` it is tried again."""
        if record.number == PREPARATION:
            self._take_preparation(record, ("interrupted",))
            return
        self.running.pop(record.number, None)
        self.records.append(record)
        if record.phase == TRAIN:
            return
        ask = Ask(record.number, record.parameters, record.default, record.rung)
        self._tried[ask.config] = record.parameters, record.default
        if record.result.status in again:
            self.halving.withdraw(ask.config, ask.rung)
            self._enqueue(record.parameters, record.default, record.rung)
            return
        self.queue.pop(_key(ask), None)
        complete = record.result.status == "complete"
        accuracy = record.result.accuracy if complete else None
        self.halving.end(Attempt(ask.config, ask.rung, record.whole_seconds, accuracy, record.fixed_seconds))
        self._note_gain(accuracy or 0.0)
        timeouts = self.halving.timeouts(ask.config, ask.rung)
        if record.result.status == "timeout" and record.default and timeouts < TRIES:
            self._enqueue(record.parameters, record.default, record.rung)  # with what it is now known to need
        if record.result.status == NO_WEIGHTS:  # nor will there be any for the next trial
            self.exhausted = True
            self.queue.clear()

    def _note_gain(self, accuracy: float) -> None:
        self._without_gain = 0 if accuracy > self._best + GAIN else self._without_gain + 1
        self._best = max(self._best, accuracy)

    def _take_preparation(self, record: TrialRecord, again: Sequence[str]) -> None:
        """Begin, or end where the augmentation could not learn; with a status of `again` it goes on from its file."""
        self.running.pop(PREPARATION, None)
        self.preparation_seconds = record.seconds  # those of every time
        self.prepared = record.result.status == PREPARED
        if not self.prepared and record.result.status not in again:
            self.records.append(record)
            self.exhausted = True

    def _enqueue(self, parameters: Mapping[str, Any], default: str, rung: int) -> None:
        wish = Ask(-1, parameters, default, rung)
        self.queue[_key(wish)] = wish


def _key(ask: Ask) -> Hashable:
    """What tells two wishes apart: a default configuration may leave parameters open."""
    return ask.default or ask.config, ask.rung


def _of_model(config: Any) -> frozenset[tuple[str, Any]]:
    """Leave out the parameters of an augmentation."""
    return frozenset(pair for pair in config if not pair[0].startswith("augment"))


def _counts(record: TrialRecord) -> bool:
    """Whether the seconds of a trial are time of the search."""
    return record.result.status != "interrupted" and record.phase != TRAIN
