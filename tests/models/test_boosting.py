"""Boosted trees: scores, early stopping, time limit, labels, persistence."""

import pickle
import time

import numpy as np
import pytest
import skops.io
import xgboost
from clocks import Clock
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import AdaBoostClassifier

from fmnist_bench.models import boosting
from fmnist_bench.models.boosting import LABELS, XGBoostClassifier
from fmnist_bench.pipeline import Pipeline

SMALL = {"n_jobs": 1, "n_estimators": 30, "learning_rate": 0.3, "max_depth": 3, "max_bin": 16, "random_state": 0}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.uint8)
    return X[:1400], y[:1400], X[1400:], y[1400:]


@pytest.fixture(scope="module")
def fitted(digits):
    calls = []
    model = XGBoostClassifier(**SMALL)
    model.fit(*digits[:2], validation_data=digits[2:], monitor=lambda *call: calls.append(call))
    return model, calls


def test_learns_and_reports(fitted, digits):
    model, calls = fitted
    probabilities = model.predict_proba(digits[2])
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert model.score(*digits[2:]) > 0.8
    assert [step for step, _ in calls] == model.history_["step"] == [5, 10, 15, 20, 25, 30]
    assert calls[-1][1] == pytest.approx(model.score(*digits[2:]))
    assert set(model.history_) == {"step", "fit_loss", "fit_accuracy", "valid_loss", "valid_accuracy"}


def test_parameters_clone_and_repeat(fitted, digits):
    model, _ = fitted
    params = model.get_params()
    assert params["max_bin"] == 16
    assert params["objective"] == "binary:logistic"  # what fit chose for many classes stays out of the parameters
    again, late = clone(model).set_params(max_depth=3), time.monotonic() + 600.0
    again.fit(*digits[:2], validation_data=digits[2:], deadline=late)
    np.testing.assert_array_equal(again.predict_proba(digits[2]), model.predict_proba(digits[2]))


def test_pickle_and_skops_are_exact(fitted, digits):
    model, _ = fitted
    content = skops.io.dumps(model)
    untrusted = skops.io.get_untrusted_types(data=content)
    assert untrusted == ["fmnist_bench.models.boosting.XGBoostClassifier"]
    for copy in (pickle.loads(pickle.dumps(model)), skops.io.loads(content, trusted=untrusted)):
        np.testing.assert_array_equal(copy.predict_proba(digits[2]), model.predict_proba(digits[2]))
        np.testing.assert_array_equal(copy.classes_, model.classes_)
        assert copy.history_ == model.history_


def test_trees_are_saved_as_ubjson(fitted, digits):
    content = fitted[0].__getstate__()["_Booster"]
    assert content[:1] == b"{" and content[:2] != b'{"', "binary, not text"
    alone = xgboost.Booster(model_file=bytearray(content))
    found = alone.predict(xgboost.DMatrix(digits[2]))
    np.testing.assert_allclose(found, fitted[0].predict_proba(digits[2]), atol=1e-6)


def test_early_stopping_uses_the_best_round(digits):
    model = XGBoostClassifier(**{**SMALL, "n_estimators": 500, "learning_rate": 1.0}, early_stopping_rounds=3)
    model.fit(*digits[:2], validation_data=digits[2:])
    assert model.best_iteration < 499
    copy = pickle.loads(pickle.dumps(model))
    assert copy.best_iteration == model.best_iteration
    np.testing.assert_array_equal(copy.predict_proba(digits[2]), model.predict_proba(digits[2]))


def test_without_validation_data_all_rounds_grow(digits):
    model = XGBoostClassifier(**SMALL, early_stopping_rounds=3).fit(*digits[:2])
    assert model.get_booster().num_boosted_rounds() == 30
    assert set(model.history_) == {"step", "fit_loss", "fit_accuracy"}
    assert model.get_params()["early_stopping_rounds"] == 3


@pytest.mark.parametrize("classes", [2, 3])
def test_any_labels(digits, classes):
    rows = digits[1] < classes
    names = np.array(["shirt", "bag", "coat"])[digits[1][rows]]
    model = XGBoostClassifier(**SMALL)
    for _ in range(2):  # the second fit must not stumble over the first one's labels
        model.fit(digits[0][rows], names)
    assert list(model.classes_) == sorted(set(names))
    assert model.score(digits[0][rows], names) > 0.95
    assert model.predict_proba(digits[0][rows]).shape == (rows.sum(), classes)


@pytest.mark.parametrize(
    "labels",
    [
        np.arange(1, 11),
        2.0 * np.arange(10) - 7,
        np.array([f"number {i}" for i in range(10)]),
        np.array(list("abcdefghij"), object),
    ],
)
def test_a_file_of_xgboosts_format_keeps_the_labels(fitted, digits, tmp_path, labels):
    model = XGBoostClassifier(**SMALL).fit(digits[0], labels[digits[1]])
    for name in ("model.json", "model.ubj"):
        model.save_model(tmp_path / name)
        other = XGBoostClassifier(**SMALL).fit(digits[0], digits[1] + 100)  # whose labels must go
        other.load_model(tmp_path / name)
        assert other.classes_.dtype == model.classes_.dtype
        np.testing.assert_array_equal(other.predict(digits[2]), model.predict(digits[2]))
    assert model.get_booster().attr(LABELS) is other.get_booster().attr(LABELS) is None


