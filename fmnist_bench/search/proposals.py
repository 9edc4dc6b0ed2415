"""What a study would try next: rules over its history, and nothing else."""

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fmnist_bench.search.history import SEED, StudyHistory
from fmnist_bench.search.sampler import Ask
from fmnist_bench.search.successive_halving import AS_IT_STANDS
from fmnist_bench.storage.records import best
from fmnist_bench.storage.results import PREPARATION

TAKEN_OVER = 3  # best configurations of the study without augmentation that the other one tries as well
AGAIN = 2  # other seeds with which a network that can climb no more is trained
GROWTH = 2.0  # times what a network had is what its last training should have at least
COMPRESSED = 0.75  # of the time that a network is likely to need is enough: its schedule ends with its limit


@dataclass(frozen=True)
class Proposal:
    """What a study would try next.

    Attributes
    ----------
    parameters : mapping or None
        None for a new configuration, which the asker chooses.
    default : str
        Name of the default configuration.
    rung : int
    seconds : float
        What it is likely to take, 0 where nothing is known.
    preparation : bool
        An augmentation is to learn.
    waited : bool
        It is the first of the study's default configurations, or was interrupted, or ran out of time.
    slack : float
        Seconds for which it may wait and still have all the time that it would take, below 0 where it has not;
        infinite on the lowest rung, since only what takes long can come too late.
    all_cores : bool
        It is to be the last training: of a network, with all cores, for all of the time that is left.
    """

    parameters: Mapping[str, Any] | None
    default: str
    rung: int
    seconds: float
    preparation: bool = False
    waited: bool = False
    slack: float = math.inf
    all_cores: bool = False


def proposals(history: StudyHistory, left: float, asker_climbs: bool = False) -> Iterator[Proposal]:
    """Give what a study would try next, first what it would rather try; some may take longer than there is time.

    Default configurations first, then the better ones more thoroughly, then new ones. A study with an augmentation
    begins when the study without it has a result, and the augmentation has learnt, once for all trials: instead of
    the default configurations it tries the best ones of the other, as thoroughly as they were tried there, or are
    being tried.

    Parameters
    ----------
    history : StudyHistory
    left : float
        Seconds until the budget ends, infinite without one.
    asker_climbs : bool
        Whether the asker chooses the rungs as well.

    Yields
    ------
    Proposal
    """
    if history.plain is not None and not history.plain.has_result:
        return
    if not history.has_learnt:
        if PREPARATION not in history.running and not history.exhausted:
            yield Proposal({}, "", AS_IT_STANDS, 0.0, preparation=True)
        return
    if history.plain is not None:
        yield from _of_plain(history, history.plain, left)
    for wish in history.queue.values():
        waited = history.count() == 0 or not history.is_fresh(wish)
        yield _repeat(history, wish.parameters, wish.default, wish.rung, left, waited=waited)
    if not asker_climbs and history.first_rung == 0:
        yield from _climbs(history, left)
        yield from _again(history, left)
    if not history.exhausted:
        yield Proposal(None, "", history.first_rung, history.cost(None, history.first_rung))


def _of_plain(history: StudyHistory, plain: StudyHistory, left: float) -> Iterator[Proposal]:
    """The best configurations of the study without augmentation, as thoroughly as they were, or as there is time.

    One that is climbing there climbs here as well, beside it: when it has arrived, the time will be gone.
    """
    seen: set[Hashable] = set()
    wishes = [wish for wish in history.queue.values() if _seconds(history, wish.config, wish.rung, left) <= left]
    for record in best(plain.originals(), len(plain.records)):
        config = Ask(-1, record.parameters).config
        if config in seen or len(seen) == TAKEN_OVER:
            continue
        seen.add(config)
        tried, failed = history.rungs_of(config, wishes)
        top = min(plain.ladder.highest(config, record.rung), min(failed, default=history.ladder.top + 1) - 1)
        lowest = max(tried, default=min(record.rung, 0) - 1) + 1
        if rungs := range(top, lowest - 1, -1):
            rung = next((r for r in rungs if _seconds(history, config, r, left) <= left), rungs[0])
            yield _repeat(history, record.parameters, f"{plain.study.name} {record.number}", rung, left)


