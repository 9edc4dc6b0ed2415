"""What each family reached in runs of several tasks and seeds: one row a family and run."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fmnist_bench._utils.errors import InputError
from fmnist_bench.report.contestant import Array, learnt_from
from fmnist_bench.report.kept_scores import right_rows
from fmnist_bench.report.run_row import SCORED, RunRow, task_of
from fmnist_bench.storage.run_folder import STATE, TRIALS, read_state
from fmnist_bench.storage.trial import RECORD, best, read_record

ENSEMBLE = "ensemble"


@dataclass(frozen=True, eq=False)
class FamilyRow:
    """What a family, or the ensemble, reached in one run: one task with one seed.

    Attributes
    ----------
    data : str
    rows : int or None
        Train and validation rows.
    seed : int or None
    family : str
        Name of the study, or ``ensemble``.
    accuracy, low, high : float
        On the test rows, with its 95 % interval.
    valid_accuracy : float
    fit_seconds, search_seconds, predict_ms : float
        Of one fit, of all trials, and of a row to predict; NaN where an earlier version has not kept them.
    run : str
    learnt_from : float
        Share of the train rows that its model learnt from, above 1 where validation rows were added in the end; NaN for
        the ensemble, whose members differ.
    right : ndarray of bool, shape (n_test,), or None
        For which test rows it found the label.
    """

    data: str
    rows: int | None
    seed: int | None
    family: str
    accuracy: float
    low: float
    high: float
    valid_accuracy: float = math.nan
    fit_seconds: float = math.nan
    search_seconds: float = math.nan
    predict_ms: float = math.nan
    run: str = ""
    learnt_from: float = math.nan
    right: Array | None = None

    @property
    def task(self) -> str:
        """Name of the task, such as ``fashion-mnist, 6,000 rows``."""
        return task_of(self.data, self.rows)


def read_families(folder: Path, row: RunRow) -> list[FamilyRow]:
    """Read what every family reached in a run, and the ensemble; nothing where it has no test scores."""
    if row.status != SCORED:
        return []
    try:
        state = read_state(folder / STATE)
        kept = state["scores"].get("families") or state.get("test_scores", {})
        return [_family(row, name, of, _learnt_from(folder / TRIALS / name)) for name, of in kept.items()]
    except (InputError, KeyError, TypeError, ValueError, AttributeError):
        return []


def _learnt_from(trials: Path) -> float:
    """Give the share of the train rows that the best trial in a folder of trials was fitted on."""
    records = [record for path in trials.glob(f"*/{RECORD}") if (record := read_record(path.parent))]
    return next((learnt_from(record) for record in best(records, 1)), math.nan)


def _family(row: RunRow, name: str, kept: Mapping[str, Any], learnt_from: float) -> FamilyRow:
    def number(key: str) -> float:
        return float(kept.get(key, math.nan))

    return FamilyRow(
        data=row.data,
        rows=row.rows,
        seed=row.seed,
        family=name,
        accuracy=float(kept["test_accuracy"]),
        low=float(kept["test_low"]),
        high=float(kept["test_high"]),
        valid_accuracy=number("valid_accuracy"),
        fit_seconds=number("fit_seconds"),
        search_seconds=number("search_seconds"),
        predict_ms=number("predict_ms"),
        run=row.run,
        learnt_from=learnt_from,
        right=right_rows(kept["right"], row.test_rows or 0) if "right" in kept else None,
    )


def comparable(rows: Iterable[RunRow]) -> list[RunRow]:
    """Give the largest group of runs that differ in task, seed, moment and revision alone; of equal ones the newest."""
    groups: dict[tuple[Any, ...], dict[tuple[Any, ...], RunRow]] = {}
    for row in sorted(rows, key=lambda row: row.began):
        if row.status == SCORED:
            given = row.benchmark, row.budget, row.trials, row.machine
            groups.setdefault(given, {})[row.data, row.rows, row.seed] = row
    return list(max(groups.values(), key=len, default={}).values())


def write_families(rows: Sequence[FamilyRow]) -> str:
    """Write rows as CSV: a column an attribute of `FamilyRow` but `right`, accuracies from 0 to 1, empty if missing."""
    names = [field.name for field in fields(FamilyRow) if field.name != "right"]
    writer = csv.writer(out := io.StringIO(), lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_written(getattr(row, name)) for name in names] for row in rows)
    return out.getvalue()


def _written(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value


class Families:
    """What families reached in the runs of a suite, by task and seed.

    Parameters
    ----------
    rows : sequence of FamilyRow
        Of runs that may be set beside each other.

    Attributes
    ----------
    tasks : list of str
        By data set, fewest rows first.
    names : list of str
        Of the families, the ensemble among them; best mean accuracy over tasks first.
    runs : list of (str, int)
        Task and seed of every run.
    """

    def __init__(self, rows: Sequence[FamilyRow]) -> None:
        self.rows = tuple(rows)
        ordered = sorted(rows, key=lambda row: (row.data, row.rows or math.inf, row.seed or 0))
        self.tasks = list(dict.fromkeys(row.task for row in ordered))
        self.sizes = {row.task: (row.data, row.rows) for row in ordered}
        self.runs = list(dict.fromkeys((row.task, row.seed or 0) for row in ordered))
        self._by_place = {(row.family, row.task, row.seed or 0): row for row in rows}
        self.names = sorted(dict.fromkeys(row.family for row in rows), key=self.mean_error)

    def at(self, name: str, task: str) -> list[FamilyRow]:
        """Give what a family reached on a task, by seed."""
        return [found for t, seed in self.runs if t == task and (found := self._by_place.get((name, t, seed)))]

    def accuracies(self, name: str, task: str) -> list[float]:
        """Give its test accuracies on a task, by seed."""
        return [row.accuracy for row in self.at(name, task)]

    def error(self, name: str, task: str) -> float:
        """Give its mean share of wrong test rows on a task; 1 for a run without a complete trial of it."""
        errors = [self.run_error(name, t, seed) for t, seed in self.runs if t == task]
        return sum(errors) / len(errors)

    def run_error(self, name: str, task: str, seed: int) -> float:
        """Give its share of wrong test rows in one run; 1 where it has no complete trial."""
        found = self._by_place.get((name, task, seed))
        return 1.0 if found is None else 1.0 - found.accuracy

    def mean_error(self, name: str) -> float:
        """Give its mean error over tasks, each of the same weight."""
        return sum(self.error(name, task) for task in self.tasks) / len(self.tasks)

    def best(self, task: str) -> str | None:
        """Give the family with the highest mean validation accuracy on a task, the ensemble left aside."""
        valid = {}
        for name in self.names:
            if name != ENSEMBLE and (found := self.at(name, task)):
                valid[name] = sum(row.valid_accuracy for row in found) / len(found)
        return max((name for name in valid if not math.isnan(valid[name])), key=lambda name: valid[name], default=None)
