"""Successive halving over the configurations of one study: what was tried at which fidelity, and what it cost."""

import statistics
from collections.abc import Hashable, Sequence
from typing import Any

from fmnist_bench.storage.trial import Trial

REDUCTION_FACTOR = 3  # of so many configurations on a rung one is promoted to the next
GAIN = 0.15  # errors fall with this power of the work that goes into a trial
MORE = 2.0  # times what it had is what a trial that ran out of time needs at least
AS_IT_STANDS = -1  # rung of a trial that runs at the fidelity its own parameters set; it costs about what the top costs


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
        self.trials: list[Trial] = []  # that have ended
        self.begun: set[tuple[Any, int]] = set()  # configurations, and rungs on which they are or were tried

    @property
    def complete(self) -> list[Trial]:
        """Trials that were scored on the validation rows, in the order in which they ended."""
        return [trial for trial in self.trials if trial.is_complete]

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

    def end(self, trial: Trial) -> None:
        """Take note of how a trial did."""
        self.begun.add((trial.config, trial.rung))
        self.trials.append(trial)

    def has(self, config: Hashable, rung: int) -> bool:
        """Whether this was tried or is being tried."""
        return (config, rung) in self.begun

    def reached(self, rung: int) -> bool:
        """Whether any configuration was tried, or is being tried, on this rung or above, or as it stands."""
        return any(other >= rung or other == AS_IT_STANDS for _, other in self.begun)

    def timeouts(self, config: Hashable, rung: int) -> int:
        """How often a configuration was tried there and did not complete."""
        return sum(not t.is_complete for t in self.trials if (t.config, t.rung) == (config, rung))

    def best(self) -> Trial | None:
        """The best trial on the highest rung that any has completed."""
        return max(self.complete, key=lambda trial: (trial.rung, trial.accuracy or 0.0), default=None)

    def promotions(self) -> list[Trial]:
        """Trials whose configurations have earned the next rung, from the highest rung down."""
        found = []
        for rung in reversed(range(self.top)):
            complete = [trial for trial in self.complete if trial.rung == rung]
            complete.sort(key=lambda trial: -(trial.accuracy or 0.0))
            best = complete[: len(complete) // REDUCTION_FACTOR]
            found += [trial for trial in best if not self._was_above(trial.config, rung)]
        return found

    def promise(self) -> float:
        """Accuracy that the best configuration is likely to have on the top rung; 0 where none has completed.

        Errors fall with a power of what a model learns from (Hestness et al., "Deep Learning Scaling is Predictable,
        Empirically", 2017). A network that its limit left a part of its schedule has learnt from as much less.
        """
        errors = [(1 - (t.accuracy or 0.0)) * self._work_done(t) ** GAIN for t in self.complete]
        return 1 - min(errors, default=1.0)

    def _work_done(self, trial: Trial) -> float:
        """What a trial has learnt from, relative to the top rung."""
        of_rung = self.work[trial.rung if trial.rung >= 0 else self.top]
        return of_rung * trial.result.schedule_share / self.work[self.top]

    def seconds(self, config: Hashable | None, rung: int) -> float:
        """Seconds that a trial is likely to take, 0 where nothing is known; `config` None is a new configuration."""
        factors = {low: self._factor(low, rung) for low in {trial.rung for trial in self.trials}}
        scaled = [(trial, trial.fixed_seconds + _variable(trial) * factors[trial.rung]) for trial in self.trials]
        own = [seconds for trial, seconds in scaled if trial.config == config and trial.is_complete]
        if own:
            return own[-1]
        ended = [seconds for trial, seconds in scaled if trial.is_complete]
        cut = [MORE * seconds for t, seconds in scaled if not t.is_complete and (not ended or t.config == config)]
        return max([*cut, statistics.median(ended or [0.0])])

    def _was_above(self, config: Hashable, rung: int) -> bool:
        return any(self.has(config, above) for above in range(rung + 1, self.top + 1))

    def _factor(self, low: int, high: int) -> float:
        """How many times longer a trial takes on the rung `high` than on the rung `low`."""
        if low == high:
            return 1.0
        by_rung = {rung: {t.config: _variable(t) for t in self.complete if t.rung == rung} for rung in (low, high)}
        both = by_rung[low].keys() & by_rung[high].keys()
        ratios = [by_rung[high][c] / by_rung[low][c] for c in both if by_rung[low][c] > 0]
        return statistics.median(ratios) if ratios else self.costs[high] / self.costs[low]


def _variable(trial: Trial) -> float:
    """Seconds of a trial that grow with its rung."""
    return trial.whole_seconds - trial.fixed_seconds
