import io
import math
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from fmnist_bench.report import suite_figures, suite_tables
from fmnist_bench.report.compare import Comparison
from fmnist_bench.report.compare_page import render
from fmnist_bench.report.families import Families, FamilyRow, comparable, write_families
from fmnist_bench.report.literature import results
from fmnist_bench.report.metrics import mcnemar
from fmnist_bench.report.run_row import RunRow

N = 1000
SIZES = {"digits": (600, 1500), "fashion-mnist": (600, 6000, 60000)}
NAMES = ("ensemble", "cnn", "knn", "svm")  # each worse than the one before


def rows(sizes=SIZES, names=NAMES, seeds=(0, 1000, 2000)):
    """What families reach: each next one 3 points less, 1 point more with each next seed, the leader of all right."""
    found = []
    for data, n in ((data, n) for data, each in sizes.items() for n in each):
        for place, name in enumerate(names):
            for step, seed in enumerate(seeds):
                right = np.arange(N) >= 100 + 30 * place - 10 * step
                accuracy = right.mean()
                scores = accuracy, accuracy - 0.01, accuracy + 0.01, accuracy
                found.append(FamilyRow(data, n, seed, name, *scores, 2.0 * (place + 1), 9.0, 0.1, "r", right=right))
    return found


def shown(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_a_family_is_a_row_with_its_mean_and_spread_on_every_task():
    table = suite_tables.by_rows(Families(rows()))
    assert table.columns[1:3] == ("digits, 600 rows", "digits, 1,500 rows")
    assert table.columns[3:] == tuple(f"fashion-mnist, {n} rows" for n in ("600", "6,000", "60,000"))
    assert shown(table)[0][:2] == ["ensemble", "91.00 ± 1.00"], "no star: the ensemble is no family"
    assert [row[0] for row in shown(table)] == list(NAMES) and shown(table)[1][1] == "88.00 ± 1.00 *"


def test_a_family_that_was_fitted_on_a_part_of_the_rows_says_so():
    parts = {"cnn": [1.0, 1.0, 1.0], "knn": [0.15, 1.0, 0.4], "svm": [0.15] * 3, "ensemble": [math.nan] * 3}
    seeds = [0, 1000, 2000]
    found = [replace(row, learnt_from=parts[row.family][seeds.index(row.seed)]) for row in rows({"digits": (600,)})]
    cells = {row[0]: row[1] for row in shown(suite_tables.by_rows(Families(found)))}
    assert cells == {
        "ensemble": "91.00 ± 1.00",
        "cnn": "88.00 ± 1.00 *",
        "knn": "85.00 ± 1.00 [15 to 100 %]",
        "svm": "82.00 ± 1.00 [15 %]",
    }


def test_ranks_and_win_rates_are_those_of_the_definitions():
    found = Families(rows())
    table = shown(suite_tables.over_tasks(found))
    assert [row[:3] for row in table] == [
        ["ensemble", "1.00", "100.0"],
        ["cnn", "2.00", "66.7"],
        ["knn", "3.00", "33.3"],
        ["svm", "4.00", "0.0"],
    ]
    errors = np.array([[0.1 + 0.03 * place - 0.01 * step for step in range(3)] for place in range(4)])
    improvability = (1 - errors[0] / errors).mean(axis=1)
    assert [float(row[3]) for row in table] == pytest.approx(100 * improvability, abs=0.06)


def test_a_family_without_a_complete_trial_counts_as_wrong_on_every_row():
    some = [row for row in rows() if (row.family, row.rows, row.seed) != ("cnn", 60000, 0)]
    found = Families(some)
    assert found.run_error("cnn", "fashion-mnist, 60,000 rows", 0) == 1.0
    ranks = {row[0]: float(row[1]) for row in shown(suite_tables.over_tasks(found))}
    assert ranks["cnn"] == pytest.approx(2 + 2 / 15, abs=0.01) and ranks["svm"] == pytest.approx(4 - 1 / 15, abs=0.01)


def test_chance_of_seeds_and_chance_of_test_rows_stand_apart():
    found = Families(rows())
    table = suite_tables.over_seeds(found)
    first = dict(zip(table.columns, shown(table)[0], strict=True))
    assert (first["Family"], first["Against"], first["Seeds"]) == ("ensemble", "cnn", "3")
    assert first["Mean difference, points"] == "+3.00" and first["Lowest to highest"] == "+3.00 to +3.00"
    one, other = (next(row for row in found.at(name, found.tasks[0])) for name in ("ensemble", "cnn"))
    test = mcnemar(np.ones(N, dtype=bool), one.right, other.right)
    assert first["McNemar's p of each seed"] == ", ".join(["< 0.001"] * 3) and test.p_value < 0.001
    assert len(table.rows) == 3 * 5


def test_over_seeds_there_is_an_interval_from_three_on():
    values = [0.01, 0.02, 0.03]
    (interval, p) = suite_tables._over_seeds(values)
    assert interval.text == "−0.48 to +4.48" and p.text == "0.074"  # t of two degrees of freedom: 4.303, 3.464
    assert [cell.text for cell in suite_tables._over_seeds(values[:2])] == ["–", "–"]


def test_what_others_report_is_a_table_of_its_own():
    found = Families(rows())
    table = suite_tables.literature(found)
    assert {row[0] for row in shown(table)} == {"fashion-mnist"}
    assert all(row[2] and row[3] for row in shown(table)) and len(table.rows) > 20
    assert not {one.family for one in results()} & {row[0] for row in shown(suite_tables.by_rows(found))}
    assert not suite_tables.literature(Families(rows({"digits": (600, 1500)}))).rows


def test_figures_are_drawn_where_there_are_data_for_them():
    drawn = suite_figures.draw(Families(rows()))
    assert drawn.keys() == {"rows_digits", "rows_fashion-mnist", "seconds", "critical"}
    few = suite_figures.draw(Families(rows({"digits": (600, 1500), "kmnist": (600,)})))
    assert few.keys() == {"rows_digits", "seconds"}, "of three tasks Nemenyi's test tells nothing"
    ax = drawn["rows_fashion-mnist"].axes[0]
    assert ax.lines[0].get_ydata() == pytest.approx([0.91] * 3)


@pytest.mark.parametrize("form", ["html", "markdown"])
def test_the_page_has_every_section(form):
    page = render(Comparison((), (), tuple(rows())), form)
    for words in ("Families by task", "Over tasks", "Differences between families", "From the literature", "88.00"):
        assert words in page
    assert "Families by task" not in render(Comparison((), (), tuple(rows({"digits": (600,)}, seeds=(0,)))), form)


def test_without_the_package_the_page_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bencheval.evaluator", None)
    monkeypatch.setitem(__import__("sys").modules, "scikit_posthocs", None)
    page = render(Comparison((), (), tuple(rows())), "html")
    assert "install fmnist-bench[suite]" in page and "Families by task" in page


def test_only_runs_that_differ_in_task_and_seed_are_set_beside_each_other():
    given = {"benchmark": "s", "budget": 60.0, "machine": "m"}
    several = [
        RunRow(f"{n}-{seed}", "reported", data="d", rows=n, seed=seed, **given) for n in (1, 2) for seed in (0, 1)
    ]
    other = [RunRow("other", "reported", data="d", rows=1, seed=0, **{**given, "budget": 90.0})]
    again = RunRow("again", "reported", data="d", rows=1, seed=0, began="later", **given)
    unscored = RunRow("killed", "not finished", data="d", rows=3, seed=0, **given)
    assert {row.run for row in comparable([*several, *other, again, unscored])} == {"again", "1-1", "2-0", "2-1"}
    assert comparable([]) == []


def test_pandas_reads_the_table_of_families_as_it_was_written():
    earlier = FamilyRow("mine, again", None, None, "knn", *np.float64([0.5, 0.4, 0.6]), run="b")
    written = [*rows(), earlier]
    table = pd.read_csv(io.StringIO(write_families(written)))
    names = [field.name for field in fields(FamilyRow) if field.name != "right"]
    assert list(table.columns) == names and len(table) == len(written)
    words = {"data", "family", "run"}
    assert {name for name in names if not pd.api.types.is_numeric_dtype(table[name])} == words
    for name in names:
        values = [getattr(row, name) for row in written]
        if name in words:
            assert table[name].tolist() == values
        else:
            np.testing.assert_array_equal(table[name], np.array(values, dtype=float))
    assert pd.read_csv(io.StringIO(write_families(rows()))).dtypes[["rows", "seed"]].tolist() == ["int64"] * 2
