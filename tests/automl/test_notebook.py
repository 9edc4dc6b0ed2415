"""Three lines in an empty notebook, with a real kernel."""

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

DATA = """
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, random_state=0)
"""
THREE_LINES = """
from fmnist_bench import AutoClassifier
model = AutoClassifier(budget="10m", trials=2, studies=["knn", "logistic_regression"], random_state=0).fit(X, y)
model.score(X_test, y_test), model.leaderboard_, model.report()
"""
BESIDE = """
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
whole = make_pipeline(FunctionTransformer(lambda rows: rows * 255), model.ensemble_)
grid = GridSearchCV(make_pipeline(LogisticRegression()), {"logisticregression__C": [0.01, 1.0]}, cv=2).fit(X, y)
print(whole.score(X_test, y_test) > 0.9, grid.score(X_test, y_test) > 0.9)
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The cells of a notebook that was executed, by what they are."""
    texts = {"data": DATA, "three lines": THREE_LINES, "beside": BESIDE}
    texts |= {"leaderboard": "model.leaderboard_", "ensemble": "model.ensemble_", "run": "model.run_"}
    texts |= {"model": "model", "figure": 'model.run_.figures()["accuracy_intervals"]'}
    cells = {name: nbformat.v4.new_code_cell(text) for name, text in texts.items()}
    notebook = nbformat.v4.new_notebook(cells=list(cells.values()))
    place = str(tmp_path_factory.mktemp("notebook"))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": place}}).execute()
    return cells


def shown(cell, kind="text/html"):
    return cell.outputs[-1].data[kind]


def test_they_give_a_fitted_model_a_leaderboard_and_a_report(cells):
    table, result = cells["three lines"].outputs
    assert "used of" in table.data["text/html"] and "knn" in table.data["text/html"]
    assert "valid_accuracy" in result.data["text/plain"] and "report.html" in result.data["text/plain"]
    assert [output.output_type for output in cells["three lines"].outputs] == ["display_data", "execute_result"]


def test_the_ensemble_stands_in_a_pipeline_with_a_grid_search_beside_it(cells):
    assert cells["beside"].outputs[-1].text == "True True\n"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("leaderboard", "valid_accuracy"),
        ("ensemble", "weight"),
        ("run", "validation rows"),
        ("model", "AutoClassifier"),
    ],
)
def test_what_a_cell_ends_with_is_shown_as_html(cells, name, words):
    assert words in shown(cells[name])


def test_a_figure_is_shown_as_a_picture(cells):
    assert len(shown(cells["figure"], "image/png")) > 5000


def test_an_interrupted_cell_leaves_a_fitted_model(tmp_path):
    manager, client = start_new_kernel(cwd=str(tmp_path))
    try:
        client.execute_interactive(DATA, timeout=60)
        begun = THREE_LINES.replace("trials=2", 'trials=500, mlruns="here"')
        waiting = client.execute(begun.splitlines()[1] + "\n" + begun.splitlines()[2])

        interrupted = idle = False
        while not idle:
            message = client.get_iopub_msg(timeout=300)
            mine = message["parent_header"].get("msg_id") == waiting
            idle = mine and message["content"].get("execution_state") == "idle"
            if not interrupted and list(tmp_path.glob("here/runs/*/trials/*/*/trial.json")):
                manager.interrupt_kernel()
                interrupted = True
        printed = []
        client.execute_interactive(
            "print(model.score(X_test, y_test) > 0.5)", timeout=60, output_hook=lambda m: printed.append(m["content"])
        )
        assert {"name": "stdout", "text": "True\n"} in printed
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
