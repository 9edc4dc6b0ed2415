import csv
import json
import shutil
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench._utils.errors import InputError
from fmnist_bench.cli import main
from fmnist_bench.report import compare
from fmnist_bench.report.compare import compare_runs, over_seeds, spread
from fmnist_bench.report.compare_page import render, terminal_table
from fmnist_bench.report.kept_scores import right_rows
from fmnist_bench.report.run_row import STATUSES, RunRow, read_rows, write_rows
from fmnist_bench.storage.find_runs import find_runs, newest_run, open_folder

ROW = RunRow(
    *("all-a-1", "reported", "all", "fashion-mnist", 600.0, None, 585.0, 0, "EPYC, 2 cores used", "abc", 0.3, 10_000),
    *(0.9453, 0.9407, 0.9496, 0.163, 0.0055, "cnn", 0.9424, 0.9377, 0.9468, "2026-11-29 12:00:00", "d", "f"),
)
THREE = [replace(ROW, run=f"all-{n}-1", seed=n, accuracy=0.93 + n / 100, began=f"{n}") for n in range(3)]


@pytest.fixture
def results(small_benchmark):
    """The folder of a run, and beside it copies that were killed, not reported, damaged, and of another seed."""
    (folder,) = small_benchmark[0].glob("runs/*")
    state = json.loads((folder / "run.json").read_text())
    unscored = {key: value for key, value in state.items() if key != "scores"}
    killed = {key: value for key, value in unscored.items() if key != "environment"}
    other = {**state, "seed": 1, "created": state["created"] + 1}
    for name, content in (("killed", killed), ("unreported", unscored), ("damaged", {}), ("other", other)):
        shutil.copytree(folder, folder.with_name(name))
        (folder.with_name(name) / "run.json").write_text(json.dumps(content))
    return folder


def table(tmp_path, rows):
    (path := tmp_path / "rows.csv").write_text(write_rows(rows))
    return compare_runs([path])


def test_a_run_is_the_row_that_its_report_shows(small_benchmark, capsys):
    assert main(["compare", "all"]) == 0
    printed = capsys.readouterr().out
    run = open_folder(newest_run("all", "mlruns"))
    (row,) = compare_runs(["all"]).rows
    kept = run.state["scores"]
    assert (row.status, row.test_rows) == ("reported", kept["rows"])
    assert (
        f"{100 * row.accuracy:.2f}" in printed
        and f"{100 * row.accuracy:.2f} %" in (run.folder / "report.md").read_text()
    )
    assert row.low < row.accuracy < row.high and row.single == "bayes"
    assert row.core_hours == pytest.approx(sum(r.result.fit_cpu_seconds for r in run.records("bayes")) / 3600)
    assert row.machine == run.state["environment"]["processor"] and row.revision
    right = right_rows(kept["ensemble"]["right"], kept["rows"])
    assert right.mean() == pytest.approx(row.accuracy)


def test_a_run_without_scores_is_a_row_that_says_why(results):
    rows = {row.run: row.status for row in compare_runs().rows}
    assert rows == {
        results.name: "reported",
        "other": "reported",
        "killed": "not finished",
        "unreported": "not reported",
        "damaged": "damaged",
    }
    assert "not finished" in terminal_table(compare_runs())


def test_a_run_of_an_earlier_version_is_a_row_of_what_it_kept(results):
    state = json.loads((results / "run.json").read_text())
    for key in ("machine", "settings", "trials", "test_set_opened", "in_memory"):
        state.pop(key, None)
    del state["scores"]["families"]
    (results / "run.json").write_text(json.dumps(state))
    found = compare_runs([results])
    (row,) = found.rows
    assert (row.status, row.accuracy) == ("reported", state["scores"]["ensemble"]["test_accuracy"])
    assert row.machine == state["environment"]["processor"] and row.trials is None and row.settings == ""
    kept = {family.family: family.accuracy for family in found.families}
    assert kept == {name: scores["test_accuracy"] for name, scores in state["test_scores"].items()} and "bayes" in kept
    assert all(np.isnan(family.fit_seconds) and family.right is None for family in found.families)
    for form in ("markdown", "html", "csv", "families"):
        assert "bayes" in render(found, form)


