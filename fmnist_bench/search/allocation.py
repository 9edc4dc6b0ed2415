"""Who gets the next minutes: one rule over studies, and the clock that it goes by."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RATIO = 0.3  # of a study's part of the time to that of the next better one
LATE_FACTOR = 2.0  # a trial may take so many times longer than expected before it is too late for another one


@dataclass(frozen=True)
class StudyClaim:
    """What the rule knows of a study.

    Attributes
    ----------
    space : str
        Name of the search space; the studies over one space get equal time.
    promise : float
        Accuracy that its best configuration is likely to have at the top of its ladder, 0 where nothing is known.
    spent : float
        Seconds that its trials have taken, and those that run are likely to take.
    count : int
        Trials that it has begun.
    seconds : float
        Seconds that its next trial is likely to take, 0 where nothing is known.
    untried : bool
        Whether the next trial is of a default configuration that has not been tried, and is likely to take no more than
        an even share of the time that is left.
    ready : bool
        Whether it has anything to try; the time of one that has not still counts for its study.
    slack : float
        Seconds for which the next trial may wait, infinite where that is of no account.
    quick : bool
        Whether its first trial is likely to be short.
    """

    space: str
    promise: float = 0.0
    spent: float = 0.0
    count: int = 0
    seconds: float = 0.0
    untried: bool = False
    ready: bool = True
    slack: float = math.inf
    quick: bool = True


def next_study(claims: Sequence[StudyClaim], ratio: float = RATIO, quick: bool = True) -> int:
    """Choose the study that gets the next trial; return its place in `claims`.

    First looks come first: the first default configuration of each study, the `quick` ones or the networks before the
    others, and what has no result yet before what has one. Then the study that promises most gets seven tenths of the
    time, the next one seven tenths of the rest, and so on: successive halving (Jamieson and Talwalkar, 2016) with
    another ratio, which may take a decision back when the order changes. The study goes first that has had least of its
    part; within it the study goes first that has had less time. `benchmarks/search/replay.md` holds this rule against
    others. A long trial begins early or never: where the next one of the study that promises most would have too little
    time after another study's, it goes first, as in Graham's rule of the longest first (1969).

    Examples
    --------
    >>> forest = StudyClaim("forest", promise=0.88, spent=100, count=3)
    >>> next_study([StudyClaim("cnn", promise=0.94, spent=300, count=3), forest])
    0
    >>> next_study([StudyClaim("cnn", promise=0.94, spent=900, count=9), forest])
    1
    """
    ready = [i for i, claim in enumerate(claims) if claim.ready]
    untried = [i for i in ready if claims[i].untried]
    if untried:
        return min(untried, key=lambda i: _turn(claims[i], quick))
    best: dict[str, float] = {}
    spent: dict[str, float] = {}
    spaces = {claims[i].space for i in ready}
    for claim in (claim for claim in claims if claim.space in spaces):
        best[claim.space] = max(best.get(claim.space, 0.0), claim.promise)
        spent[claim.space] = spent.get(claim.space, 0.0) + claim.spent
    part = {space: ratio**rank for rank, space in enumerate(sorted(best, key=lambda space: -best[space]))}
    chosen = min(ready, key=lambda i: (spent[claims[i].space] / part[claims[i].space], claims[i].spent))
    of_best = min((i for i in ready if part[claims[i].space] == 1), key=lambda i: claims[i].spent)
    return of_best if claims[of_best].slack < LATE_FACTOR * claims[chosen].seconds else chosen


def _turn(claim: StudyClaim, quick: bool) -> tuple[Any, ...]:
    """Order of default configurations: those of studies without a result, which may have run out of time, are first."""
    return claim.promise > 0, claim.count, claim.quick != quick, claim.seconds


class Clock:
    """One wall-clock budget over everything, from the first byte of data to the finished report.

    Parameters
    ----------
    budget : float or None
        Seconds; None for a run that counts trials instead.
    spent : float
        Seconds that earlier calls of the same run have used.
    """

    def __init__(self, budget: float | None, spent: float = 0.0, started: float | None = None) -> None:
        self.budget = budget
        self._started = (time.monotonic() if started is None else started) - spent

    @property
    def elapsed(self) -> float:
        """Seconds used so far, those of earlier calls included."""
        return time.monotonic() - self._started

    def left(self, reserve: float = 0.0) -> float | None:
        """Seconds until the budget ends, less what is kept aside for the end; None without a budget."""
        return None if self.budget is None else max(self.budget - self.elapsed - reserve, 0.0)
