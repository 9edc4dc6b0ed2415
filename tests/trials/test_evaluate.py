import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.naive_bayes import GaussianNB
from troublemakers import Odd, Trouble

from fmnist_bench._utils.errors import printable
from fmnist_bench.pipeline import Pipeline
from fmnist_bench.storage.results import TrialPruned, TrialResult
from fmnist_bench.trials.evaluate import FEW_ROWS, _history, run_trial


def ignore(step, score):
    """Go on."""


def test_scores_are_those_of_the_valid_rows(digits, split):
    pipeline = Pipeline(LogisticRegression(max_iter=2000))
    result = run_trial(pipeline, digits.X, digits.y, split, ignore)
    truth = digits.y[split.validation]
    assert result.status == "complete"
    assert result.accuracy == accuracy_score(truth, result.valid_probabilities.argmax(axis=1))
    assert result.log_loss == pytest.approx(log_loss(truth, result.valid_probabilities.astype(float)), rel=1e-4)
    assert result.fit_seconds > 0
    assert result.peak_memory > 2**20
    assert np.array_equal(pipeline.predict_proba(digits.X[split.validation]), result.valid_probabilities)


def test_a_model_that_warms_up_is_measured_warm(digits, split):
    class Warming(LogisticRegression):
        warm = False

        def predict_proba(self, X):
            time.sleep(0 if self.warm else 0.5)
            self.warm = True
            return super().predict_proba(X)

    assert len(split.validation) <= FEW_ROWS
    result = run_trial(Pipeline(Warming(max_iter=2000)), digits.X, digits.y, split, ignore)
    assert result.predict_seconds < 0.4


def test_a_schedule_that_was_compressed_is_said(digits, split):
    class Compressed(LogisticRegression):
        schedule_share_ = 0.4

    result = run_trial(Pipeline(Compressed(max_iter=2000)), digits.X, digits.y, split, ignore)
    assert (result.status, result.schedule_share) == ("complete", 0.4)
    assert result.reason == "its limit left it 40 % of its schedule"
    result = run_trial(Pipeline(Trouble()), digits.X, digits.y, split, ignore)
    assert (result.schedule_share, result.reason) == (1.0, "")


def test_only_fit_rows_are_learnt(digits, split):
    class Recorder(Trouble):
        def fit(self, X, y, monitor=None):
            Recorder.seen = X
            return super().fit(X, y, monitor)

    run_trial(Pipeline(Recorder()), digits.X, digits.y, split, ignore)
    assert np.array_equal(Recorder.seen, digits.X[split.train])


def test_a_monitor_that_prunes_ends_the_trial(digits, split):
    def monitor(step, score):
        if step == 2:
            raise TrialPruned("enough")

    result = run_trial(Pipeline(Trouble("report")), digits.X, digits.y, split, monitor)
    assert (result.status, result.reason) == ("pruned", "enough")
    assert result.valid_probabilities is None


def test_missing_weights_have_a_status_of_their_own(digits, split):
    result = run_trial(Pipeline(Trouble("no_weights")), digits.X, digits.y, split, ignore)
    assert result.status == "no_weights"
    assert "get them there" in result.reason


@pytest.mark.parametrize(("kind", "words"), [("raise", "RuntimeError: no luck today"), ("nan", "not finite")])
def test_failures_have_reasons(digits, split, kind, words):
    result = run_trial(Pipeline(Trouble(kind)), digits.X, digits.y, split, ignore)
    assert result.status == "failed"
    assert words in result.reason


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("more", "predicts 15 classes, the data have 10"),
        ("columns", "predicts 9 classes, the data have 10"),
        ("rows", "predicts 299 rows for 300"),
        ("flat", "predicts an array of shape (300,), not rows of class probabilities"),
        ("negative", "predicts probabilities below zero, such as -4.61"),
        ("zeros", "predicts probabilities of a row that sum to 0, not to one"),
        ("scores", "predicts probabilities of a row that sum to 3, not to one"),
    ],
)
def test_what_are_no_class_probabilities_fails_with_one_sentence(digits, split, kind, reason):
    result = run_trial(Pipeline(Odd(kind)), digits.X, digits.y, split, ignore)
    assert (result.status, result.reason, result.valid_probabilities) == ("failed", reason, None)


def test_columns_are_in_the_order_of_the_classes_whatever_the_model_has(digits, split):
    """A model whose `classes_` are not sorted scored 93 % in its trial and 1.7 % in the report."""
    plain, odd = Pipeline(GaussianNB()), Pipeline(Odd("reversed"))
    results = [run_trial(each, digits.X, digits.y, split, ignore) for each in (plain, odd)]
    assert np.array_equal(results[0].valid_probabilities, results[1].valid_probabilities)
    assert results[0].accuracy == results[1].accuracy > 0.8
    assert odd.model_.classes_.tolist() == list(range(10))[::-1]
    assert odd.classes_.tolist() == list(range(10))


def test_an_error_cannot_say_that_the_trial_is_complete(digits, split):
    result = run_trial(Pipeline(Trouble("finished")), digits.X, digits.y, split, ignore)
    assert (result.status, "all is well" in result.reason) == ("failed", True)


def test_a_schedule_of_which_nothing_was_left_fails(digits, split):
    result = run_trial(Pipeline(Trouble("no_schedule")), digits.X, digits.y, split, ignore)
    assert result.status == "failed"
    assert "schedule_share_ is 0.0: must be above 0 and at most 1" in result.reason
    for share in (0.0, 1.5, float("nan"), "all"):
        with pytest.raises(ValueError, match="schedule_share_ is"):
            TrialResult("complete", schedule_share=share)


def test_a_history_of_another_kind_is_none(digits, split):
    result = run_trial(Pipeline(Trouble("odd_history")), digits.X, digits.y, split, ignore)
    assert (result.status, result.history) == ("complete", {})


@pytest.mark.parametrize("step", [float("nan"), float("inf"), -1, 1e30])
def test_a_history_of_steps_that_no_database_can_hold_is_none(step):
    assert _history(SimpleNamespace(history_={"step": [1, step], "loss": [0.5, 0.4]})) == {}
    assert _history(SimpleNamespace(history_={"step": [1, 2], "loss": [step, 0.4]}))["step"] == [1.0, 2.0]


def test_reasons_can_be_shown(digits, split):
    result = run_trial(Pipeline(Trouble("unprintable")), digits.X, digits.y, split, ignore)
    assert result.reason.startswith("ValueError: no file \ufffd, \ufffd]0;a title\ufffd but a bell (troublemakers.py")
    result.reason.encode()
    assert TrialResult("crashed", "a tail \udcff\r\n| \x9b2J").reason == "a tail \ufffd  | \ufffd2J"


@given(st.text(st.characters(exclude_categories=())))
def test_whatever_is_made_printable_is(text):
    assert printable(text).isprintable()
    assert printable(text).encode().decode() == printable(printable(text))
