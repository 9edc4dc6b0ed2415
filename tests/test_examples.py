"""Every example runs, as a person would run it."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

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
        "fashion_mnist.ipynb",
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


@pytest.fixture
def notebook():
    return nbformat.read(EXAMPLES / "fashion_mnist.ipynb", as_version=4)


def test_the_notebook_is_kept_without_outputs(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)


def test_the_notebook_links_to_files_and_quotes_what_they_say(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert not [link for link in re.findall(r"\]\(([^)]+)\)", text) if not (EXAMPLES / link).is_file()]
    figures = re.findall(r"\| (\d\d\.\d\d) \| (\S+ to \S+) \| .*?(?:\(([^)]+)\)|the same)", text)
    pages = [page or figures[place - 1][2] for place, (*_, page) in enumerate(figures)]
    assert len(figures) == 4
    for (accuracy, interval, _), page in zip(figures, pages, strict=True):
        assert f"| {accuracy} | {interval} |" in (EXAMPLES / page).read_text()


@pytest.mark.slow
def test_the_notebook_runs_from_its_first_cell_to_its_last(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("FMNIST_BENCH_QUICK", "1")
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "stream"], "nothing warns"
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    (board,) = notebook.cells[-2].outputs
    assert "knn" in board.data["text/plain"] and "valid_accuracy" in board.data["text/plain"]