def test_truth_values_are_labels_of_a_file_too(digits, tmp_path):
    model = XGBoostClassifier(**SMALL).fit(digits[0], digits[1] == 3)
    model.save_model(tmp_path / "model.json")
    other = XGBoostClassifier()
    other.load_model(tmp_path / "model.json")
    assert other.classes_.tolist() == [False, True] and other.score(digits[2], digits[3] == 3) > 0.9


def test_a_file_of_xgboost_itself_answers_codes_and_ours_can_be_read_there(digits, tmp_path):
    plain = xgboost.XGBClassifier(**SMALL).fit(*digits[:2])
    plain.save_model(tmp_path / "plain.json")
    ours = XGBoostClassifier(**SMALL).fit(digits[0], digits[1] + 1)
    ours.load_model(tmp_path / "plain.json")
    np.testing.assert_array_equal(ours.predict(digits[2]), plain.predict(digits[2]))
    XGBoostClassifier(**SMALL).fit(digits[0], digits[1] + 1).save_model(tmp_path / "ours.json")
    plain.load_model(tmp_path / "ours.json")
    np.testing.assert_array_equal(plain.predict(digits[2]), ours.predict(digits[2]))


def test_a_file_with_the_labels_of_another_is_refused(digits, tmp_path):
    model = XGBoostClassifier(**SMALL).fit(digits[0], digits[1] + 1)
    model.save_model(tmp_path / "model.json")
    text = (tmp_path / "model.json").read_text()
    assert "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]" in text
    (tmp_path / "model.json").write_text(text.replace("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", "[1, 2, 3]"))
    with pytest.raises(ValueError, match="labels of shape"):
        model.load_model(tmp_path / "model.json")


def test_monitor_stops_boosting_with_a_readable_history(digits):
    class Pruned(Exception):
        pass

    def monitor(step, score):
        raise Pruned

    model = XGBoostClassifier(**SMALL)
    with pytest.raises(Pruned):
        model.fit(*digits[:2], validation_data=digits[2:], monitor=monitor)
    assert model.history_["step"] == [5]
    assert model.callbacks is None


def test_time_limit_ends_boosting(digits, monkeypatch):
    monkeypatch.setattr(boosting, "time", clock := Clock(step=0.025))
    deadline = clock.now + 2.0
    model = XGBoostClassifier(**{**SMALL, "n_estimators": 1_000_000})
    model.fit(*digits[:2], validation_data=digits[2:], deadline=deadline)
    assert deadline - 0.5 < clock.now <= deadline
    assert model.score(*digits[2:]) > 0.8


def test_one_class_is_an_error():
    with pytest.raises(ValueError, match="one class only"):
        XGBoostClassifier().fit(np.zeros((4, 2)), np.zeros(4))


def test_what_the_fit_of_the_base_takes_is_taken(digits, tmp_path):
    X, y, X_valid, y_valid = digits
    words = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    weights = np.where(y < 5, 1.0, 0.01)
    weighted = XGBoostClassifier(**SMALL).fit(X, words[y], sample_weight=weights)
    base = xgboost.XGBClassifier(**SMALL).fit(X, np.unique(words[y], return_inverse=True)[1], sample_weight=weights)
    np.testing.assert_array_equal(weighted.predict_proba(X_valid), base.predict_proba(X_valid))

    scored = [(X_valid[:200], y_valid[:200]), (X_valid[200:], y_valid[200:])]
    own = XGBoostClassifier(early_stopping_rounds=3, **{**SMALL, "n_estimators": 200}).fit(X, y, eval_set=scored)
    base = xgboost.XGBClassifier(early_stopping_rounds=3, **{**SMALL, "n_estimators": 200})
    base.fit(X, y, eval_set=scored, verbose=False)
    assert own.best_iteration == base.best_iteration < 199
    assert own.evals_result()["validation_1"]["mlogloss"] == base.evals_result()["validation_1"]["mlogloss"]
    assert "fit_loss" not in own.history_
    assert own.history_["valid_loss"][0] == own.evals_result()["validation_1"]["mlogloss"][4]

    with config_context(enable_metadata_routing=True):
        routed = Pipeline(XGBoostClassifier(**SMALL).set_fit_request(sample_weight=True))
        routed.set_fit_request(sample_weight=True).fit(X, words[y], sample_weight=weights)
    np.testing.assert_allclose(routed.predict_proba(X_valid), weighted.predict_proba(X_valid), atol=1e-6)

    longer = XGBoostClassifier(**SMALL).fit(X, y, verbose=False, xgb_model=XGBoostClassifier(**SMALL).fit(X, y))
    assert longer.get_booster().num_boosted_rounds() == 60


def test_valid_rows_beside_others_that_are_scored(digits):
    X, y, X_valid, y_valid = digits
    model = XGBoostClassifier(eval_metric="auc", **SMALL)
    further = [(X[:100], y[:100])]
    model.fit(X, y, (X_valid, y_valid), eval_set=further, sample_weight_eval_set=[np.full(100, 2.0)])
    assert list(model.evals_result()) == ["validation_0", "validation_1"]
    assert list(model.evals_result()["validation_1"]) == ["merror", "mlogloss", "auc"]  # it stops by the last one
    assert model.history_["valid_accuracy"][-1] == pytest.approx(model.score(X_valid, y_valid))


def test_an_ada_boost_of_boosted_trees_weighs_their_rows(digits):
    trees = XGBoostClassifier(**{**SMALL, "n_estimators": 3, "min_child_weight": 0})  # AdaBoost's weights sum to one
    boosted = AdaBoostClassifier(trees, n_estimators=2).fit(*digits[:2])
    assert boosted.score(*digits[2:]) > 0.5
