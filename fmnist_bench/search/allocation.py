"""Which study of a search gets the next trial: one rule, and the clock that it goes by."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

RATIO = 0.3  # of a study's part of the time to that of the next better one


@dataclass(frozen=True)
class StudyClaim:
    """What the rule knows of a study.

    Attributes
    ----------
    space : str
        Name of the search space; the studies over one space get equal time.
    promise : float
        Accuracy that its best configuration is likely to have at the highest fidelity, 0 where nothing is known.
    spent : float
        Seconds that its trials have taken, and those that run are likely to take.
    ready : bool
        Whether it has anything to try; the time of one that has not still counts for its space.
    stale : bool
        Whether its last trials gained nothing.
    """

    space: str
    promise: float = 0.0
    spent: float = 0.0
    ready: bool = True
    stale: bool = False


def next_study(claims: Sequence[StudyClaim], ratio: float = RATIO) -> int:
    """Choose the study that gets the next trial; return its place in `claims`.

    The space that promises most gets seven tenths of the time, the next one seven tenths of the rest, and so on:
    successive halving (Jamieson and Talwalkar, 2016) with another ratio, which may take a decision back when the order
    changes. The space goes first that has had least of its part; within it the study that has had less time. Studies
    whose last trials gained nothing wait until there is nothing else to try. `benchmarks/search/sharing-10m.md` holds
    this rule against equal shares.

    Examples
    --------
    >>> forest = StudyClaim("forest", promise=0.88, spent=100)
    >>> next_study([StudyClaim("cnn", promise=0.94, spent=300), forest])
    0
    >>> next_study([StudyClaim("cnn", promise=0.94, spent=900), forest])
    1
    """
    ready = [i for i, claim in enumerate(claims) if claim.ready]
    ready = [i for i in ready if not claims[i].stale] or ready
    best: dict[str, float] = {}
    spent: dict[str, float] = {}
    spaces = {claims[i].space for i in ready}
    for claim in (claim for claim in claims if claim.space in spaces):
        best[claim.space] = max(best.get(claim.space, 0.0), claim.promise)
        spent[claim.space] = spent.get(claim.space, 0.0) + claim.spent
    part = {space: ratio**rank for rank, space in enumerate(sorted(best, key=lambda space: -best[space]))}
    return min(ready, key=lambda i: (spent[claims[i].space] / part[claims[i].space], claims[i].spent))


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
