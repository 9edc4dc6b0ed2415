"""`AutoClassifier` over arrays in memory: real searches of a second or two on digits."""

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from fmnist_bench import AutoClassifier, InputError, load_ensemble, load_run
from fmnist_bench.automl.results import RunResults
from fmnist_bench.automl.searching import refitted
from fmnist_bench.ensemble.estimator import StackedEnsemble

pytestmark = pytest.mark.usefixtures("no_figures")  # the report of `model` alone has them
ROOT = Path(__file__).parents[2]
BAYES = '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = { low = 1e-3, high = 1e-1, log = true }\n'
FOREST = """
[model]
use = "sklearn.ensemble.RandomForestClassifier"
n_estimators = { low = 20, high = 60 }
[[default]]
n_estimators = 50
"""
images, numbers = load_digits(return_X_y=True)
images = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
WORDS = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
X, y, X_test, y_test = images[:900], WORDS[numbers[:900]], images[900:1500], WORDS[numbers[900:1500]]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with two quick studies."""
    folder = tmp_path_factory.mktemp("home")
    for name, text in {"bayes.toml": BAYES, "forest.toml": FOREST}.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def make(home):
    """Return a function that makes an unfitted model of the two studies; all share a folder of results."""

    def build(**parameters):
        studies = [home / "bayes.toml", home / "forest.toml"]
        quick = {"studies": studies, "trials": 1, "mlruns": home / "mlruns", "verbose": 0, "random_state": 0}
        return AutoClassifier(**quick | parameters)

    return build


@pytest.fixture(scope="module")
def model(make):
    """A fitted model for those who change nothing of it."""
    return make().fit(X, y)


def test_it_predicts_the_labels_that_it_was_given(model):
    assert model.score(X_test, y_test) > 0.9
    assert model.classes_.tolist() == sorted(WORDS)
    assert set(model.predict(X_test[:50])) <= set(WORDS)
    probabilities = model.predict_proba(X_test[:5])
    assert probabilities.shape == (5, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert model.ensemble_.classes_.tolist() == model.best_estimator_.classes_.tolist() == sorted(WORDS)
    assert model.n_features_in_ == 64
    assert is_classifier(model)


def test_the_leaderboard_holds_numbers_by_validation_rows_and_no_test_scores(model):
    board = model.leaderboard_
    assert board.index[0] == "ensemble" and set(board.index[1:]) == {"bayes", "forest"}
    assert board["valid_accuracy"].between(0, 1).all() and board["valid_accuracy"].dtype.kind == "f"
    assert not [column for column in board if column.startswith("test")]
    assert board["learnt_from"].tolist()[1:] == [1.0, 1.0] and np.isnan(board["learnt_from"].iloc[0])
    assert set(model.trials_["study"]) == {"bayes", "forest"}
    report = model.report().read_text()
    assert "validation rows right" in report and "There were no test rows" in report


def test_images_rows_and_frames_of_the_same_pixels_are_predicted_alike(model):
    rows = X_test[:20].reshape(20, -1)
    expected = model.predict_proba(X_test[:20])
    np.testing.assert_array_equal(model.predict_proba(rows), expected)
    np.testing.assert_array_equal(model.predict_proba(rows.astype(float)), expected)
    with pytest.raises(ValueError, match="pixels from 0 to 1"):
        model.predict(rows / 255)
    with pytest.raises(ValueError, match="fitted on images of"):
        model.predict(X_test[:5].reshape(5, 4, 16))


def test_a_test_set_is_opened_once_and_its_rows_of_fit_are_counted(make):
    model = make(studies=[make().studies[0]]).fit(X, y)
    with pytest.raises(InputError, match="all its rows are among those of fit"):
        model.report(X, y)
    assert not kept(model).keys() & {"test_set_opened", "handed_over"}
    some = np.concatenate([X_test, X[:7]]), np.concatenate([y_test, y[:7]])
    page = model.report(*some)
    assert "607 test rows right" in page.read_text()
    assert "7 of 607 test rows are among those of fit" in page.read_text()
    assert kept(model)["test_set_opened"] == 1, "the report without test rows has opened none"
    assert model.leaderboard_.loc["ensemble", "test_accuracy"] == pytest.approx(model.score(*some))
    model.report(*some)
    assert model.report() == page
    with pytest.raises(InputError, match="another test set has been opened"):
        model.report(X_test, y_test)
    with pytest.raises(InputError, match="label 'ten' does not occur"):
        model.report(X_test, np.full(len(y_test), "ten"))
    with pytest.raises(InputError, match="X_test and y_test"):
        model.report(X_test)


def kept(model):
    """What ``run.json`` of its run holds."""
    return json.loads((model.run_.folder / "run.json").read_text())


def test_rows_and_labels_are_equally_many_and_else_no_test_set_is_opened(make, model):
    with pytest.raises(InputError, match="y_valid: 2 labels for the 3 rows of X_valid"):
        make().fit(X, y, validation_data=(X_test[:3], y_test[:2]))
    with pytest.raises(InputError, match="y: 599 labels for the 600 rows"):
        model.report(X_test, y_test[:-1])
    assert not kept(model).keys() & {"test_set_opened", "handed_over"}


def test_a_model_that_is_given_up_in_the_report_leaves_the_ensemble_at_once(make):
    model = make().fit(X, y)
    assert "forest-0" in dict(model.ensemble_.members_)
    model.run_.model_file("forest", 0).unlink()
    model.report(X_test, y_test)
    assert list(dict(model.ensemble_.members_)) == ["bayes-0"]
    assert type(model.best_estimator_.get_params()["model"]).__name__ == "GaussianNB"
    again = load_ensemble(model.run_.folder / "ensemble")
    np.testing.assert_allclose(model.predict_proba(X_test), again.predict_proba(X_test.reshape(600, -1)))


def test_a_run_whose_folder_was_moved_is_not_reported_and_nothing_is_made(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = make(studies=[make().studies[0]], mlruns=tmp_path / "first").fit(X[:300], y[:300])
    (tmp_path / "first").rename(tmp_path / "second")
    for given in ((), (X_test, y_test)):
        with pytest.raises(InputError, match="the run is gone; where it was moved"):
            model.report(*given)
    assert [path.name for path in tmp_path.iterdir()] == ["second"]
    model.run_ = load_run(next((tmp_path / "second" / "runs").iterdir()))
    assert "600 test rows right" in model.report(X_test, y_test).read_text()


def test_images_of_two_channels_are_refused_before_the_search(make, tmp_path):
    with pytest.raises(InputError, match="images of 2 channels"):
        make(mlruns=tmp_path).fit(np.stack([X, X], axis=-1), y)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "labels",
    [
        numbers > 4,
        *(
            pytest.param(labels, marks=pytest.mark.slow)
            for labels in (WORDS[numbers].astype(object), numbers + 5, numbers.astype(float))
        ),
    ],
)
def test_labels_of_any_kind_come_back_as_they_are(make, labels):
    model = make(studies=[make().studies[0]]).fit(images[:600], labels[:600])
    assert model.predict(images[:3]).dtype == labels.dtype
    assert model.classes_.tolist() == np.unique(labels).tolist()
    assert model.score(images[:600], labels[:600]) > 0.8
    assert model.ensemble_.score(images[:600], labels[:600]) > 0.8


def test_validation_rows_that_are_given_choose(make):
    model = make(studies=[make().studies[0]]).fit(X, y, validation_data=(X_test, y_test))
    assert model.run_.predictions("ensemble")["label"].tolist() == y_test.tolist()
    with pytest.raises(InputError, match="label 'ten'"):
        make().fit(X, y, validation_data=(X_test[:2], ["one", "ten"]))


def test_a_frame_keeps_its_columns(make):
    frame = pd.DataFrame(X.reshape(len(X), -1)).add_prefix("pixel")
    model = make(studies=[make().studies[0]]).fit(frame, pd.Series(y, dtype="category"))
    assert model.feature_names_in_[:2].tolist() == ["pixel0", "pixel1"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[frame.columns[::-1]])


def test_weights_of_rows_are_refused(make):
    with pytest.raises(TypeError, match="sample_weight"):
        make().fit(X, y, sample_weight=np.ones(len(X)))


def test_it_is_saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "kept")
    model.save(tmp_path / "kept")
    again = AutoClassifier.load(tmp_path / "kept")
    np.testing.assert_array_equal(again.predict(X_test), model.predict(X_test))
    assert again.classes_.tolist() == model.classes_.tolist()
    pd.testing.assert_series_equal(again.leaderboard_["valid_accuracy"], model.leaderboard_["valid_accuracy"])
    assert load_ensemble(tmp_path / "kept" / "ensemble").classes_.tolist() == sorted(WORDS)
    with pytest.raises(InputError, match="not a saved ensemble"):
        AutoClassifier.load(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is no saved classifier"):
        model.save(tmp_path / "mine")


@pytest.mark.parametrize("place", ["notes.txt", "ensemble/notes.txt"])
def test_a_folder_that_holds_anything_else_is_not_replaced(model, tmp_path, place):
    model.save(tmp_path / "kept")
    (tmp_path / "kept" / place).write_text("mine")
    with pytest.raises(InputError, match="is there and is no saved"):
        model.save(tmp_path / "kept")
    assert (tmp_path / "kept" / place).read_text() == "mine"
    assert AutoClassifier.load(tmp_path / "kept").classes_.tolist() == sorted(WORDS)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "classifier.json").write_text("{}")
    with pytest.raises(InputError, match="is there and is no saved"):
        model.save(tmp_path / "alone")
    with pytest.raises(InputError, match="is there and is no saved"):
        model.save(tmp_path / "alone" / "classifier.json")


def test_it_is_pickled_and_cloned(model):
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X_test), model.predict(X_test))
    assert clone(model).get_params() == model.get_params()


def test_it_stands_in_a_pipeline_on_any_scale_and_a_grid_search_beside_it(make):
    flat = FunctionTransformer(lambda images: images.reshape(len(images), -1))
    odd = FunctionTransformer(lambda rows: (rows / 255.0 - 0.3) / 0.2)
    with pytest.warns(UserWarning, match="smallest is taken for black"):
        whole = make_pipeline(flat, odd, make(studies=[make().studies[0]])).fit(X, y)
    assert whole.score(X_test, y_test) > 0.7
    model = whole[-1]
    grid = GridSearchCV(make_pipeline(flat, LogisticRegression(max_iter=20)), {"logisticregression__C": [0.01]}, cv=2)
    grid.fit(X[:200] / 255, y[:200])
    assert model.ensemble_.score(X_test.reshape(600, -1), y_test) > 0.7


def test_seeds_are_runs_and_the_best_by_validation_rows_is_the_model(make):
    model = make(studies=[make().studies[0]], seeds=2, mlruns=None).fit(X, y)
    scores = [run.leaderboard().loc["ensemble", "valid_accuracy"] for run in model.runs_]
    assert [json.loads((run.folder / "run.json").read_text())["seed"] for run in model.runs_] == [0, 1000]
    assert model.run_ is model.runs_[scores.index(max(scores))]
    assert model.leaderboard_.loc["ensemble", "valid_accuracy"] == max(scores)
    last = model.runs_[-1]
    del model
    assert last.folder.is_dir(), "the folder stays as long as any of its runs"
    home = last.folder.parents[1]
    del last
    gc.collect()  # an exception that a library caught while it was imported may hold the frame of `fit`
    assert not home.exists()


def test_refit_trains_the_models_on_all_rows(make):
    model = make(studies=[make().studies[0]], refit="full").fit(X, y)
    plain = load_ensemble(model.run_.folder / "ensemble")
    before, after = (dict(each.members_)["bayes-0"].model_ for each in (plain, model.ensemble_))
    assert after.class_count_.sum() == len(X) > before.class_count_.sum()
    np.testing.assert_array_equal(model.ensemble_.weights_, plain.weights_)
    assert any(model.best_estimator_ is member for _, member in model.ensemble_.members_)
    before = model.predict_proba(X_test)
    model.report(X_test, y_test)
    np.testing.assert_array_equal(model.predict_proba(X_test), before)
    assert model.score(X_test, y_test) > 0.7


def test_a_network_that_was_fine_tuned_is_not_trained_again(make):
    model = make(studies=[make().studies[0]]).fit(X, y)
    tuned, plain = model.ensemble_.members_[0][1], clone(model.best_estimator_).fit(X[:300], y[:300])
    tuned.fine_tuned_ = True
    ensemble = StackedEnsemble.from_fitted([("tuned", tuned), ("plain", plain)], np.full((2, 4, 10), 0.1), y[:4])
    ensemble.members_ = [("tuned", tuned), ("plain", plain)]
    dataset = model._dataset(X, y, None)
    again, best = refitted(ensemble, tuned, dataset)
    assert again.members_[0][1] is best is tuned
    assert again.members_[1][1].model_.class_count_.sum() == len(X)


def test_where_no_trial_completes_the_first_reason_is_told(make, home):
    study = home / "wrong.toml"
    study.write_text('[model]\nuse = "sklearn.naive_bayes.GaussianNB"\npriors = [0.5, 0.25]\n')
    with pytest.raises(InputError, match="no trial was complete; the first failed so: "):
        make(studies=[study]).fit(X, y)


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"studies": ["bays"]}, "no study"),
        ({"budget": "3s"}, "budget"),
        ({"n_jobs": 0}, "workers 0"),
        ({"trials": 0}, "trials 0"),
        ({"seeds": 0}, "seeds 0: must be a whole number of at least 1"),
        ({"refit": "yes"}, "refit 'yes': must be one of no, networks, full"),
    ],
)
def test_parameters_that_cannot_be_used_are_told_in_one_line(make, parameters, words):
    with pytest.raises(InputError, match=words):
        make(**parameters).fit(X, y)


def python(text, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, timeout=300, cwd=ROOT, **options
    )


def test_its_import_loads_nothing_heavy_and_says_nothing():
    done = python(
        """
        import sys
        from fmnist_bench import AutoClassifier
        print(*sorted({"sklearn", "numpy", "pandas", "tensorflow", "mlflow"} & set(sys.modules)))
        """
    )
    assert (done.stdout, done.stderr) == ("\n", "")


SCRIPT = """
import asyncio, sys, threading
from sklearn.datasets import load_digits
from fmnist_bench import AutoClassifier