def test_nothing_is_written_into_what_is_compared(results):
    folders = results.parent.parent
    before = {path: path.stat().st_mtime_ns for path in folders.rglob("*")}
    compare_runs([folders])
    assert {path: path.stat().st_mtime_ns for path in folders.rglob("*")} == before


def test_two_runs_on_the_same_test_rows_are_compared_row_by_row(results):
    state = json.loads((results.with_name("other") / "run.json").read_text())
    right = right_rows(state["scores"]["ensemble"]["right"], state["scores"]["rows"])
    changed = right.copy()
    changed[:5] = ~changed[:5]
    state["scores"]["ensemble"]["right"] = np.packbits(changed).tobytes().hex()
    (results.with_name("other") / "run.json").write_text(json.dumps(state))
    ((first, other, found),) = compare_runs().pairs
    assert (first.run, other.run) == (results.name, "other")
    assert found.difference == pytest.approx((changed.sum() - right.sum()) / len(right))
    state["scores"]["fingerprint"] = "others"
    (results.with_name("other") / "run.json").write_text(json.dumps(state))
    assert not compare_runs().pairs


@pytest.mark.parametrize(
    "change", [{"rows": "x"}, {"ensemble": {}}, {"ensemble": 3}, {"single": None}, {"fingerprint": ["a"], "rows": None}]
)
def test_scores_that_no_report_wrote_are_damage(results, change):
    state = json.loads((results / "run.json").read_text())
    state["scores"].update(change)
    (results / "run.json").write_text(json.dumps(state))
    (row,) = compare_runs([results]).rows
    assert row.status in ("damaged", "no complete trial")


def test_rows_of_runs_that_are_gone_are_read_from_a_table(tmp_path, results):
    (tmp_path / "rows.csv").write_text(write_rows([ROW]))
    found = compare_runs([tmp_path / "rows.csv", results])
    assert {row.run for row in found.rows} == {"all-a-1", results.name}
    (tmp_path / "more.csv").write_text(write_rows(found.rows))
    assert len(compare_runs([tmp_path / "more.csv", results]).rows) == 2


def test_the_spread_over_seeds_stands_apart_from_the_interval(tmp_path):
    found = table(tmp_path, [*THREE, replace(ROW, run="x", revision="def")])
    (row,) = over_seeds(found).rows
    shown = [cell.text for cell in row]
    assert shown[4:10] == ["0, 1, 2", "10 min", "3", "94.00", "93.00 to 95.00", "1.00"]
    text = terminal_table(found)
    assert "3 runs, seeds 0, 1, 2" in text and "standard deviation 1.00 points" in text
    assert spread([1.0, 3.0]) == pytest.approx((2.0, 1.0, 3.0, 2**0.5))


def test_runs_of_one_seed_are_no_spread_over_seeds(tmp_path):
    assert not table(tmp_path, [replace(row, seed=0) for row in THREE]).groups
    assert not table(tmp_path, [replace(THREE[0], seed=None), *THREE[:1]]).groups


def test_runs_of_one_name_are_told_apart_by_what_is_before_it(small_benchmark, tmp_path):
    for place in ("a/mlruns", "b/mlruns", "c"):
        shutil.copytree(small_benchmark[0] / "runs", tmp_path / place / "runs")
    (name,) = (path.name for path in small_benchmark[0].glob("runs/*"))
    read = compare.told_apart(find_runs([tmp_path / place for place in ("a/mlruns", "b/mlruns", "c")]))
    assert read == [str(tmp_path / "a/mlruns/runs" / name), str(tmp_path / "b/mlruns/runs" / name), f"c/{name}"]


@pytest.mark.parametrize("width", [80, 120, 400])
def test_a_terminal_gets_whole_columns_and_whole_names(tmp_path, width):
    long = replace(ROW, run="a-name-of-a-run-that-is-as-long-as-a-benchmark-may-be-called-1", machine="another")
    lines = terminal_table(table(tmp_path, [*THREE, long]), width).splitlines()
    assert max(map(len, lines)) <= width or max(map(len, lines)) == len(long.run)
    assert any(line.startswith(long.run) for line in lines)
    assert any("fashion-mnist" in line for line in lines)


