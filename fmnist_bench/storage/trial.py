"""A trial, from its proposal to the report; its record on disk is checked when read, since files may be damaged."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.intact import fault_of_probabilities, parsed
from fmnist_bench.storage.results import NOT_BEGUN, STATUSES, TrialResult
from fmnist_bench.storage.trial_folder import PROBABILITIES

RECORD = "trial.json"
LOOK, SEARCH, TRAIN, DISTILL = PHASES = ("look", "search", "train", "distill")  # of a run; each trial belongs to one
UNNUMBERED = -2  # number of a trial that could be begun next
PENDING = TrialResult(NOT_BEGUN)
STORED = {"study", "number", "parameters", "default", "result", "seconds", "ended"}  # of every record
Config = frozenset[tuple[str, Any]]


@dataclass(frozen=True)
class Trial:
    """One configuration at one fidelity: what is proposed, asked, run, stored and reported.

    Attributes
    ----------
    study : str
    number : int
        `UNNUMBERED` until the sampler is asked; `PREPARATION` where the augmentation of a study learns.
    parameters : mapping
    default : str
        Name of the default configuration; empty for parameters that a sampler chose.
    result : TrialResult
        How it ended; its status is `NOT_BEGUN` until then.
    seconds : float
        Wall-clock time from its start to its end, start of the worker included. Until then what it is likely to take,
        0 where nothing is known.
    ended : float
        Seconds since the run began.
    rung : int
        Its fidelity, from 0.
    fidelity : mapping
        What the rung and the plan set: arguments under their full names, or the share of the train ``rows``.
    phase : str
        One of `PHASES`.
    new : bool
        Whether the sampler is still to choose its parameters.
    places : int
        Trials that could run at once where this one runs: it has the cores and the memory of all of them.
    limit : float or None
        Seconds after which the schedule of its network ends, from the beginning of its fit.
    until : float or None
        When a training of the train phase ends, seconds since the run began.
    fine_tune : bool
        Whether its network, once it is scored, is to learn from the validation rows as well.
    started : float
        When it began, by ``time.monotonic()``; it is not stored.
    """

    study: str
    number: int = UNNUMBERED
    parameters: Mapping[str, Any] = field(default_factory=dict)
    default: str = ""
    result: TrialResult = PENDING
    seconds: float = 0.0
    ended: float = 0.0
    rung: int = 0
    fidelity: Mapping[str, Any] = field(default_factory=dict)
    phase: str = SEARCH
    new: bool = False
    places: int = 1
    limit: float | None = None
    until: float | None = None
    fine_tune: bool = False
    started: float = 0.0

    @cached_property
    def config(self) -> Config:
        """The parameters as a key; a list, such as the sizes of layers, as a tuple."""
        return frozenset((name, _hashable(value)) for name, value in self.parameters.items())

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that was set: parameters and fidelity."""
        return {**self.parameters, **self.fidelity}

    @property
    def status(self) -> str:
        """How it ended."""
        return self.result.status

    @property
    def reason(self) -> str:
        """Why it did not complete."""
        return self.result.reason

    @property
    def history(self) -> Mapping[str, list[float]]:
        """Its learning curves."""
        return self.result.history

    @property
    def is_complete(self) -> bool:
        """Whether it has been scored on the validation rows."""
        return self.status == "complete"

    @property
    def accuracy(self) -> float | None:
        """On the validation rows; None where it did not complete."""
        return self.result.accuracy if self.is_complete else None

    @property
    def whole_seconds(self) -> float:
        """Seconds that the trial would have taken with a complete schedule."""
        in_epochs = self.result.fit_seconds - self.result.embed_seconds
        return self.seconds + in_epochs * (1 / self.result.schedule_share - 1)

    @property
    def fixed_seconds(self) -> float:
        """Seconds that do not grow with the rung: to start, to predict the validation rows, to save."""
        return max(self.seconds - self.result.fit_seconds, 0.0)


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, _hashable(value[key])) for key in sorted(value))
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value


def best(records: Iterable[Trial], n: int) -> list[Trial]:
    """Give the `n` best complete trials, best first: by accuracy, then by log loss, then the earlier one."""
    complete = [record for record in records if record.is_complete]
    return sorted(complete, key=lambda r: (-(r.result.accuracy or 0), r.result.log_loss, r.number))[:n]


def read_record(folder: Path) -> Trial | None:
    """Read the record in the folder of a trial; None where there is none that a run wrote."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        record = parsed(Trial, found)
    except (OSError, ValueError, RecursionError):
        return None
    if not found.keys() >= STORED:  # those have values that stand for a trial that has not begun
        return None
    result = record.result
    complete = result.status != "complete" or None not in (result.accuracy, result.log_loss)
    complete = complete and 0 <= result.fine_tuned < math.inf
    took = (result.fit_seconds, result.predict_seconds, result.fit_cpu_seconds, result.embed_seconds)
    timed = all(0 <= seconds < math.inf for seconds in (record.seconds, record.ended, *took))
    placed = (record.study, str(record.number)) == (folder.parent.name, folder.name)
    return record if placed and complete and timed and record.status in STATUSES else None


def trial_fault(folder: Path, record: Trial, y: NDArray[np.int64]) -> str:
    """Say what is wrong with what a complete trial left behind; empty where nothing is."""
    if not record.is_complete:
        return ""
    return fault_of_probabilities(folder / PROBABILITIES, y, float(record.result.accuracy or 0.0))


def withdrawn(record: Trial, fault: str) -> Trial:
    """Make a record whose files are damaged that of an interrupted trial, whose parameters are asked again."""
    result = replace(record.result, status="interrupted", reason=fault, accuracy=None, log_loss=None)
    return replace(record, result=result)
