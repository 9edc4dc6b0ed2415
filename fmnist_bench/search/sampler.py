"""What every sampler of trials offers: ask for the next, tell how it went."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from fmnist_bench.search.successive_halving import SuccessiveHalving
from fmnist_bench.storage.results import PREPARATION
from fmnist_bench.storage.trial import Trial


def agree(asked: Iterable[Trial], records: Iterable[Trial]) -> bool:
    """Whether a sampler remembers every trial that has ended, with the parameters that its record tells."""
    by_number = {trial.number: _question(trial) for trial in asked}
    told = [record for record in records if record.number != PREPARATION]
    return all(by_number.get(record.number) == _question(record) for record in told)


def _question(trial: Trial) -> tuple[frozenset[object], str, int]:
    return trial.config, trial.default, trial.rung


class Sampler(ABC):
    """Chooses parameters of a study's trials, and remembers from call to call what it has asked."""

    chooses_rungs = False  # instead of successive halving

    @abstractmethod
    def ask(self, halving: SuccessiveHalving, rung: int) -> Trial | None:
        """Ask for a configuration that was not tried on this rung; None where there is none left."""

    @abstractmethod
    def repeat(self, trial: Trial) -> Trial:
        """Ask for just this configuration, and what it leaves open."""

    @abstractmethod
    def should_prune(self, trial: Trial, step: int, score: float) -> bool:
        """Take a score of a trial that is training and say whether to stop it."""

    @abstractmethod
    def tell(self, record: Trial) -> None:
        """Take the answer to a question."""

    @abstractmethod
    def told(self) -> set[int]:
        """Numbers of the trials whose answer is known."""

    @abstractmethod
    def left_running(self) -> list[Trial]:
        """Give up questions of an earlier call that no trial came of; give those whose trial has no record."""
