"""Successive halving over the configurations of one study: what was tried at which fidelity, and what it cost."""

import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

REDUCTION_FACTOR = 3  # of so many configurations on a rung one is promoted to the next
GAIN = 0.15  # errors fall with this power of the work that goes into a trial
MORE = 2.0  # times what it had is what a trial that ran out of time needs at least
AS_IT_STANDS = -1  # rung of a trial that runs at the fidelity its own parameters set; it costs about what the top costs


@dataclass(frozen=True)
class Attempt:
    """One trial that has ended, as successive halving sees it.

    Attributes
    ----------
    config : hashable
        What was tried; the same on every rung.
    rung : int
        Its fidelity, from 0.
    seconds : float
        What it took, or would have taken had its limit not compressed its schedule.
    accuracy : float or None
        On the validation rows; None where it did not complete.
    fixed : float
        Seconds of these that are the same on every rung: to start a process, to predict the validation rows, to save.
    """

    config: Hashable
    rung: int
    seconds: float
    accuracy: float | None
    fixed: float = 0.0


class SuccessiveHalving:
    """Asynchronous successive halving: the best third of a rung is promoted, without waiting for the others.

    Parameters
    ----------
    costs : sequence of float
        Guess of what each rung costs, in any unit; what was measured replaces it.
    work : sequence of float or None
        What each rung learns from: rows times epochs, in any unit; None takes the costs.

    References
    ----------
    Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020).
    """

    def __init__(self, costs: Sequence[float] = (1.0,), work: Sequence[float] | None = None) -> None:
        self.costs, self.work = tuple(costs), tuple(costs if work is None else work)
        self.attempts: list[Attempt] = []
        self.begun: set[tuple[Any, int]] = set()  # configurations, and rungs on which they are or were tried

    @property
    def count(self) -> int:
        """Number of trials that were begun and not interrupted."""
        return len(self.begun)

    @property
    def top(self) -> int:
        """Number of the last rung."""
        return len(self.costs) - 1

    def start(self, config: Hashable, rung: int) -> None:
        """Take note that a configuration is being tried."""
        self.begun.add((config, rung))

    def withdraw(self, config: Hashable, rung: int) -> None:
        """Forget a trial that was interrupted."""
        self.begun.discard((config, rung))

    def end(self, attempt: Attempt) -> None:
        """Take note of how a trial did."""
        self.begun.add((attempt.config, attempt.rung))
        self.attempts.append(attempt)

    def has(self, config: Hashable, rung: int) -> bool:
        """Whether this was tried or is being tried."""
        return (config, rung) in self.begun

    def reached(self, rung: int) -> bool:
        """Whether any configuration was tried, or is being tried, on this rung or above, or as it stands."""
        return any(other >= rung or other == AS_IT_STANDS for _, other in self.begun)

    def timeouts(self, config: Hashable, rung: int) -> int:
        """How often a configuration was tried there and did not complete."""
        return sum(a.accuracy is None for a in self.attempts if (a.config, a.rung) == (config, rung))

    def best(self) -> tuple[Hashable, int] | None:
        """The best configuration of the highest rung that any has completed, and that rung."""
        complete = [a for a in self.attempts if a.accuracy is not None]
        found = max(complete, key=lambda a: (a.rung, a.accuracy), default=None)
        return None if found is None else (found.config, found.rung)

    def promotions(self) -> list[tuple[Hashable, int]]:
        """Configurations that have earned the next rung, each with that rung; from the highest rung down."""
        found = []
        for rung in reversed(range(self.top)):
            complete = [a for a in self.attempts if a.rung == rung and a.accuracy is not None]
            complete.sort(key=lambda a: -(a.accuracy or 0.0))
            best = complete[: len(complete) // REDUCTION_FACTOR]
            found += [(a.config, rung + 1) for a in best if not self._was_above(a.config, rung)]
        return found

    def promise(self) -> float:
        """Accuracy that the best configuration is likely to have on the top rung; 0 where none has completed.

        Errors fall with a power of what a model learns from (Hestness et al., "Deep Learning Scaling is Predictable,
        Empirically", 2017).
        """
        errors = [
            (1 - a.accuracy) * (self.work[a.rung if a.rung >= 0 else self.top] / self.work[self.top]) ** GAIN
            for a in self.attempts
            if a.accuracy is not None
        ]
        return 1 - min(errors, default=1.0)

    def seconds(self, config: Hashable | None, rung: int) -> float:
        """Seconds that a trial is likely to take, 0 where nothing is known; `config` None is a new configuration."""
        factors = {low: self._factor(low, rung) for low in {a.rung for a in self.attempts}}
        scaled = [(a, a.fixed + (a.seconds - a.fixed) * factors[a.rung]) for a in self.attempts]
        own = [seconds for a, seconds in scaled if a.config == config and a.accuracy is not None]
        if own:
            return own[-1]
        ended = [seconds for a, seconds in scaled if a.accuracy is not None]
        cut = [MORE * seconds for a, seconds in scaled if a.accuracy is None and (not ended or a.config == config)]
        return max([*cut, statistics.median(ended or [0.0])])

    def _was_above(self, config: Hashable, rung: int) -> bool:
        return any(self.has(config, above) for above in range(rung + 1, self.top + 1))

    def _factor(self, low: int, high: int) -> float:
        """How many times longer a trial takes on the rung `high` than on the rung `low`."""
        if low == high:
            return 1.0
        ended = [a for a in self.attempts if a.accuracy is not None]
        by_rung = {rung: {a.config: a.seconds - a.fixed for a in ended if a.rung == rung} for rung in (low, high)}
        both = by_rung[low].keys() & by_rung[high].keys()
        ratios = [by_rung[high][c] / by_rung[low][c] for c in both if by_rung[low][c] > 0]
        return statistics.median(ratios) if ratios else self.costs[high] / self.costs[low]
