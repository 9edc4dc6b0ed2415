"""Runs beside each other: their leaderboard, the spread over seeds, and pairs on the same test rows."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from fmnist_bench.report.contestant import Array
from fmnist_bench.report.families import FamilyRow, comparable, read_families
from fmnist_bench.report.metrics import McNemarResult, mcnemar
from fmnist_bench.report.run_row import SCORED, RunRow, read_right, read_rows, read_run, task_of
from fmnist_bench.report.tables import Cell, Table, difference, interval, number, percent, text
from fmnist_bench.storage.find_runs import find_runs

TABLES = ".csv"  # ending of a file of rows that were read earlier


class Spread(NamedTuple):
    """Several values: their median, the lowest, the highest, and the standard deviation of a sample."""

    median: float
    low: float
    high: float
    deviation: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs beside each other.

    Attributes
    ----------
    rows : tuple of RunRow
        By data set, best test accuracy first; runs without scores last.
    pairs : tuple of (RunRow, RunRow, McNemarResult)
        The first run that kept what is needed, and every other one on the same test rows: the difference is the
        other one's accuracy minus the first one's.
    families : tuple of FamilyRow
        What each family reached, in those runs that differ in task and seed alone: the largest group of such.
    """

    rows: tuple[RunRow, ...]
    pairs: tuple[tuple[RunRow, RunRow, McNemarResult], ...] = ()
    families: tuple[FamilyRow, ...] = ()

    @property
    def groups(self) -> list[list[RunRow]]:
        """Scored runs that differ in nothing but their seed and moment, of at least two seeds."""
        found: dict[tuple[Any, ...], list[RunRow]] = {}
        for row in self.rows:
            if row.status == SCORED:
                found.setdefault(_given(row), []).append(row)
        return [rows for rows in found.values() if len({row.seed for row in rows} - {None}) > 1]


def compare_runs(names: Sequence[str | Path] = (), mlruns: str | Path = "mlruns") -> Comparison:
    """Read runs, change nothing in them, open no test rows, and set them beside each other.

    Parameters
    ----------
    names : sequence of str or Path
        As `find_runs` takes them; or CSV files that `write_rows` wrote of earlier runs.
    mlruns : str or Path

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        Where a name is of nothing that holds a run, or there is no run at all.
    """
    tables = [Path(name) for name in names if Path(name).suffix == TABLES and Path(name).is_file()]
    others = [name for name in names if Path(name) not in tables]
    folders = [] if tables and not others else find_runs(others, mlruns)
    recorded = [row for table in tables for row in read_rows(table)]
    named = dict(zip(folders, told_apart(folders), strict=True))
    read = {folder: replace(read_run(folder), run=name) for folder, name in named.items()}
    rows = {_identity(row): row for row in (*recorded, *read.values())}  # a folder says more than a row read earlier
    ordered = sorted(rows.values(), key=lambda row: (row.data, row.accuracy is None, -(row.accuracy or 0.0), row.began))
    alike = {row.run for row in comparable(read.values())}
    families = [one for folder, row in read.items() if row.run in alike for one in read_families(folder, row)]
    return Comparison(tuple(ordered), tuple(_pairs(read)), tuple(families))


def told_apart(folders: Sequence[Path]) -> list[str]:
    """Names of run folders; where two would share one, with the folder of results before it, or with all of them."""
    names = [(folder.name, f"{folder.parent.parent.name}/{folder.name}", str(folder)) for folder in folders]
    counts = Counter(name for three in names for name in three)
    return [next((name for name in three if counts[name] == 1), three[-1]) for three in names]


def _identity(row: RunRow) -> tuple[Any, ...]:
    return PurePath(row.run).name, row.began, row.seed


def _given(row: RunRow) -> tuple[Any, ...]:
    """What runs that differ in their seed alone have in common."""
    code = row.machine, row.revision, row.settings
    return row.benchmark, row.data, row.budget, row.trials, *code, row.test_rows, row.test_fingerprint


def _pairs(read: dict[Path, RunRow]) -> Iterable[tuple[RunRow, RunRow, McNemarResult]]:
    right: dict[Path, Array] = {f: found for f in read if (found := read_right(f)) is not None}
    first = next(iter(right), None)
    for folder, found in right.items():
        if first is None or folder == first or len(found) != len(right[first]):
            continue
        if read[folder].test_fingerprint != read[first].test_fingerprint:
            continue
        yield read[first], read[folder], mcnemar(np.ones(len(found), dtype=bool), found, right[first])


