"""What every sampler of trials offers: ask for the next, tell how it went."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fmnist_bench.search.successive_halving import SuccessiveHalving
from fmnist_bench.storage.records import TrialRecord
from fmnist_bench.storage.results import PREPARATION


@dataclass(frozen=True)
class Ask:
    """One question: the number of the trial, its parameters, the name of a default configuration, the rung."""

    number: int
    parameters: Mapping[str, Any]
    default: str = ""
    rung: int = 0

    @property
    def config(self) -> frozenset[tuple[str, Any]]:
        """The parameters as a key; a list, such as the sizes of layers, as a tuple."""
        return frozenset((name, _hashable(value)) for name, value in self.parameters.items())

    def is_of(self, record: TrialRecord) -> bool:
        """Whether a record tells how just this went."""
        other = Ask(record.number, record.parameters, record.default, record.rung)
        mine = self.number, self.config, self.default, self.rung
        return mine == (other.number, other.config, other.default, other.rung)


def agree(asks: Iterable[Ask], records: Iterable[TrialRecord]) -> bool:
    """Whether a sampler remembers every trial that has ended, with the parameters that its record tells."""
    by_number = {ask.number: ask for ask in asks}
    told = [record for record in records if record.number != PREPARATION]
    return all(record.number in by_number and by_number[record.number].is_of(record) for record in told)


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, _hashable(value[key])) for key in sorted(value))
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value


class Sampler(ABC):
    """Chooses parameters of a study's trials, and remembers from call to call what it has asked."""

    chooses_rungs = False  # instead of successive halving

    @abstractmethod
    def ask(self, halving: SuccessiveHalving, rung: int) -> Ask | None:
        """Ask for a configuration that was not tried on this rung; None where there is none left."""

    @abstractmethod
    def repeat(self, parameters: Mapping[str, Any], default: str, rung: int) -> Ask:
        """Ask for just this configuration."""

    @abstractmethod
    def should_prune(self, ask: Ask, step: int, score: float) -> bool:
        """Take a score of a trial that is training and say whether to stop it."""

    @abstractmethod
    def tell(self, record: TrialRecord) -> None:
        """Take the answer to a question."""

    @abstractmethod
    def told(self) -> set[int]:
        """Numbers of the trials whose answer is known."""

    @abstractmethod
    def left_running(self) -> list[Ask]:
        """Give up questions of an earlier call that no trial came of; give those whose trial has no record."""
