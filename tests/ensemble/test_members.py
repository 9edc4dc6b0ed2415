"""Members of an ensemble: what they are trained on, and again."""

import time
import warnings

import numpy as np
import pytest
import xgboost
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from fmnist_bench.ensemble.members import _found, hold_out, train, with_length_found
from fmnist_bench.pipeline import Pipeline


def test_classes_are_held_out_in_proportion():
    codes = np.repeat([0, 1, 2], [60, 30, 10])
    fit, valid = hold_out(codes, 0.2, 0)
    assert sorted([*fit, *valid]) == list(range(100))
    assert list(np.bincount(codes[valid])) == [12, 6, 2]


def test_a_class_of_one_row_is_learnt_and_the_others_are_held_out():
    codes = np.array([0] * 50 + [1] + [2] * 49)
    fit, valid = hold_out(codes, 0.2, 0)
    assert 50 in fit
    assert len(valid) == 20
    assert not set(fit) & set(valid)


@pytest.mark.parametrize("codes", [[0, 1], [0, 0, 1, 1, 2], [0, 1, 2, 3]])
def test_too_few_rows_are_said(codes):
    with pytest.warns(UserWarning, match="too few rows to hold any out"):
        fit, valid = hold_out(np.array(codes), 0.9, 0)
    assert fit is valid
    assert list(fit) == list(range(len(codes)))


def test_the_shape_of_images_reaches_those_who_ask_for_it(digits):
    from fmnist_bench.models.features import ImageFeatures

    pipeline = make_pipeline(ImageFeatures("hog", cell_size=2, image_shape=None), GaussianNB(var_smoothing=0.01))
    wide = digits.X.reshape(-1, 4, 16)
    rows, how = np.arange(len(digits.X)), {"metadata": {}, "image_shape": wide.shape[1:], "n_jobs": 2}
    members = train([("asked", pipeline), ("given", pipeline.set_params())], digits.X, digits.y, rows, **how)
    asked, given = (member for _, member in members)
    assert asked[0].image_shape == given[0].image_shape == (4, 16)
    assert pipeline[0].image_shape is None


@pytest.mark.parametrize(
    ("estimator", "rounds", "settled"),
    [
        (HistGradientBoostingClassifier(max_iter=300, early_stopping=True, random_state=0), "max_iter", "n_iter_"),
        (
            GradientBoostingClassifier(n_estimators=300, n_iter_no_change=2, random_state=0),
            "n_estimators",
            "n_estimators_",
        ),
    ],
)
def test_the_rounds_that_were_found_are_trained_again_and_no_more(digits, estimator, rounds, settled):
    rows = slice(300)
    for whole, inner, done in (
        (estimator, lambda m: m, lambda m: m),
        (make_pipeline(MinMaxScaler(), estimator), lambda m: m[-1], lambda m: m[-1]),
        (Pipeline(estimator), lambda m: m.model, lambda m: m.model_),
    ):
        fitted = whole.fit(digits.X[rows] / 16, digits.y[rows])
        found = getattr(done(fitted), settled)
        assert found < 300
        again = with_length_found(whole, fitted)
        assert getattr(inner(again), rounds) == found
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scikit-learn, that this may be too few
            assert getattr(done(again.fit(digits.X[rows] / 16, digits.y[rows])), settled) <= found


def test_a_perceptron_is_trained_for_as_many_epochs_as_its_best_one_took(digits):
    perceptron = MLPClassifier([8], max_iter=300, early_stopping=True, n_iter_no_change=7, random_state=0)
    perceptron.fit(digits.X[:300] / 255, digits.y[:300])
    again = with_length_found(perceptron, perceptron)
    assert not again.early_stopping
    assert perceptron.validation_scores_[again.max_iter - 1] == perceptron.best_validation_score_
    assert again.max_iter < perceptron.n_iter_


def test_rounds_of_xgboost_and_epochs_of_a_network(digits):
    from fmnist_bench.models.boosting import XGBoostClassifier
    from fmnist_bench.models.networks.cnn import CNNClassifier

    boosted = XGBoostClassifier(n_estimators=200, early_stopping_rounds=2, max_depth=2, learning_rate=1.0)
    boosted.fit(digits.X[:800], digits.y[:800], (digits.X[800:], digits.y[800:]))
    again = with_length_found(boosted, boosted)
    assert (again.n_estimators, again.early_stopping_rounds) == (boosted.best_iteration + 1, None)
    assert again.n_estimators < 200
    hurried, soon = XGBoostClassifier(n_estimators=100_000, max_depth=2), time.monotonic() + 1.0
    again = with_length_found(hurried, hurried.fit(digits.X[:800], digits.y[:800], deadline=soon))
    assert 1 <= again.n_estimators < 100_000
    forest = xgboost.XGBRFClassifier(n_estimators=20, max_depth=2)
    assert with_length_found(forest, forest.fit(digits.X[:300], digits.y[:300])).n_estimators == 20
    network = CNNClassifier(n_convs=1, filters=4, batch_size=32, epochs=10_000, random_state=0)
    network.fit(digits.X[:300], digits.y[:300], deadline=time.monotonic() + 1.0)
    again = with_length_found(network, network)
    assert again.epochs == len(network.history_["step"])
    assert (
        with_length_found(GaussianNB(), GaussianNB().fit(digits.X, digits.y)).get_params() == GaussianNB().get_params()
    )


class Foreign(GaussianNB):
    """An estimator to which `patience` and `history_` mean something else."""

    def get_params(self, deep=True):
        return {**super().get_params(deep), "patience": 3}


@pytest.mark.parametrize(
    "history", [{}, {"valid_loss": [0.5, 0.4, 0.6]}, [1, 2], {"step": [1, 2], "valid_loss": [1, 2]}]
)
def test_what_a_foreign_estimator_calls_by_our_names_is_left_alone(digits, history):
    fitted = GaussianNB().fit(digits.X[:100], digits.y[:100])
    fitted.history_ = history
    assert with_length_found(GaussianNB(), fitted).get_params() == GaussianNB().get_params()
    foreign = Foreign().fit(digits.X[:100], digits.y[:100])
    foreign.history_ = history
    assert _found(foreign.get_params(), foreign) == {}