def spread(values: Sequence[float]) -> Spread:
    """Give median, ends and standard deviation of at least two values."""
    return Spread(statistics.median(values), min(values), max(values), statistics.stdev(values))


class Column(NamedTuple):
    """A column of the leaderboard: its title on a page and on a terminal, and what it shows of a run."""

    title: str
    short: str
    cell: Callable[[RunRow], Cell]
    is_text: bool = False


def _extent(row: RunRow) -> Cell:
    if row.trials is not None:
        return Cell(f"{row.trials} trials", row.trials)
    return Cell(f"{row.budget / 60:g} min", row.budget) if row.budget is not None else Cell("–")


def _interval(row: RunRow) -> Cell:
    """Interval of the ensemble's accuracy; of a run without scores the reason."""
    return interval(row.low, row.high) if row.status == SCORED else Cell(row.status)


COLUMNS = (
    Column("Run", "", lambda row: text(row.run), True),
    Column("Data", "data", lambda row: text(row.data), True),
    Column("Machine", "machine", lambda row: text(row.machine), True),
    Column("Revision", "revision", lambda row: text(row.revision), True),
    Column("Rows", "rows", lambda row: number(row.rows, 0)),
    Column("Seed", "seed", lambda row: Cell("–" if row.seed is None else str(row.seed), row.seed or 0)),
    Column("Budget", "budget", _extent),
    Column("Used, s", "used s", lambda row: number(row.seconds, 0)),
    Column("Ensemble, test accuracy, %", "test %", lambda row: percent(row.accuracy)),
    Column("95 % interval", "95 % interval", _interval),
    Column("Best single model", "single", lambda row: text(row.single)),
    Column("Its test accuracy, %", "single %", lambda row: percent(row.single_accuracy)),
    Column("Its 95 % interval", "its interval", lambda row: interval(row.single_low, row.single_high)),
    Column("Log loss", "log loss", lambda row: number(row.log_loss, 4)),
    Column("Calibration error, %", "calib. %", lambda row: percent(row.calibration_error)),
    Column("Core-hours", "core-h", lambda row: number(row.core_hours, 2)),
)
N_TEXT = sum(column.is_text for column in COLUMNS)
N_GIVEN = N_TEXT + 3  # the first columns say what a run was given, the rest what it came to
BY_WEIGHT = (  # what a narrow terminal shows, the weightiest first, as far as it fits; before all: run and accuracy
    *("95 % interval", "budget", "data", "rows", "seed", "single %", "used s", "core-h", "single"),
    *("revision", "machine", "its interval", "log loss", "calib. %"),
)


def leaderboard(found: Comparison) -> Table:
    """Tabulate every run, those without scores too."""
    rows = [[column.cell(row) for column in COLUMNS] for row in found.rows]
    return Table("Runs, best test accuracy first", tuple(column.title for column in COLUMNS), rows, N_TEXT)


def over_seeds(found: Comparison) -> Table:
    """Tabulate the spread of runs that differ in their seed alone; apart from the interval of each."""
    what = "median, %", "lowest to highest", "standard deviation, points"
    heads = [f"{who}: {each}" for who in ("Ensemble", "Best single model") for each in what]
    rows = []
    for alike in found.groups:
        one = alike[0]
        seeds = ", ".join(sorted({str(row.seed) for row in alike if row.seed is not None}, key=lambda s: (len(s), s)))
        task = task_of(one.data, one.rows)
        about = [text(each) for each in (one.benchmark, task, one.machine, one.revision, seeds)]
        ensembles = _spread_cells([row.accuracy or 0.0 for row in alike])
        singles = _spread_cells([row.single_accuracy or 0.0 for row in alike])
        rows.append([*about, _extent(one), number(len(alike), 0), *ensembles, *singles])
    columns = ("Benchmark", "Task", "Machine", "Revision", "Seeds", "Budget", "Runs", *heads)
    return Table("Spread over seeds", columns, rows, n_text=5)


def _spread_cells(values: Sequence[float]) -> list[Cell]:
    found = spread(values)
    return [percent(found.median), interval(found.low, found.high), percent(found.deviation)]


def paired(found: Comparison) -> Table:
    """Tabulate runs against the first one on the same test rows."""
    rows = []
    for first, other, of in found.pairs:
        counts = [number(of.only_first_correct, 0), number(of.only_second_correct, 0)]
        rows.append([text(other.run), text(first.run), *counts, *difference(of)])
    columns = ("Run", "Against", "Only it right", "Only the other right", "Difference, points", "95 % interval", "p")
    return Table("Ensembles of two runs on the same test rows", columns, rows, n_text=2)
