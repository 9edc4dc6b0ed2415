import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from fmnist_bench.candidate import Candidate, save_model
from fmnist_bench.ensemble import StackedEnsemble, greedy_selection, load_ensemble, save_ensemble
from fmnist_bench.errors import InputError

SMALL = [("tree", DecisionTreeClassifier(random_state=0)), ("bayes", GaussianNB())]


@parametrize_with_checks([StackedEnsemble(SMALL), StackedEnsemble(random_state=0)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def accuracy(probabilities, weights, y):
    return (np.tensordot(weights, probabilities, 1).argmax(axis=1) == y).mean()


def sure_accuracy(member, y):
    """Accuracy where a tie counts as wrong."""
    right = np.take_along_axis(member, y[:, None], axis=1)
    others = np.where(np.arange(member.shape[1]) == y[:, None], -1.0, member)
    return (right[:, 0] > others.max(axis=1)).mean()


@given(
    arrays(np.float64, (4, 20, 3), elements=st.floats(0.01, 1)),
    arrays(np.int64, 20, elements=st.integers(0, 2)),
)
def test_selection_is_never_worse_than_the_best_member(raw, y):
    probabilities = raw / raw.sum(axis=2, keepdims=True)
    weights = greedy_selection(probabilities, y)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    best = max(sure_accuracy(member, y) for member in probabilities)
    assert accuracy(probabilities, weights, y) >= best - 1e-9


def test_selection_finds_members_that_complete_each_other():
    y = np.array([0, 0, 1, 1])
    left = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.45, 0.55]])
    right = np.array([[0.4, 0.6], [0.9, 0.1], [0.45, 0.55], [0.2, 0.8]])
    useless = np.array([[0.1, 0.9]] * 4)
    weights = greedy_selection(np.stack([useless, left, right]), y)
    assert weights.tolist() == [0, 0.5, 0.5]


def test_log_loss_breaks_ties():
    y = np.array([0, 1])
    vague = np.array([[0.6, 0.4], [0.4, 0.6]])
    sure = np.array([[0.9, 0.1], [0.1, 0.9]])
    assert greedy_selection(np.stack([vague, sure]), y).tolist() == [0, 1]
    assert log_loss(y, sure) < log_loss(y, vague)


def test_ensemble_beats_its_members_on_digits(digits, split):
    ensemble = StackedEnsemble(random_state=0).fit(digits.X[split.fit], digits.y[split.fit])
    assert ensemble.score(digits.X[split.valid], digits.y[split.valid]) > 0.95
    assert ensemble.weights_.sum() == pytest.approx(1)


def test_it_is_the_last_step_of_a_pipeline(digits):
    pipeline = make_pipeline(MinMaxScaler(), StackedEnsemble(SMALL, random_state=0))
    assert cross_val_score(pipeline, digits.X, digits.y, cv=3).mean() > 0.7


def test_from_fitted_trains_nothing(digits, split):
    X, y = digits.X[split.fit], digits.y[split.fit]
    members = [("logistic", LogisticRegression().fit(X / 255.0, y)), ("bayes", GaussianNB().fit(X, y))]
    before = members[1][1].theta_.copy()
    valid = np.stack([member.predict_proba(digits.X[split.valid] / 255.0) for _, member in members])
    ensemble = StackedEnsemble.from_fitted(members, valid, digits.y[split.valid])
    assert "logistic" in dict(ensemble.members_)
    assert np.array_equal(members[1][1].theta_, before)
    best = max(member.score(digits.X[split.valid] / 255.0, digits.y[split.valid]) for _, member in members)
    assert ensemble.score(digits.X[split.valid] / 255.0, digits.y[split.valid]) >= best


def test_a_member_that_has_not_seen_a_class(digits):
    X, y = digits.X, digits.y
    few = RandomForestClassifier(10, random_state=0).fit(X[y < 5], y[y < 5])
    ensemble = StackedEnsemble()._assemble([("few", few)], np.array([1.0]), np.arange(10))
    ensemble.n_features_in_ = 64
    assert ensemble.predict_proba(X)[:, 5:].max() == 0


@pytest.fixture
def saved(digits, tmp_path):
    members = []
    for name, model in (
        ("one", make_pipeline(MinMaxScaler(), LogisticRegression())),
        ("two", RandomForestClassifier(10, random_state=0)),
    ):
        save_model(Candidate(model).fit(digits.X, digits.y), tmp_path / f"{name}.skops")
        members.append((name, 0.5, tmp_path / f"{name}.skops"))
    save_ensemble(tmp_path / "ensemble", members, 64, digits.fingerprint, range(10))
    return tmp_path / "ensemble"


def test_a_saved_ensemble_is_the_weighted_mean_of_its_members(saved, digits):
    ensemble = load_ensemble(saved)
    members = [member.predict_proba(digits.X) for _, member in ensemble.members_]
    assert np.allclose(ensemble.predict_proba(digits.X), (members[0] + members[1]) / 2)
    assert ensemble.score(digits.X, digits.y) > 0.9
    assert make_pipeline(ensemble).predict(digits.X[:3]).shape == (3,)


def test_saving_again_replaces_the_whole_folder(saved, digits):
    save_model(Candidate(GaussianNB()).fit(digits.X, digits.y), saved.parent / "three.skops")
    save_ensemble(saved, [("three", 1.0, saved.parent / "three.skops")], 64, digits.fingerprint, range(10))
    assert sorted(p.name for p in saved.iterdir()) == ["manifest.json", "three.skops"]


def test_what_was_changed_is_refused(saved):
    member = saved / "one.skops"
    member.unlink()
    with pytest.raises(InputError, match=r"one\.skops: missing or changed"):
        load_ensemble(saved)
    member.write_bytes(b"something else")
    with pytest.raises(InputError, match=r"one\.skops: missing or changed"):
        load_ensemble(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "{", "cannot be read"),
        (lambda text: json.dumps({**json.loads(text), "format_version": 99}), "format version 99"),
    ],
)
def test_another_manifest_is_refused(saved, change, words):
    manifest = saved / "manifest.json"
    manifest.write_text(change(manifest.read_text()))
    with pytest.raises(InputError, match=words):
        load_ensemble(saved)


def test_a_path_in_the_manifest_cannot_leave_the_folder(saved):
    manifest = saved / "manifest.json"
    content = json.loads(manifest.read_text())
    content["members"][0]["file"] = "../one.skops"
    (saved / "one.skops").unlink()
    manifest.write_text(json.dumps(content))
    with pytest.raises(InputError, match="missing or changed"):
        load_ensemble(saved)
