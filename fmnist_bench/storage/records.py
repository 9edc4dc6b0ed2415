"""The record of a trial: its parameters and its result; checked when read, since files may be damaged."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.intact import fault_of_probabilities, parsed
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial_folder import PROBABILITIES

RECORD = "trial.json"
LOOK, SEARCH, TRAIN = PHASES = ("look", "search", "train")  # of a run; each trial belongs to one


@dataclass(frozen=True)
class TrialRecord:
    """One trial that has ended: its parameters, its result, its time.

    Attributes
    ----------
    default : str
        Name of the default configuration; empty for parameters that Optuna chose.
    seconds : float
        Wall-clock time from its start to its end, start of the worker included.
    ended : float
        Seconds since the run began.
    rung : int
        Its fidelity, from 0.
    fidelity : dict
        What the rung and the plan set: arguments under their full names, or the share of the train ``rows``.
    phase : str
        One of `PHASES`.
    """

    study: str
    number: int
    parameters: dict[str, Any]
    default: str
    result: TrialResult
    seconds: float
    ended: float
    rung: int = 0
    fidelity: dict[str, Any] = field(default_factory=dict)
    phase: str = SEARCH

    @property
    def whole_seconds(self) -> float:
        """Seconds that the trial would have taken with a complete schedule."""
        return self.seconds + self.result.fit_seconds * (1 / self.result.schedule_share - 1)

    @property
    def fixed_seconds(self) -> float:
        """Seconds that do not grow with the rung: to start, to predict the validation rows, to save."""
        return max(self.seconds - self.result.fit_seconds, 0.0)


def best(records: Iterable[TrialRecord], n: int) -> list[TrialRecord]:
    """Give the `n` best complete trials, best first: by accuracy, then by log loss, then the earlier one."""
    complete = [record for record in records if record.result.status == "complete"]
    return sorted(complete, key=lambda r: (-(r.result.accuracy or 0), r.result.log_loss, r.number))[:n]


def read_record(folder: Path) -> TrialRecord | None:
    """Read the record in the folder of a trial; None where there is none that a run wrote."""
    try:
        record = parsed(TrialRecord, json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None
    result = record.result
    complete = result.status != "complete" or None not in (result.accuracy, result.log_loss)
    times = (record.seconds, record.ended, result.fit_seconds, result.predict_seconds, result.fit_cpu_seconds)
    timed = all(0 <= seconds < math.inf for seconds in times)
    placed = (record.study, str(record.number)) == (folder.parent.name, folder.name)
    return record if placed and complete and timed else None


def trial_fault(folder: Path, record: TrialRecord, y: NDArray[np.int64]) -> str:
    """Say what is wrong with what a complete trial left behind; empty where nothing is."""
    if record.result.status != "complete":
        return ""
    return fault_of_probabilities(folder / PROBABILITIES, y, float(record.result.accuracy or 0.0))


def withdrawn(record: TrialRecord, fault: str) -> TrialRecord:
    """Make a record whose files are damaged that of an interrupted trial, whose parameters are asked again."""
    result = replace(record.result, status="interrupted", reason=fault, accuracy=None, log_loss=None)
    return replace(record, result=result)
