"""What one study has tried, tries, and is to try again."""

import statistics
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmnist_bench.config.study import Study
from fmnist_bench.search.sampler import Ask
from fmnist_bench.search.successive_halving import AS_IT_STANDS, Attempt, Ladder
from fmnist_bench.storage.records import TrialRecord, best
from fmnist_bench.storage.results import NO_WEIGHTS, PREPARATION, PREPARED

SEED = "model__random_state"
TRIES = 3  # of a default configuration that runs out of time


@dataclass(frozen=True)
class Running:
    """A trial in progress: seconds that it is likely to take, when it began, and whether it has all cores.

    The beginning is by ``time.monotonic()``.
    """

    expected: float
    started: float
    all_cores: bool = False


class StudyHistory:
    """What became of what a study tried.

    Parameters
    ----------
    study : Study
    thorough : bool
        Every trial runs as its study says, without the ladder.
    plain : StudyHistory or None
        Of the same study without its augmentation.
    seed : int
        Of every model, unless it is trained again.
    speedup : float
        How many times faster a network learns with all cores than with those of one worker, 1 or more.

    Attributes
    ----------
    ladder : Ladder
    records : list of TrialRecord
        Of the trials that have ended, in that order.
    running : dict of Running
        By the number of the trial.
    queue : dict of Ask
        Default configurations and interrupted trials, which come before anything else.
    tried : dict
        Parameters of each configuration that has ended, and its name where it is a default.
    has_learnt : bool
        Whether its augmentation, if it has one, is ready.
    learning_seconds : float
        What that took.
    exhausted : bool
        Whether no new configuration will be asked for: there is none, or no weights, or the augmentation cannot learn.
    """

    def __init__(
        self,
        study: Study,
        thorough: bool = False,
        plain: "StudyHistory | None" = None,
        seed: int = 0,
        speedup: float = 1.0,
    ) -> None:
        self.study, self.plain, self.seed, self.speedup = study, plain, seed, speedup
        self.ladder = Ladder(study.space.fidelity.costs, study.space.fidelity.work)
        self.first_rung = AS_IT_STANDS if thorough and study.space.fidelity.levels else 0
        self.records: list[TrialRecord] = []
        self.running: dict[int, Running] = {}
        self.queue: dict[Hashable, Ask] = {}
        self.tried: dict[Hashable, tuple[Mapping[str, Any], str]] = {}
        self.has_learnt = not study.augmented
        self.learning_seconds = 0.0
        self.exhausted = False
        for default in study.space.defaults:
            if not default.alone and plain is None:
                says_all = study.space.fidelity.levels.keys() & default.parameters.keys()
                self._enqueue(default.parameters, default.name, AS_IT_STANDS if says_all else self.first_rung)

    def count(self) -> int:
        """Number of trials that run or have ended and were not interrupted."""
        return self.ladder.count

    def best(self, n: int) -> list[TrialRecord]:
        """The `n` best complete trials, best first."""
        return best(self.records, n)

    @property
    def spent(self) -> float:
        """Seconds that the study's trials have taken, and those that run are likely to take, or have taken already."""
        now = time.monotonic()
        running = sum(max(trial.expected, now - trial.started) for trial in self.running.values())
        ended = [r.seconds for r in self.records if r.number != PREPARATION and r.result.status != "interrupted"]
        return running + self.learning_seconds + sum(ended)

    @property
    def has_result(self) -> bool:
        """Whether any trial has come to an end of its own."""
        return any(record.result.status not in (NO_WEIGHTS, "interrupted") for record in self.records)

    @property
    def began_with_a_default(self) -> bool:
        """Whether it has tried a configuration that is known to be good, of its study or of the study without it."""
        return any(default for _, default in self.tried.values())

    def is_again(self, record: TrialRecord) -> bool:
        """Whether a trial repeats an earlier one with another seed."""
        if SEED not in record.parameters:
            return False
        bare = _unseeded(record.parameters)
        first = next((r for r in self.records if _unseeded(r.parameters) == bare), record)
        return bool(first.parameters.get(SEED) != record.parameters[SEED])

    def originals(self) -> list[TrialRecord]:
        """Trials that are not those of networks which are trained again."""
        return [record for record in self.records if not self.is_again(record)]

    def best_of_highest_rung(self) -> TrialRecord | None:
        """The best original of the highest rung that any has completed."""
        complete = [record for record in self.originals() if record.result.status == "complete"]
        rung = max((record.rung for record in complete), default=0)
        return next(iter(best([record for record in complete if record.rung == rung], 1)), None)

    def is_fresh(self, wish: Ask) -> bool:
        """Whether a configuration that waits was never begun."""
        return wish.config not in self.tried

    def rungs_of(self, config: frozenset[tuple[str, Any]], wishes: Iterable[Ask]) -> tuple[set[int], set[int]]:
        """Rungs on which it has tried, tries or, by `wishes`, will try these parameters, and those where they failed.

        Whatever the parameters of its augmentation are.
        """
        begun = self.ladder.begun | {(wish.config, wish.rung) for wish in wishes}
        same = {(other, rung) for other, rung in begun if _of_model(other) == config}
        failed = {rung for other, rung in same if rung in self.ladder.failed(other)}
        return {rung for _, rung in same} - failed, failed

    def cost(self, config: Hashable | None, rung: int) -> float:
        """Seconds that a trial would take, 0 where nothing is known; None is a new configuration.

        Where the study has not tried it: what it took without augmentation, times what that was seen to cost.
        """
        own, plain = self.ladder.seconds(config, rung), self.plain
        of_model = _of_model(config) if isinstance(config, frozenset) else None
        if plain is None or self.ladder.knows(config) or (own and not plain.ladder.knows(of_model)):
            return own
        return self._times_as_long(plain.ladder) * plain.ladder.seconds(of_model, rung)

    def _times_as_long(self, plain: Ladder) -> float:
        """How many times longer than without augmentation trials took."""
        ended = [(a, _of_model(a.config)) for a in self.ladder.attempts if a.accuracy is not None]
        both = [(a.seconds, plain.seconds(config, a.rung)) for a, config in ended if plain.knows(config)]
        return statistics.median([with_it / without for with_it, without in both if without] or [1.0])

    def begin(self, ask: Ask, expected: float, all_cores: bool = False) -> None:
        """Take note that a trial begins, how many seconds it is likely to take, and whether it has all cores."""
        if ask.number != PREPARATION:
            self.queue.pop(_key(ask), None)
            self.ladder.start(ask.config, ask.rung)
        self.running[ask.number] = Running(expected, time.monotonic(), all_cores)

    def take(self, record: TrialRecord, again: Sequence[str] = ("interrupted",)) -> None:
        """Take note of how a trial ended; with a status of `again` it is tried again."""
        if record.number == PREPARATION:
            self.take_preparation(record, ("interrupted",))
            return
        ask = Ask(record.number, record.parameters, record.default, record.rung)
        self.running.pop(record.number, None)
        self.records.append(record)
        self.tried[ask.config] = record.parameters, record.default
        if record.result.status in again:
            self.ladder.withdraw(ask.config, ask.rung)
            self._enqueue(record.parameters, record.default, record.rung)
        else:
            self.queue.pop(_key(ask), None)
            self._end(ask, record)
            if record.result.status == "timeout" and record.default and self.ladder.cut(ask.config, ask.rung) < TRIES:
                self._enqueue(record.parameters, record.default, record.rung)  # with what it is now known to need
            if record.result.status == NO_WEIGHTS:  # nor will there be any for the next trial
                self.exhausted = True
                self.queue.clear()

    def take_preparation(self, record: TrialRecord, again: Sequence[str]) -> None:
        """Begin, or end where the augmentation could not learn; with a status of `again` it goes on from its file."""
        self.running.pop(PREPARATION, None)
        self.learning_seconds = record.seconds  # those of every time
        self.has_learnt = record.result.status == PREPARED
        if not self.has_learnt and record.result.status not in again:
            self.records.append(record)
            self.exhausted = True

    def _end(self, ask: Ask, record: TrialRecord) -> None:
        complete = record.result.status == "complete"
        accuracy = record.result.accuracy if complete else None
        self.ladder.start(ask.config, ask.rung)
        if not self.is_again(record):  # it does not climb: another one is ahead of it
            self.ladder.end(Attempt(ask.config, ask.rung, record.whole_seconds, accuracy, record.fixed_seconds))

    def _enqueue(self, parameters: Mapping[str, Any], default: str, rung: int) -> None:
        wish = Ask(-1, parameters, default, rung)
        self.queue[_key(wish)] = wish


def _key(ask: Ask) -> Hashable:
    """What tells two wishes apart: a default configuration may leave parameters open."""
    return ask.default or ask.config, ask.rung


def _unseeded(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name != SEED}


def _of_model(config: Any) -> frozenset[tuple[str, Any]]:
    """Leave out the parameters of an augmentation."""
    return frozenset(pair for pair in config if not pair[0].startswith("augment"))
