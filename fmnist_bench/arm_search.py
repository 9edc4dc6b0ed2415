"""The search over one arm: what it would try next, what became of what it tried."""

import math
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmnist_bench.budget import ArmClaim
from fmnist_bench.ladder import AS_IT_STANDS, Attempt, Ladder
from fmnist_bench.search import Ask, Asker, OptunaAsker
from fmnist_bench.store import Run, TrialRecord, best
from fmnist_bench.study import Arm
from fmnist_bench.trial import NO_WEIGHTS, PREPARATION, PREPARED

SEED = "model__random_state"
SHORTEST = 1.0  # seconds; less than this is not worth starting a trial in
TAKEN_OVER = 3  # best configurations of the arm without augmentation that the other one tries as well
AGAIN = 2  # other seeds with which a network that can climb no more is trained
COMPRESSED = 0.75  # of the time that a network is likely to need is enough: its schedule ends with its limit


@dataclass(frozen=True)
class Proposal:
    """What an arm would try next.

    Attributes
    ----------
    parameters : mapping or None
        None for a new configuration, which the asker chooses.
    known : str
        Name of the known configuration.
    rung : int
    seconds : float
        What it is likely to take, 0 where nothing is known.
    preparation : bool
        An augmentation is to learn.
    waited : bool
        It is of the study's own known configurations, or of the trials that were interrupted.
    """

    parameters: Mapping[str, Any] | None
    known: str
    rung: int
    seconds: float
    preparation: bool = False
    waited: bool = False


@dataclass(frozen=True)
class Running:
    """A trial in progress: seconds that it is likely to take, and when it began, by ``time.monotonic()``."""

    expected: float
    started: float


