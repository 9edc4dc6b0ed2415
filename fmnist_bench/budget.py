"""Who gets the next minutes: one rule over arms, and the clock that it goes by."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

SHORTEST = 1.0  # seconds; less than this is not worth starting a trial in


@dataclass(frozen=True)
class ArmClaim:
    """What the rule knows of an arm.

    Attributes
    ----------
    share : float
        Part of the whole search time that is the arm's.
    spent : float
        Seconds that its trials have taken.
    typical : float
        Seconds that its next trial is likely to take; 0 if nothing is known, infinite if there is nothing to try.
    """

    share: float
    spent: float = 0.0
    typical: float = 0.0

    def fits(self, seconds: float) -> bool:
        """Whether one more trial is likely to end within `seconds`."""
        return seconds >= SHORTEST and seconds >= self.typical and not math.isinf(self.typical)


def next_arm(claims: Sequence[ArmClaim], left: float) -> tuple[int, float] | None:
    """Choose the arm that gets the next trial, and the trial's limit in seconds.

    Among the arms whose own time suffices for one more trial the one goes first that has used the least of its
    share; it may use all that is left of its own. When no arm can do anything with its own time, what is left of
    the whole goes to the arms that can use it, in the same order.

    Parameters
    ----------
    claims : sequence of ArmClaim
    left : float
        Seconds until the search has to end.

    Returns
    -------
    (index, limit) or None
        None where no arm is likely to end a trial in time.
    """
    total = left + sum(claim.spent for claim in claims)
    own = [min(claim.share * total - claim.spent, left) for claim in claims]
    for limits in (own, [left] * len(claims)):
        able = [i for i, claim in enumerate(claims) if claim.fits(limits[i])]
        if able:
            chosen = min(able, key=lambda i: claims[i].spent / claims[i].share)
            return chosen, limits[chosen]
    return None


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
