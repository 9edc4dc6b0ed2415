"""The tables of a suite: accuracy by number of rows, ranks over tasks, differences over seeds, the literature."""

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from fmnist_bench.report.families import Families, FamilyRow
from fmnist_bench.report.literature import results
from fmnist_bench.report.metrics import McNemarResult, mcnemar
from fmnist_bench.report.tables import Cell, Table, interval, number, p_value, percent, seconds, text

LEVEL = 0.95


def by_rows(found: Families) -> Table:
    """Tabulate each family's mean accuracy on every task, its spread over seeds, and on how few rows it was fitted."""
    rows = []
    for name in found.names:
        cells = [text(name)]
        for task in found.tasks:
            cells.append(_mean_and_spread(found.at(name, task), name == found.best(task)))
        rows.append(cells)
    return Table("Test accuracy, %: mean ± standard deviation over seeds", ("Family", *found.tasks), rows)


def _mean_and_spread(rows: Sequence[FamilyRow], leads: bool) -> Cell:
    if not (values := [row.accuracy for row in rows]):
        return Cell("–", "")
    mean = percent(statistics.fmean(values))
    spread = f" ± {percent(statistics.stdev(values)).text}" if len(values) > 1 else ""
    return Cell(f"{mean.text}{spread}{' *' if leads else ''}{_part(rows)}", mean.key)


def _part(rows: Sequence[FamilyRow]) -> str:
    """Say on what share of the train rows the models were fitted, where any was not on all."""
    shares = sorted({percent(row.learnt_from, 0).text for row in rows if not math.isnan(row.learnt_from)}, key=float)
    if not shares or shares == ["100"]:
        return ""
    return f" [{shares[0]} %]" if len(shares) == 1 else f" [{shares[0]} to {shares[-1]} %]"


def over_tasks(found: Families) -> Table | None:
    """Tabulate mean rank, win rate and improvability over tasks, as TabArena's package counts them; None without it."""
    try:
        from bencheval.evaluator import BenchmarkEvaluator
    except ImportError:
        return None
    columns = ["method", "task", "seed", "metric_error"]
    rows = [(name, task, seed, found.run_error(name, task, seed)) for name in found.names for task, seed in found.runs]
    evaluator = BenchmarkEvaluator(seed_column="seed", columns_to_agg_extra=None)
    counted = evaluator.leaderboard(pd.DataFrame(rows, columns=columns), metrics=["winrate", "improvability"])
    shown = []
    for name, row in counted.iterrows():
        cells = [number(row["rank"]), percent(row["winrate"], 1), percent(row["improvability"], 1)]
        shown.append([text(name), *cells, percent(1 - found.mean_error(str(name))), *_costs(found, str(name))])
    heads = "Mean rank", "Win rate, %", "Improvability, %", "Mean accuracy, %", "Fit, s", "Search, s"
    return Table("Over tasks, best mean rank first", ("Family", *heads), shown)


def _costs(found: Families, name: str) -> list[Cell]:
    """Median seconds of a fit and of all trials, over the runs."""
    rows = [row for task in found.tasks for row in found.at(name, task)]
    return [seconds(float(np.nanmedian(values))) if values else Cell("–") for values in _known(rows)]


def _known(rows: Sequence[FamilyRow]) -> Iterator[list[float]]:
    for key in ("fit_seconds", "search_seconds"):
        yield [value for row in rows if not np.isnan(value := getattr(row, key))]


def over_seeds(found: Families) -> Table:
    """Tabulate paired differences to the leader of each task: over seeds, and beside them on the rows of each run."""
    rows = []
    for task in found.tasks:
        leader = found.best(task)
        for name in (name for name in found.names if leader and name != leader):
            if pairs := list(_pairs(found, task, name, str(leader))):
                rows.append([text(task), text(name), text(leader), *_difference(pairs)])
    over = "Mean difference, points", "Lowest to highest", "95 % interval over seeds", "p over seeds"
    within = "McNemar's p of each seed", "Widest 95 % interval of one seed"
    columns = ("Task", "Family", "Against", "Seeds", *over, *within)
    return Table("Differences to the leader of each task", columns, rows, n_text=3)


def _pairs(found: Families, task: str, name: str, leader: str) -> Iterator[tuple[float, McNemarResult | None]]:
    """Give for each seed that both have the difference of accuracies, and what the same test rows say of it."""
    against = {row.seed: row for row in found.at(leader, task)}
    for row in found.at(name, task):
        if (other := against.get(row.seed)) is not None:
            yield row.accuracy - other.accuracy, _mcnemar(row, other)


def _mcnemar(row: FamilyRow, other: FamilyRow) -> McNemarResult | None:
    if row.right is None or other.right is None or len(row.right) != len(other.right):
        return None
    return mcnemar(np.ones(len(row.right), dtype=bool), row.right, other.right)


def _difference(pairs: Sequence[tuple[float, McNemarResult | None]]) -> list[Cell]:
    values, tests = [value for value, _ in pairs], [test for _, test in pairs if test is not None]
    mean, n = statistics.fmean(values), len(values)
    spread = interval(min(values), max(values), sign="+") if n > 1 else Cell("–")
    widest = max(tests, key=lambda test: test.high - test.low, default=None)
    return [
        *(number(n, 0), percent(mean, sign="+"), spread, *_over_seeds(values)),
        text(", ".join(p_value(test.p_value) for test in tests)),
        interval(widest.low, widest.high, sign="+") if widest else Cell("–"),
    ]


def _over_seeds(values: Sequence[float]) -> list[Cell]:
    """Give Student's interval and p of paired differences; of fewer than three seeds they say nothing."""
    if len(values) < 3 or not (error := statistics.stdev(values) / len(values) ** 0.5):
        return [Cell("–"), Cell("–")]
    mean, freedom = statistics.fmean(values), len(values) - 1
    half = float(student.ppf((1 + LEVEL) / 2, freedom)) * error
    p = 2 * float(student.sf(abs(mean) / error, freedom))
    return [interval(mean - half, mean + half, sign="+"), Cell(p_value(p), p)]


def literature(found: Families) -> Table:
    """Tabulate what the literature reports of the same data sets."""
    known = {data for data, _ in found.sizes.values()}
    rows = []
    for one in results():
        if one.data in known:
            cells = [text(one.data), text(one.family), text(one.protocol), text(one.source)]
            rows.append([*cells, Cell(one.accuracy, float(one.accuracy.split()[0]))])
    columns = ("Data", "Model", "Protocol and cost", "Source", "Accuracy, %")
    return Table("Reported elsewhere", columns, rows, n_text=4)


def sections(found: Families) -> dict[str, Any]:
    """Give what the templates show of a suite, by name; nothing where there is only one run."""
    if len(found.runs) < 2:
        return {}
    return {
        "n_runs": len(found.runs),
        "n_tasks": len(found.tasks),
        "by_rows": by_rows(found),
        "over_tasks": over_tasks(found) if len(found.tasks) > 1 else None,
        "over_seeds": over_seeds(found),
        "literature": literature(found),
    }
