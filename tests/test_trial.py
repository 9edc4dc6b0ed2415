import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from troublemakers import Trouble

from fmnist_bench.candidate import Candidate
from fmnist_bench.trial import TrialPruned, run_trial


def ignore(step, score):
    """Go on."""


def test_scores_are_those_of_the_valid_rows(digits, split):
    candidate = Candidate(LogisticRegression(max_iter=2000))
    result = run_trial(candidate, digits.X, digits.y, split, ignore)
    truth = digits.y[split.valid]
    assert result.status == "complete"
    assert result.accuracy == accuracy_score(truth, result.valid_probabilities.argmax(axis=1))
    assert result.log_loss == pytest.approx(log_loss(truth, result.valid_probabilities.astype(float)), rel=1e-4)
    assert result.fit_seconds > 0
    assert result.peak_memory > 2**20
    assert np.array_equal(candidate.predict_proba(digits.X[split.valid]), result.valid_probabilities)


def test_a_schedule_that_was_compressed_is_said(digits, split):
    class Compressed(LogisticRegression):
        schedule_share_ = 0.4

    result = run_trial(Candidate(Compressed(max_iter=2000)), digits.X, digits.y, split, ignore)
    assert (result.status, result.schedule_share) == ("complete", 0.4)
    assert result.reason == "its limit left it 40 % of its schedule"
    result = run_trial(Candidate(Trouble()), digits.X, digits.y, split, ignore)
    assert (result.schedule_share, result.reason) == (1.0, "")


def test_only_fit_rows_are_learnt(digits, split):
    class Recorder(Trouble):
        def fit(self, X, y, monitor=None):
            Recorder.seen = X
            return super().fit(X, y, monitor)

    run_trial(Candidate(Recorder()), digits.X, digits.y, split, ignore)
    assert np.array_equal(Recorder.seen, digits.X[split.fit])


def test_a_monitor_that_prunes_ends_the_trial(digits, split):
    def monitor(step, score):
        if step == 2:
            raise TrialPruned("enough")

    result = run_trial(Candidate(Trouble("report")), digits.X, digits.y, split, monitor)
    assert (result.status, result.reason) == ("pruned", "enough")
    assert result.valid_probabilities is None


def test_missing_weights_have_a_status_of_their_own(digits, split):
    result = run_trial(Candidate(Trouble("no_weights")), digits.X, digits.y, split, ignore)
    assert result.status == "no_weights"
    assert "get them there" in result.reason


@pytest.mark.parametrize(("kind", "words"), [("raise", "RuntimeError: no luck today"), ("nan", "not finite")])
def test_failures_have_reasons(digits, split, kind, words):
    result = run_trial(Candidate(Trouble(kind)), digits.X, digits.y, split, ignore)
    assert result.status == "failed"
    assert words in result.reason
