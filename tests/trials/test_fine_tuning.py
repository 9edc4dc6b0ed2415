import time
import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fmnist_bench._utils import early_end
from fmnist_bench.pipeline import Pipeline
from fmnist_bench.trials.evaluate import run_trial
from fmnist_bench.trials.fine_tuning import LEAST, SHARE, end_of_schedule, fine_tuned


class Learner(LogisticRegression):
    """It learns everything anew; what is called, and with what, is what matters."""

    fails = False

    def fine_tune(self, X, y, validation_data, checkpoint=None, deadline=None):
        if self.fails:
            raise RuntimeError("no luck today")
        self.seen_, self.checkpoint_ = len(X) + len(validation_data[0]), checkpoint
        return self.fit(np.concatenate([X, validation_data[0]]), np.concatenate([y, validation_data[1]]))


@pytest.fixture
def scored(digits, split):
    pipeline = Pipeline(Learner(max_iter=2000))
    return pipeline, run_trial(pipeline, digits.X, digits.y, split, lambda step, score: None)


def tune(scored, digits, split, seconds=60.0, checkpoint=None):
    pipeline, result = scored
    return fine_tuned(pipeline, digits.X, digits.y, split, result, checkpoint, time.monotonic() + seconds)


def test_two_fifths_of_the_time_are_kept_where_that_pays():
    assert end_of_schedule(100.0, 1100.0) == 700.0
    assert end_of_schedule(100.0, 100.0 + LEAST / SHARE - 1) == 100.0 + LEAST / SHARE - 1


def test_scores_are_those_of_before(digits, split, scored, tmp_path):
    (pipeline, before), checkpoint = scored, tmp_path / "cnn-123.npz"
    after = tune(scored, digits, split, checkpoint=checkpoint)
    assert pipeline.fine_tuned_
    assert pipeline.model_.seen_ == len(split.train) + len(split.validation)
    assert pipeline.model_.checkpoint_ == tmp_path / "cnn-123-fine-tuning.npz"
    assert (after.accuracy, after.log_loss) == (before.accuracy, before.log_loss)
    np.testing.assert_array_equal(after.valid_probabilities, before.valid_probabilities)
    assert not np.array_equal(pipeline.predict_proba(digits.X[split.validation]), before.valid_probabilities)
    assert after.fine_tuned == pytest.approx(len(split.validation) / len(split.train))
    assert after.fit_seconds > before.fit_seconds


@pytest.mark.parametrize("why", ["no time", "asked to end"])
def test_it_is_left_out(digits, split, scored, why, monkeypatch):
    if why == "asked to end":
        monkeypatch.setattr(early_end._End, "moment", time.monotonic() + 1)
    assert tune(scored, digits, split, seconds=60.0 if why == "asked to end" else 1.0) is scored[1]
    assert not scored[0].fine_tuned_


def test_where_it_fails_the_scored_model_is_kept(digits, split, scored):
    scored[0].model_.fails = True
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert tune(scored, digits, split) is scored[1]
    assert "the model is the one that was scored: RuntimeError: no luck today" in str(found[-1].message)
    assert not scored[0].fine_tuned_