def test_pages_say_the_same_in_every_form(tmp_path):
    found = table(tmp_path, [*THREE, RunRow("<b>|x", "not finished")])
    markdown, html = render(found, "markdown", "compare x"), render(found, "html", "compare x")
    for page in (markdown, html):
        assert "Over seeds" in page and "94.00" in page and "not finished" in page and "compare x" in page
    assert "<b>" not in html and "\\|x" in markdown
    assert "http" not in html.replace("http-equiv", "")
    assert [row["run"] for row in csv.DictReader(render(found, "csv").splitlines())] == [row.run for row in found.rows]


words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=9)
shares = st.none() | st.floats(0, 1)
KINDS = {str: words, int | None: st.none() | st.integers(0, 2**40), float | None: shares}
rows = st.builds(
    RunRow, words, st.sampled_from(STATUSES), **{field.name: KINDS[field.type] for field in fields(RunRow)[2:]}
)


@given(st.lists(rows, max_size=3))
def test_rows_come_back_from_a_table_as_they_were(tmp_path_factory, many):
    (path := tmp_path_factory.getbasetemp() / "many.csv").write_text(write_rows(many), encoding="utf-8", newline="")
    assert [asdict(row) for row in read_rows(path)] == [asdict(row) for row in many]


def test_a_table_of_an_earlier_version_lacks_the_number_of_rows(tmp_path):
    lines = write_rows([replace(ROW, rows=600)]).splitlines()
    assert lines[0].endswith(",rows") and lines[1].endswith(",600")
    (path := tmp_path / "rows.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    assert read_rows(path) == [ROW]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("0.9453", "94.53"), "line 2: accuracy 94.53: must be a share"),
        (("0.9453", "much"), "line 2: accuracy 'much': must be a number, or empty"),
        (("reported", "done"), "line 2: status 'done': must be one of reported"),
        (("accuracy", "precision"), "has no column accuracy"),
        ((",600.0,", ",inf,"), "line 2: budget 'inf': must be a number"),
    ],
)
def test_a_table_that_is_none_of_ours_is_refused_with_its_line(tmp_path, change, words):
    (path := tmp_path / "rows.csv").write_text(write_rows([ROW]).replace(*change))
    with pytest.raises(InputError, match=words):
        read_rows(path)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_table_are_refused_in_one_line(tmp_path_factory, content):
    (path := tmp_path_factory.getbasetemp() / "odd.csv").write_bytes(content)
    with pytest.raises(InputError):
        read_rows(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lost"], "lost: is no folder of a run"),
        (["all", "--html", "no/where.html"], "no/where.html: cannot be written"),
    ],
)
def test_what_cannot_be_compared_is_one_line(small_benchmark, capsys, arguments, words):
    assert main(["compare", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_files_are_written_where_they_are_asked_for(small_benchmark, tmp_path):
    targets = {form: tmp_path / f"page.{form}" for form in ("markdown", "csv", "html", "families")}
    assert main(["compare", *(f"--{form}={path}" for form, path in targets.items())]) == 0
    assert all("bayes" in path.read_text() for path in targets.values())


def test_a_search_over_arrays_has_no_test_rows_until_they_are_handed_over(results):
    state = json.loads((results.with_name("unreported") / "run.json").read_text())
    (results.with_name("unreported") / "run.json").write_text(json.dumps({**state, "in_memory": True}))
    assert [row.status for row in compare_runs([results.with_name("unreported")]).rows] == ["no test rows"]


def test_a_page_says_once_what_all_runs_have_in_common(tmp_path):
    alike = table(tmp_path, THREE)
    differ = table(tmp_path, [*THREE, replace(ROW, run="x", machine="another")])
    for form in ("markdown", "html"):
        assert render(alike, form).count(ROW.machine) == 1 and "in common: " in render(alike, form)
        assert render(differ, form).count(ROW.machine) > 1 and render(differ, form).count("another") > 0
