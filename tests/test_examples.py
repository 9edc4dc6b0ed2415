"""Every example runs, as a person would run it."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest

from fmnist_bench.cli import main
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.ensemble.loading import load_ensemble

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run(arena, monkeypatch, capsys):
    """Return a function that runs an example in an empty working directory and gives its lines."""

    def play(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return play


def test_there_is_a_test_for_every_example():
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == {
        "cross_validation.py",
        "own_data.py",
        "pipeline.py",
        "post.py",  # in test_servers.py, with a server
        "study.toml",
    }


def test_a_pipeline(run, small_benchmark):
    (folder,) = small_benchmark[0].glob("runs/*/ensemble")
    lines = run("pipeline.py", folder, "digits")
    expected = load_ensemble(folder).predict_proba(load_dataset("digits", "test").X[:20])
    shown = [f"class {row.argmax()}, probability {row.max():.3f}" for row in expected]
    assert lines == shown, "images that are inverted twice are those that the ensemble has learnt from"


def test_a_cross_validation(run):
    scores = dict(line.split(": accuracy ") for line in run("cross_validation.py", "digits"))
    accuracies = {name: float(words.split(",")[0]) for name, words in scores.items()}
    assert set(accuracies) == {"trees", "neighbours", "bayes", "ensemble"}
    assert accuracies["ensemble"] > accuracies["bayes"]


@pytest.mark.slow
def test_data_of_ones_own(run, tmp_path):
    *_, last = run("own_data.py")
    assert "first images [" in last
    (folder,) = tmp_path.glob("mlruns/runs/study-*/ensemble")
    assert load_ensemble(folder).n_features_in_ == 64


def test_a_study(run, tmp_path, capsys):
    shutil.copy(EXAMPLES / "study.toml", tmp_path / "mine.toml")
    assert main(["check", "mine.toml", "--data", "digits"]) == 0
    assert "1 study (mine): every configuration can be built" in capsys.readouterr().out