class ArmSearch:
    """Known configurations first, then the better ones more thoroughly, then new ones.

    An arm with an augmentation begins when the other arm of its study has a result, and the augmentation has learnt,
    once for all trials: instead of the known configurations it tries the other arm's best ones, as thoroughly as they
    were.

    Parameters
    ----------
    arm : Arm
    run : Run
    asker : Asker
    thorough : bool
        Run every trial as its study says, without the ladder.
    plain : ArmSearch or None
        Of the same study without its augmentation.
    seed : int
        Of every model, unless it is trained again.
    """

    def __init__(
        self,
        arm: Arm,
        run: Run,
        asker: Asker,
        thorough: bool = False,
        plain: "ArmSearch | None" = None,
        seed: int = 0,
    ) -> None:
        self.arm, self._asker, self._plain, self._seed = arm, asker, plain, seed
        self.ladder = Ladder(arm.study.fidelity.costs)
        self.first_rung = AS_IT_STANDS if thorough and arm.study.fidelity.levels else 0
        self.exhausted = False
        self.records: list[TrialRecord] = []
        self.running: dict[int, Running] = {}
        self._queue: dict[Hashable, Ask] = {}
        self._parameters: dict[Hashable, tuple[Mapping[str, Any], str]] = {}
        self._taken_over: set[str] = set()
        self._learnt = not arm.augmented
        self.learning_seconds = 0.0
        for known in arm.study.known:
            if not known.alone and plain is None:
                says_all = arm.study.fidelity.levels.keys() & known.parameters.keys()
                self._enqueue(known.parameters, known.name, AS_IT_STANDS if says_all else self.first_rung)
        told = asker.told()
        for record in run.records(arm.name):
            if record.number == PREPARATION:
                self._take_preparation(record, ("interrupted", "timeout"))  # there may be more time now
            elif record.number in told:
                self._take(record)

    def propose(self, left: float) -> Proposal | None:
        """Say what would be tried next, of what is likely to end within `left` seconds."""
        if left < SHORTEST:
            return None
        return next((proposal for proposal in self._proposals(left) if proposal.seconds <= left), None)

    def claim(self, proposal: Proposal | None, fair: float, left: float = math.inf) -> ArmClaim:
        """Say what `next_arm` must know; `fair` seconds are an even share of the `left` ones.

        A known configuration that is likely to take longer has to earn its time like any other trial, and so has what
        an augmentation must learn.
        """
        study, promise, spent = self.arm.study.name, self.ladder.promise(), self.spent
        if proposal is None:
            return ArmClaim(study, promise, spent, self.count(), ready=False)
        first = (proposal.waited or self.count() == 0) and not proposal.preparation and proposal.seconds <= fair
        slack = self._slack(proposal, left)
        return ArmClaim(study, promise, spent, self.count(), proposal.seconds, first, slack=slack)

    def ask(self, proposal: Proposal) -> Ask | None:
        """Begin a trial; None where no configuration is left that has not been tried."""
        if proposal.preparation:
            self.running[PREPARATION] = Running(0.0, time.monotonic())
            return Ask(PREPARATION, {}, rung=AS_IT_STANDS)
        if proposal.parameters is None:
            ask = self._asker.ask(self.ladder, self.first_rung)
        else:
            ask = self._asker.repeat(proposal.parameters, proposal.known, proposal.rung)
        if ask is None:
            self.exhausted = True
            return None
        self._queue.pop(_key(ask), None)
        self._taken_over.add(ask.known)
        self.ladder.start(ask.config, ask.rung)
        as_proposed = ask.rung == proposal.rung  # KerasTuner's Hyperband chooses the rung itself
        expected = proposal.seconds if as_proposed else self.ladder.seconds(ask.config, ask.rung)
        self.running[ask.number] = Running(expected, time.monotonic())
        return ask

    def should_prune(self, ask: Ask, step: int, score: float) -> bool:
        """Take a score of a trial that is training and say whether to stop it; known ones are never stopped."""
        return ask.number != PREPARATION and self._asker.should_prune(ask, step, score)

    def tell(self, record: TrialRecord) -> None:
        """Take the answer to a question; an interrupted trial is tried again."""
        if record.number != PREPARATION:
            self._asker.tell(record)
        self._take(record)

    def left_running(self) -> list[Ask]:
        """Trials that an earlier call has asked for and not told."""
        return self._asker.left_running()

    def fidelity(self, ask: Ask) -> dict[str, Any]:
        """What the rung of a trial sets, beside its parameters."""
        return {} if ask.rung == AS_IT_STANDS else self.arm.study.fidelity.at(ask.rung)

    def best(self, n: int) -> list[TrialRecord]:
        """The `n` best complete trials, best first."""
        return best(self.records, n)

    def count(self) -> int:
        """Number of trials that run or have ended and were not interrupted."""
        return self.ladder.count

    @property
    def spent(self) -> float:
        """Seconds that the arm's trials have taken, and those that run are likely to take, or have taken already."""
        now = time.monotonic()
        running = sum(max(trial.expected, now - trial.started) for trial in self.running.values())
        ended = [r.seconds for r in self.records if r.number != PREPARATION and r.result.status != "interrupted"]
        return running + self.learning_seconds + sum(ended)

    @property
    def has_result(self) -> bool:
        """Whether any trial has come to an end of its own."""
        return any(record.result.status not in (NO_WEIGHTS, "interrupted") for record in self.records)

    def is_again(self, record: TrialRecord) -> bool:
        """Whether a trial is that of a network which is trained again with another seed."""
        seed = record.parameters.get(SEED)
        return isinstance(seed, int) and record.known.endswith(f" again {seed - self._seed}")

    def _proposals(self, left: float) -> Iterator[Proposal]:
        if self._plain is not None and not self._plain.has_result:
            return
        if not self._learnt:
            if PREPARATION not in self.running and not self.exhausted:
                yield Proposal({}, "", AS_IT_STANDS, 0.0, preparation=True)
            return
        if self._plain is not None:
            yield from self._of_plain(self._plain, left)
        for wish in self._queue.values():
            seconds = self._seconds(wish.config, wish.rung, left)
            yield Proposal(wish.parameters, wish.known, wish.rung, seconds, waited=True)
        if not self._asker.climbs and self.first_rung == 0:
            for config, rung in self.ladder.promotions(1 if self._is_on_known_ground or self.exhausted else 0):
                parameters, known = self._parameters[config]
                rung = self._reach(config, rung, left) if known else rung
                yield Proposal(parameters, known, rung, self._seconds(config, rung, left))
            yield from self._again(left)
        if not self.exhausted:
            yield Proposal(None, "", self.first_rung, self._cost(None, self.first_rung))

    @property
    def _is_on_known_ground(self) -> bool:
        """Whether it has tried a configuration that is known to be good, of its study or of the arm without it."""
        return any(known for _, known in self._parameters.values())

    def _of_plain(self, plain: "ArmSearch", left: float) -> Iterator[Proposal]:
        """The best configurations of the arm without augmentation, as thoroughly as they were, or as there is time.

        One that is climbing there climbs here as well, beside it: when it has arrived, the time will be gone.
        """
        for record in best([r for r in plain.records if not plain.is_again(r)], TAKEN_OVER):
            known, config = f"{plain.arm.name} {record.number}", Ask(-1, record.parameters).config
            top = plain.ladder.highest(config, record.rung)
            rungs = range(top, max(self._reached(config), min(record.rung, 0) - 1), -1)
            if rungs and known not in self._taken_over:
                rung = next((r for r in rungs if self._seconds(config, r, left) <= left), top)
                yield Proposal(record.parameters, known, rung, self._seconds(config, rung, left))

    def _reached(self, config: frozenset[tuple[str, Any]]) -> int:
        """The highest rung on which it has tried this, with any parameters of the augmentation."""
        return max((rung for other, rung in self.ladder.begun if config <= other), default=AS_IT_STANDS - 1)

    def _again(self, left: float) -> Iterator[Proposal]:
        """The best network once more from other random weights, where it can climb no more.

        That is where its next rung is beyond the time that is left, or where it is climbing. The others go as high as
        the time suffices, which will be gone when it has ended. Networks that differ in their seed alone err
        differently (Lakshminarayanan et al., "Deep Ensembles", 2017), and together are better than what a new
        configuration is likely to give in the same time.
        """
        if not self.arm.study.trains_network or math.isinf(left) or (record := self._highest()) is None:
            return
        config = Ask(-1, record.parameters).config
        rung = self._reach(config, 0, left)
        if rung > record.rung and not (record.known and self.ladder.is_climbing(config, record.rung)):
            return
        for number in range(1, AGAIN + 1):
            parameters = {**record.parameters, SEED: self._seed + number}
            other = Ask(-1, parameters).config
            if not any(self.ladder.has(other, r) for r in range(rung, self.ladder.top + 1)):
                name = f"{record.number} again {number}"
                yield Proposal(parameters, name, rung, self._seconds(config, rung, left))

    def _cost(self, config: Hashable | None, rung: int) -> float:
        """Seconds that a trial would take; of an augmented arm that has none yet, those without augmentation."""
        return self.ladder.seconds(config, rung) or (self._plain.ladder.seconds(config, rung) if self._plain else 0.0)

    def _seconds(self, config: Hashable, rung: int, left: float) -> float:
        """Seconds that a trial is likely to take; a network makes do with somewhat less than it would need."""
        seconds = self._cost(config, rung)
        enough = self.arm.study.trains_network and COMPRESSED * seconds <= left
        return min(seconds, left) if enough else seconds

    def _slack(self, proposal: Proposal, left: float) -> float:
        """Seconds for which a trial above the lowest rung may wait and still have the time that it needs."""
        if proposal.parameters is None or proposal.rung <= 0:
            return math.inf
        seconds = self._cost(Ask(-1, proposal.parameters).config, proposal.rung)
        return left - seconds * (COMPRESSED if self.arm.study.trains_network else 1.0)

    def _reach(self, config: Hashable, rung: int, left: float) -> int:
        """The highest rung, from this one up, to which the time that is left suffices for a network.

        It is below those on which it failed. Each rung has a schedule of its own, and what the rungs between would
        take, the highest lacks in the end.
        """
        if not self.arm.study.trains_network or math.isinf(left):
            return rung
        below = min(self.ladder.failed(config), default=self.ladder.top + 1)
        return max((r for r in range(rung, below) if self._seconds(config, r, left) <= left), default=rung)

    def _highest(self) -> TrialRecord | None:
        """The best trial of the highest rung that any has completed, of those that are not trained again."""
        complete = [r for r in self.records if r.result.status == "complete" and not self.is_again(r)]
        rung = max((record.rung for record in complete), default=0)
        return next(iter(best([record for record in complete if record.rung == rung], 1)), None)

    def _take(self, record: TrialRecord) -> None:
        if record.number == PREPARATION:
            self._take_preparation(record, ("interrupted",))
            return
        ask = Ask(record.number, record.parameters, record.known, record.rung)
        self.running.pop(record.number, None)
        self.records.append(record)
        self._parameters[ask.config] = record.parameters, record.known
        self._taken_over.add(record.known)
        if record.result.status == "interrupted":
            self.ladder.withdraw(ask.config, ask.rung)
            self._enqueue(record.parameters, record.known, record.rung)
        else:
            self._queue.pop(_key(ask), None)
            complete = record.result.status == "complete"
            accuracy = record.result.accuracy if complete else None
            self.ladder.start(ask.config, ask.rung)
            if not self.is_again(record):  # it does not climb: another one is ahead of it
                self.ladder.end(Attempt(ask.config, ask.rung, record.whole_seconds, accuracy))
        if record.result.status == NO_WEIGHTS:  # nor will there be any for the next trial
            self.exhausted = True
            self._queue.clear()

    def _take_preparation(self, record: TrialRecord, again: Sequence[str]) -> None:
        """Begin, or end where the augmentation could not learn; with a status of `again` it goes on from its file."""
        self.running.pop(PREPARATION, None)
        self.learning_seconds = record.seconds  # those of every time
        self._learnt = record.result.status == PREPARED
        if not self._learnt and record.result.status not in again:
            self.records.append(record)
            self.exhausted = True

    def _enqueue(self, parameters: Mapping[str, Any], known: str, rung: int) -> None:
        wish = Ask(-1, parameters, known, rung)
        self._queue[_key(wish)] = wish


def _key(ask: Ask) -> Hashable:
    """What tells two wishes apart: a known configuration may leave parameters open."""
    return ask.known or ask.config, ask.rung


def make_arm_search(arm: Arm, run: Run, seed: int, thorough: bool, plain: ArmSearch | None = None) -> ArmSearch:
    """Open the search over an arm with the asker that its study names."""
    if arm.study.engine.name == "keras-tuner":
        from fmnist_bench.search_kt import OracleAsker

        return ArmSearch(arm, run, OracleAsker(arm, run, seed), thorough, plain, seed)
    return ArmSearch(arm, run, OptunaAsker(arm, run, seed, arm.study.engine.oracle), thorough, plain, seed)


def make_arm_searches(arms: Sequence[Arm], run: Run, seed: int, thorough: bool) -> list[ArmSearch]:
    """Open the search over every arm; the plain arm of a study stands before the augmented one."""
    searches: dict[str, ArmSearch] = {}
    for arm in arms:
        plain = searches.get(arm.study.name) if arm.augmented else None
        searches[arm.name] = make_arm_search(arm, run, seed, thorough, plain)
    return list(searches.values())
