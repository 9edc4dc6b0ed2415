import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from fmnist_bench.ensemble.selection import (
    FOLDS,
    Combination,
    fit_temperature,
    greedy_selection,
    learn_combination,
    log_features,
    weighted_mean,
    with_temperature,
)


@pytest.fixture
def three():
    """Return what two fair members and a useless one predict for 600 rows of four classes, and the labels."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 4, 600)
    logits = generator.normal(0, 1, (3, 600, 4))
    logits[:2, np.arange(600), y] += 2.0
    exponents = np.exp(logits)
    return exponents / exponents.sum(axis=2, keepdims=True), y


@given(
    arrays(np.float64, (4, 20, 3), elements=st.floats(0.01, 1)),
    arrays(np.int64, 20, elements=st.integers(0, 2)),
)
def test_selection_is_never_worse_than_the_best_member(raw, y):
    probabilities = raw / raw.sum(axis=2, keepdims=True)
    weights = greedy_selection(probabilities, y)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    losses = [log_loss(y, member, labels=[0, 1, 2]) for member in probabilities]
    assert log_loss(y, weighted_mean(probabilities, weights), labels=[0, 1, 2]) <= min(losses) + 1e-9


def test_a_member_that_is_too_modest_gets_the_weight_it_deserves(three):
    probabilities, y = three
    modest = np.stack([with_temperature(probabilities[0], 3.0), probabilities[1]])
    raw, learned = greedy_selection(modest, y), learn_combination(modest, y)
    assert learned.temperatures[0] < 0.5 < learned.temperatures[1]
    assert learned.weights[0] > raw[0]
    assert np.allclose(learned.weights, learn_combination(probabilities[:2], y).weights, atol=0.05)
    assert log_loss(y, learned.apply(modest)) < log_loss(y, weighted_mean(modest, raw))


def test_selection_finds_members_that_complete_each_other():
    y = np.array([0, 0, 1, 1])
    left = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.45, 0.55]])
    right = np.array([[0.4, 0.6], [0.9, 0.1], [0.45, 0.55], [0.2, 0.8]])
    useless = np.array([[0.1, 0.9]] * 4)
    weights = greedy_selection(np.stack([useless, left, right]), y)
    assert weights.tolist() == [0, 0.5, 0.5]


def test_the_member_with_the_lower_log_loss_is_chosen():
    y = np.array([0, 1])
    vague = np.array([[0.6, 0.4], [0.4, 0.6]])
    sure = np.array([[0.9, 0.1], [0.1, 0.9]])
    assert greedy_selection(np.stack([vague, sure]), y).tolist() == [0, 1]
    assert log_loss(y, sure) < log_loss(y, vague)


def test_no_more_than_what_members_may_cost():
    y = np.array([0, 0, 1, 1])
    left = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.45, 0.55]])
    right = np.array([[0.4, 0.6], [0.9, 0.1], [0.45, 0.55], [0.2, 0.8]])
    both = np.stack([left, right])
    assert greedy_selection(both, y, costs=[1, 2], max_cost=3).tolist() == [0.5, 0.5]
    assert greedy_selection(both, y, costs=[1, 2], max_cost=2.9).tolist() in ([1, 0], [0, 1])
    assert greedy_selection(both, y, costs=[3, 2], max_cost=2).tolist() == [0, 1]
    with pytest.raises(ValueError, match="the cheapest member costs 2"):
        greedy_selection(both, y, costs=[3, 2], max_cost=1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_spoiled_probabilities_is_found(three, temperature):
    fair, y = weighted_mean(three[0], [0.5, 0.5, 0]), three[1]
    before = fit_temperature(fair, y)
    spoiled = with_temperature(fair, 1 / temperature)
    assert fit_temperature(spoiled, y) == pytest.approx(before * temperature, rel=0.01)
    repaired = with_temperature(spoiled, fit_temperature(spoiled, y))
    assert log_loss(y, repaired) <= log_loss(y, spoiled) + 1e-3  # it allows for one wrong row more
    assert np.allclose(repaired.sum(axis=1), 1)
    assert (repaired.argmax(axis=1) == fair.argmax(axis=1)).all()


def test_rows_that_are_all_right_do_not_make_the_model_as_sure_as_can_be():
    y = np.arange(300) % 3
    found = fit_temperature(np.full((300, 3), 0.2) + 0.4 * np.eye(3)[y], y)
    sure = with_temperature(np.array([[0.6, 0.2, 0.2]]), found)[0, 0]
    assert sure == pytest.approx(301 / 302, abs=1e-4)


@given(arrays(np.float64, (7, 3), elements=st.floats(0, 1)), st.floats(0.05, 20))
def test_a_temperature_keeps_the_order_and_the_sum(raw, temperature):
    probabilities = (raw + 1e-3) / (raw + 1e-3).sum(axis=1, keepdims=True)
    scaled = with_temperature(probabilities, temperature)
    assert np.allclose(scaled.sum(axis=1), 1)
    assert np.allclose(with_temperature(probabilities, 1.0), probabilities)
    best = probabilities.argmax(axis=1)
    assert (scaled[np.arange(7), best] >= scaled.max(axis=1) - 1e-12).all()


def test_a_stacker_sees_through_a_useless_member(three):
    probabilities, y = three
    half = slice(0, 300), slice(300, 600)
    learned = learn_combination(probabilities[:, half[0]], y[half[0]], "logistic")
    assert learned.weights.argmin() == 2
    assert learned.weights.sum() == pytest.approx(1)
    stacked = learned.apply(probabilities[:, half[1]])
    mean = learn_combination(probabilities[:, half[0]], y[half[0]], "mean").apply(probabilities[:, half[1]])
    assert log_loss(y[half[1]], stacked) < log_loss(y[half[1]], mean)


def test_the_temperature_of_a_stacker_is_that_of_rows_it_was_not_fitted_on(three):
    probabilities, y = np.repeat(three[0], 4, axis=0)[:, :90], three[1][:90]  # many features, few rows
    learned = learn_combination(probabilities, y, "logistic")
    features, folds = log_features(probabilities), StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    outside = cross_val_predict(clone(learned.stacker), features, y, cv=folds, method="predict_proba")
    assert learned.temperature == pytest.approx(fit_temperature(outside, y))
    inside = fit_temperature(learned.stacker.predict_proba(features), y)
    assert learned.temperature > 1.02 * inside, "it would be too sure of itself"


def test_without_calibration_the_mean_stays_as_it_is(three):
    probabilities, y = three
    learned = learn_combination(probabilities, y, "mean", calibrate=False)
    assert (learned.temperature, learned.stacker) == (1.0, None)
    assert np.allclose(learned.apply(probabilities), probabilities.mean(axis=0))
    assert np.allclose(Combination(learned.weights).apply(probabilities), probabilities.mean(axis=0))


def test_a_stack_of_members_that_say_nothing_weighs_them_alike():
    says_nothing = np.full((2, 8, 2), 0.5)
    assert learn_combination(says_nothing, np.arange(8) % 2, "logistic").weights.tolist() == [0.5, 0.5]


def test_a_stack_gives_a_class_that_it_has_not_seen_a_column_of_its_own():
    generator = np.random.default_rng(0)
    y = generator.choice([0, 2], 200)
    probabilities = np.full((2, 200, 3), 0.05)
    probabilities[:, np.arange(200), y] = 0.9
    combined = learn_combination(probabilities, y, "logistic").apply(probabilities)
    assert combined.shape == (200, 3)
    assert (combined.argmax(axis=1) == y).all()
    assert combined[:, 1].max() < 1e-6


def test_members_that_fit_together_stay_affordable_however_one_rounds():
    y = np.array([0, 1] * 30)
    rng = np.random.default_rng(0)
    for _ in range(20):
        members = rng.dirichlet([1, 1], (3, len(y)))
        found = learn_combination(members, y, costs=(0.1, 0.2, 0.3), max_cost=0.6)  # 0.3 + 0.2 + 0.1 is above 0.6
        assert np.isclose(found.weights.sum(), 1)
    assert 0.1 + 0.2 + 0.3 > 0.6 >= 0.3 + 0.2 + 0.1