def _climbs(history: StudyHistory, left: float) -> Iterator[Proposal]:
    """Configurations that have earned a higher rung; the best one alone suffices where it began on known ground."""
    for config, rung in history.ladder.promotions(1 if history.began_with_a_default or history.exhausted else 0):
        parameters, default = history.tried[config]
        if default and (last := _last(history, config, rung, left)) is not None:
            yield last
        rung = _reach(history, config, rung, left) if default else rung
        yield _repeat(history, parameters, default, rung, left)


def _last(history: StudyHistory, config: Hashable, rung: int, left: float) -> Proposal | None:
    """The last training of a network whose next rung does not fit: with all cores, until the time is over.

    None where it fits, or where even that would not be much more than the network has had.
    """
    if not history.study.space.trains_network or math.isinf(left) or _seconds(history, config, rung, left) <= left:
        return None
    costs = {r: history.ladder.seconds(config, r, history.speedup) for r in range(rung - 1, history.ladder.top + 1)}
    if GROWTH * costs[rung - 1] > left:
        return None
    reached = max((r for r, seconds in costs.items() if COMPRESSED * seconds <= left and r > rung), default=rung)
    parameters, default = history.tried[config]
    return Proposal(parameters, default, reached, min(costs[reached], left), all_cores=True)


def _again(history: StudyHistory, left: float) -> Iterator[Proposal]:
    """The best network once more from other random weights, where it can climb no more.

    That is where its next rung is beyond the time that is left, or where it is climbing. The others go as high as the
    time suffices, which will be gone when it has ended. Networks that differ in their seed alone err differently
    (Lakshminarayanan et al., "Deep Ensembles", 2017), and together are better than what a new configuration is likely
    to give in the same time.
    """
    if not history.study.space.trains_network or math.isinf(left) or (record := history.best_of_highest_rung()) is None:
        return
    config = Ask(-1, record.parameters).config
    rung = _reach(history, config, 0, left)
    if rung > record.rung and not (record.default and history.ladder.is_climbing(config, record.rung)):
        return
    for number in range(1, AGAIN + 1):
        parameters = {**record.parameters, SEED: history.seed + number}
        other = Ask(-1, parameters).config
        if not any(history.ladder.has(other, r) for r in range(rung, history.ladder.top + 1)):
            yield _repeat(history, parameters, f"{record.number} again {number}", rung, left, like=config)


def _repeat(
    history: StudyHistory,
    parameters: Mapping[str, Any],
    default: str,
    rung: int,
    left: float,
    like: Hashable = None,
    waited: bool = False,
) -> Proposal:
    """Propose a configuration that is likely to take what another one does, or what itself does."""
    config = like or Ask(-1, parameters).config
    slack = math.inf if rung == 0 else left - history.cost(config, rung)
    return Proposal(parameters, default, rung, _seconds(history, config, rung, left), waited=waited, slack=slack)


def _seconds(history: StudyHistory, config: Hashable, rung: int, left: float) -> float:
    """Seconds that a trial is likely to take; a network makes do with somewhat less than it would need."""
    seconds = history.cost(config, rung)
    enough = history.study.space.trains_network and COMPRESSED * seconds <= left
    return min(seconds, left) if enough else seconds


def _reach(history: StudyHistory, config: Hashable, rung: int, left: float) -> int:
    """The highest rung, from this one up, to which the time that is left suffices for a network.

    It is below those on which it failed. Each rung has a schedule of its own, and what the rungs between would take,
    the highest lacks in the end.
    """
    if not history.study.space.trains_network or math.isinf(left):
        return rung
    below = min(history.ladder.failed(config), default=history.ladder.top + 1)
    return max((r for r in range(rung, below) if _seconds(history, config, r, left) <= left), default=rung)
