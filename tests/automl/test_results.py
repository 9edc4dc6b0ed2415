"""What a run knows, read from its folder."""

import io
import json
import shutil
from functools import partial

import numpy as np
import optuna
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.base import clone

from fmnist_bench import InputError, load_model, load_run
from fmnist_bench.automl.results import RunResults
from fmnist_bench.cli import main


def contents(folder):
    """Every file below a folder, with its size and its time."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


@pytest.fixture
def run(finished_benchmark, monkeypatch):
    """The small benchmark that has run."""
    monkeypatch.chdir(finished_benchmark[0])
    return load_run("all")


def test_the_leaderboard_has_the_test_scores_of_the_report(run):
    board = run.leaderboard()
    assert board.index.tolist() == ["ensemble", "bayes"]
    assert f"{100 * board.loc['ensemble', 'test_accuracy']:.2f}" in (run.folder / "report.md").read_text()
    assert board["test_low"].le(board["test_accuracy"]).all()
    assert board["complete"].tolist() == [0, 2]


def test_trials_are_rows_whose_parameters_set_params_takes(run, digits):
    trials = run.trials()
    assert len(trials) == 2
    assert (trials["state"] == "complete").all() and trials["valid_accuracy"].between(0, 1).all()
    best = trials.sort_values("valid_accuracy").iloc[-1]
    model = clone(load_model(run.model_file(best.study, best.trial))).set_params(**best.parameters)
    assert model.fit(digits.X[:500], digits.y[:500]).score(digits.X[500:], digits.y[500:]) > 0.7


def test_predictions_confusions_and_accuracies_agree(run):
    board = run.leaderboard()
    for name in ("ensemble", "bayes"):
        found, counts = run.predictions(name), run.confusion_matrix(name)
        accuracy = (found["label"] == found["predicted"]).mean()
        assert accuracy == pytest.approx(board.loc[name, "valid_accuracy"])
        assert np.trace(counts) / counts.to_numpy().sum() == pytest.approx(accuracy)
        np.testing.assert_allclose(found.iloc[:, 2:].sum(axis=1), 1, atol=1e-5)
    number = int(board.loc["bayes", "trial"])
    assert run.predictions("bayes", number).equals(run.predictions("bayes"))
    with pytest.raises(InputError, match="no model 'bay'; did you mean bayes"):
        run.predictions("bay")
    with pytest.raises(InputError, match="bayes has no complete trial 99"):
        run.predictions("bayes", 99)


def test_optunas_study_is_a_copy(run):
    study = run.optuna_study("bayes")
    assert len(study.trials) == 2
    study.add_trial(optuna.create_trial(value=0.5))
    assert len(run.optuna_study("bayes").trials) == 2
    with pytest.raises(InputError, match="Optuna knows no study 'forest'; there are bayes"):
        run.optuna_study("forest")


def test_figures_are_matplotlibs_and_learning_curves_a_table(run):
    figures = run.figures()
    assert {"accuracy_intervals", "confusion_ensemble"} <= figures.keys()
    assert all(isinstance(figure, Figure) for figure in figures.values())
    assert run.learning_curves().columns[:3].tolist() == ["study", "trial", "step"]


def test_report_and_leaderboard_are_text_in_four_forms(run):
    assert run.as_text("html").startswith("<!DOCTYPE html>") and run.as_text("md").startswith("# all")
    table = pd.read_csv(io.StringIO(run.as_text("csv")), index_col="name")
    np.testing.assert_allclose(table["test_accuracy"], run.leaderboard()["test_accuracy"])
    assert r"valid\_accuracy" in run.as_text("latex") and r"\begin{tabular}" in run.as_text("latex")


def test_the_command_prints_them(small_benchmark, capsys):
    assert main(["report", "all", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("name,trial,learnt_from,valid_accuracy")


def test_jupyter_shows_the_leaderboard(run):
    assert "<table" in run._repr_html_() and "Scores are of test rows" in run._repr_html_()


def everything(run):
    run.leaderboard(), run.trials(), run.predictions("bayes"), run.learning_curves(), run.figures(), run._repr_html_()
    return run.optuna_study("bayes")


def test_a_moved_copy_is_read_and_nothing_is_written_there(run, tmp_path):
    copy = shutil.copytree(run.folder, tmp_path / "elsewhere")
    before = contents(tmp_path)
    everything(load_run(copy))
    assert contents(tmp_path) == before
    assert load_run(copy).leaderboard().equals(run.leaderboard())


def test_a_run_that_was_killed_before_its_end_is_read(run, tmp_path):
    copy = shutil.copytree(run.folder, tmp_path / "killed")
    for path in (copy / "ensemble", copy / "figures"):
        shutil.rmtree(path)
    (copy / "report.html").unlink()
    state = copy / "run.json"
    kept = json.loads(state.read_text())
    for name in ("members", "offered", "temperature", "latency", "environment", "test_scores"):
        kept.pop(name, None)
    state.write_text(json.dumps(kept))
    (copy / "optuna.journal").write_bytes((copy / "optuna.journal").read_bytes()[:-20])
    (copy / "trials" / "bayes" / "7.tmp").mkdir()
    killed = load_run(copy)
    everything(killed)
    assert killed.leaderboard().index.tolist() == ["bayes"]
    assert "which flatter" in killed._repr_html_()


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no run of that name"):
        load_run("nothing", tmp_path)
    assert list(tmp_path.iterdir()) == []


FILES = ["run.json", "split.npz", "optuna.journal", "trials/bayes/0/trial.json", "trials/bayes/0/result.json"]
FILES += ["trials/bayes/0/valid_probabilities.npy", "trials/bayes/1/valid_probabilities.npy", "ensemble/manifest.json"]


@pytest.mark.parametrize("how", ["gone", "empty", "cut", "other"])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_told_in_one_line_or_does_no_harm(run, tmp_path, file, how):
    path = shutil.copytree(run.folder, tmp_path / "copy") / file
    content = {"empty": b"", "cut": path.read_bytes()[: path.stat().st_size // 2], "other": b"[]\n"}
    path.unlink()
    if how != "gone":
        path.write_bytes(content[how])
    damaged = RunResults(tmp_path / "copy")
    ways = [damaged.leaderboard, damaged.trials, damaged.learning_curves, damaged._repr_html_]
    ways += [damaged.figures] if how == "gone" else []  # they draw what the leaderboard counts
    ways += [partial(damaged.predictions, *given) for given in [("ensemble",), ("bayes",), ("bayes", 0), ("bayes", 1)]]
    ways += [damaged.confusion_matrix, partial(damaged.optuna_study, "bayes"), partial(damaged.as_text, "csv")]
    for read in ways:
        try:
            read()
        except InputError as error:
            assert str(tmp_path / "copy") in str(error)
