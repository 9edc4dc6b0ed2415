import time
import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fmnist_bench._utils import early_end
from fmnist_bench.models.saved import load_model
from fmnist_bench.pipeline import Pipeline
from fmnist_bench.trials.evaluate import run_trial
from fmnist_bench.trials.fine_tuning import LEAST, SHARE, end_of_schedule, fine_tuned


class Learner(LogisticRegression):
    """It learns everything anew; what is called, and with what, is what matters."""

    fails = ""

    def fine_tune(self, X, y, validation_data, checkpoint=None, deadline=None):
        if self.fails == "raises":
            raise RuntimeError("no luck today")
        if self.fails == "worse":
            return self.fit(X, np.roll(y, 1))
        self.seen_, self.checkpoint_ = len(X) + len(validation_data[0]), str(checkpoint)
        return self.fit(np.concatenate([X, validation_data[0]]), np.concatenate([y, validation_data[1]]))


@pytest.fixture
def folder(tmp_path):
    """The folder of a trial, with the model that was scored."""
    (tmp_path / "model.skops").write_bytes(b"scored")
    return tmp_path


@pytest.fixture
def scored(digits, split):
    pipeline = Pipeline(Learner(max_iter=2000))
    return pipeline, run_trial(pipeline, digits.X, digits.y, split, lambda step, score: None)


def tune(scored, digits, split, folder, seconds=60.0, checkpoint=None):
    pipeline, result = scored
    end = time.monotonic() + seconds
    return fine_tuned(pipeline, digits.X, digits.y, split, result, folder, checkpoint, end, (Learner.__module__,))


def test_two_fifths_of_the_time_are_kept_where_that_pays():
    assert end_of_schedule(100.0, 1100.0) == 700.0
    assert end_of_schedule(100.0, 100.0 + LEAST / SHARE - 1) == 100.0 + LEAST / SHARE - 1


def test_scores_are_those_of_before_and_the_model_that_of_after(digits, split, scored, folder):
    (pipeline, before), checkpoint = scored, folder / "cnn-123.npz"
    after = tune(scored, digits, split, folder, checkpoint=checkpoint)
    assert pipeline.fine_tuned_
    assert pipeline.model_.seen_ == len(split.train) + len(split.validation)
    assert pipeline.model_.checkpoint_ == str(folder / "cnn-123-fine-tuning.npz")
    assert (after.accuracy, after.log_loss) == (before.accuracy, before.log_loss)
    np.testing.assert_array_equal(after.valid_probabilities, before.valid_probabilities)
    assert after.fine_tuned == pytest.approx(len(split.validation) / len(split.train))
    assert after.fit_seconds > before.fit_seconds
    model = load_model(folder / "model.skops", (Learner.__module__,))
    kept = np.load(folder / "fine_tuned_probabilities.npy")
    first = split.validation[: len(kept)]
    np.testing.assert_array_equal(model.predict_proba(digits.X[first]), kept)
    assert not np.array_equal(kept, before.valid_probabilities[: len(kept)])
    assert sorted(path.name for path in folder.iterdir()) == ["fine_tuned_probabilities.npy", "model.skops"]


@pytest.mark.parametrize("why", ["no time", "asked to end"])
def test_it_is_left_out(digits, split, scored, folder, why, monkeypatch):
    if why == "asked to end":
        monkeypatch.setattr(early_end._End, "moment", time.monotonic() + 1)
    assert tune(scored, digits, split, folder, seconds=60.0 if why == "asked to end" else 1.0) is scored[1]
    assert not scored[0].fine_tuned_


@pytest.mark.parametrize(
    ("kind", "words"),
    [("raises", "RuntimeError: no luck today"), ("worse", "it predicts the rows that it learnt from worse")],
)
def test_where_it_goes_wrong_the_model_that_was_scored_stays(digits, split, scored, folder, kind, words):
    scored[0].model_.fails = kind
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert tune(scored, digits, split, folder) is scored[1]
    assert words in str(found[-1].message)
    assert (folder / "model.skops").read_bytes() == b"scored"
    assert [path.name for path in folder.iterdir()] == ["model.skops"]