print("main")
X, y = load_digits(return_X_y=True)
model = AutoClassifier(studies=[sys.argv[1]], trials=1, verbose=0, random_state=0)
way = sys.argv[2]
if way == "plain":
    model.fit(X / 16, y)
elif way == "thread":
    thread = threading.Thread(target=model.fit, args=(X / 16, y))
    thread.start()
    thread.join()
else:
    async def main():
        model.fit(X / 16, y)
        await asyncio.to_thread(model.fit, X / 16, y)
    asyncio.run(main())
print(round(model.score(X / 16, y), 3) > 0.7)
"""


@pytest.mark.parametrize(
    "way", ["asyncio", *(pytest.param(way, marks=pytest.mark.slow) for way in ("plain", "thread"))]
)
def test_a_script_needs_no_guard_of_its_main_part(home, way, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(home / "bayes.toml"), way],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "main\nTrue\n", done.stderr
    assert done.stderr == ""


def test_ctrl_c_ends_the_search_and_leaves_a_fitted_model(make, tmp_path):
    def interrupt():
        while not list(tmp_path.glob("runs/*/trials/bayes/*/trial.json")):
            time.sleep(0.2)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    model = make(studies=make().studies[:1], trials=None, budget="20m", mlruns=tmp_path).fit(X, y)
    assert model.score(X_test, y_test) > 0.7


def test_a_run_in_memory_is_read_by_its_folder(model):
    assert isinstance(model.run_, RunResults)
    assert load_run(model.run_.folder).leaderboard().equals(model.leaderboard_)


@pytest.mark.slow
@parametrize_with_checks(
    [AutoClassifier(trials=1, verbose=0)],
)
def test_scikit_learn_checks(estimator, check, tmp_path_factory, home):
    studies = [home / "bayes.toml", home / "forest.toml"]
    check(estimator.set_params(studies=studies, mlruns=home / "checks", random_state=0))
