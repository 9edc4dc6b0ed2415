"""Kept models predict the test rows once, when everything is chosen; only who counts it looks."""

import re

import numpy as np
import pytest

from fmnist_bench.cli import main
from fmnist_bench.report import opening
from fmnist_bench.report.opening import open_test_rows, openings, predict_kept, predict_test
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.trial_folder import TEST_PROBABILITIES

BOTH = [("bayes", 0), ("bayes", 1)]


@pytest.fixture
def run(small_benchmark):
    """A run on digits with two trials of one study."""
    return open_folder(newest_run("all"))


def sealed(run):
    return [run.trial_folder(*key) / TEST_PROBABILITIES for key in BOTH]


def test_a_run_leaves_what_every_kept_model_predicts_for_the_test_rows(run):
    assert openings(run) == 1
    assert [np.load(path).shape for path in sealed(run)] == [(297, 10)] * 2
    assert re.fullmatch(r"2, \d+\.\d MiB \(per_study = 3\)", run.state["environment"]["kept models"])


def test_a_test_score_needs_no_model_where_the_run_left_predictions(run, capsys):
    for key in BOTH:
        run.model_file(*key).write_bytes(b"cannot be loaded")
    for method in ("greedy", "mean", "logistic"):
        assert main(["ensemble", "all", "--open-test-set", "--method", method]) == 0
    printed = capsys.readouterr().out
    assert printed.count("test rows: ") == 3 and "opened 4 times" in printed


def test_kept_models_predict_as_far_as_the_time_goes(run):
    for path in sealed(run):
        path.unlink()
    said = []
    test = open_test_rows(run)
    predict_kept(run, test, (), lambda: 0.0, said.append)
    assert not any(path.exists() for path in sealed(run))
    assert said == ["The other 2 kept models predict the test rows, for later choices"]
    assert run.state["given_up"] == [], "what was not reached is no fault"
    predict_kept(run, test, (), lambda: 300.0, said.append)
    before = [path.stat().st_mtime_ns for path in sealed(run)]
    predict_kept(run, test, (), lambda: None, said.append)
    assert [path.stat().st_mtime_ns for path in sealed(run)] == before and len(said) == 2, "nothing is predicted twice"
    assert openings(run) == 2, "who opened the rows is counted, not who predicts them"


def test_predictions_that_are_missing_are_made_when_they_are_asked_for(run):
    test = open_test_rows(run)
    known, _ = predict_test(run, BOTH, test, ())
    for path in sealed(run):
        path.unlink()
    again, faults = predict_test(run, BOTH, test, ())
    assert not faults and all(np.array_equal(again[key], known[key]) for key in BOTH)
    assert all(path.is_file() for path in sealed(run))


def test_report_and_ensemble_get_the_test_rows_from_one_function_that_counts(run, monkeypatch, capsys):
    counted, load = [], opening._load
    monkeypatch.setattr(opening, "_load", lambda run, subset: counted.append(subset) or load(run, subset))
    assert main(["ensemble", "all", "--open-test-set"]) == 0 and main(["report", "all"]) == 0
    assert counted == ["test", "test"]
    assert openings(open_folder(run.folder)) == 3
