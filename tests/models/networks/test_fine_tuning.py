"""Fine-tuning: a network that was scored learns from the rows that scored it."""

import shutil
import time

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from fmnist_bench.models.networks import _checkpoint, _fine_tuning
from fmnist_bench.models.networks._callbacks import TrainingCallback
from fmnist_bench.models.networks.cnn import CNNClassifier
from fmnist_bench.models.networks.hypermodel import HyperModelClassifier

pytestmark = pytest.mark.networks

MODEL = {
    "n_convs": 2,
    "filters": 8,
    "batch_size": 32,
    "epochs": 4,
    "learning_rate": 0.2,
    "precision": "float32",
    "flip": False,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X[:600] * 15).astype(np.uint8), y[:600], (X[600:1200] * 15).astype(np.uint8), y[600:1200]


@pytest.fixture
def fitted(digits):
    return CNNClassifier(**MODEL).fit(*digits[:2], validation_data=digits[2:])


def tune(model, digits, **how):
    return model.fine_tune(*digits[:2], digits[2:], **how)


def test_it_learns_from_the_rows_that_scored_it(digits, fitted):
    history, before = {**fitted.history_}, fitted.score(*digits[2:])
    assert tune(fitted, digits) is fitted
    assert fitted.score(*digits[2:]) > before
    assert fitted.history_ == history
    assert (fitted.learning_rate, fitted.epochs) == (0.2, 4)


def test_the_same_seed_gives_the_same_network(digits, fitted):
    again = CNNClassifier(**MODEL).fit(*digits[:2], validation_data=digits[2:])
    found = [tune(model, digits).predict_proba(digits[2]) for model in (fitted, again)]
    np.testing.assert_array_equal(*found)


def test_the_rate_is_lower_and_the_epochs_are_fewer(digits, fitted, monkeypatch):
    rates, epochs = [], []
    step, epoch = TrainingCallback.on_train_batch_begin, TrainingCallback.on_epoch_end

    def on_step(self, batch, logs=None):
        step(self, batch, logs)
        rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    def on_epoch(self, number, logs=None):
        epoch(self, number, logs)
        epochs.append(number)

    monkeypatch.setattr(TrainingCallback, "on_train_batch_begin", on_step)
    monkeypatch.setattr(TrainingCallback, "on_epoch_end", on_epoch)
    tune(fitted, digits)
    assert 0.09 < max(rates) <= 0.1 + 1e-6
    assert epochs == [0, 1, 2]


def test_what_is_not_decayed_in_fit_is_not_decayed_here_either(digits, monkeypatch):
    class Sparing(CNNClassifier):
        def _undecayed(self):
            return self.network_.trainable_variables[:1]

    seen, exclude = [], keras.optimizers.Optimizer.exclude_from_weight_decay

    def note(self, variables=None, names=None):
        seen.append({id(v) for v in variables})
        exclude(self, variables, names)

    monkeypatch.setattr(keras.optimizers.Optimizer, "exclude_from_weight_decay", note)
    model = tune(Sparing(**MODEL, weight_decay=0.1).fit(*digits[:2], validation_data=digits[2:]), digits)
    assert seen == [{id(model.network_.trainable_variables[0])}] * 2


def test_it_ends_in_time(digits, fitted, monkeypatch):
    monkeypatch.setattr(_fine_tuning, "EPOCHS", 10_000)
    end = time.monotonic() + 8.0
    tune(fitted, digits, deadline=end)
    assert -3.0 < time.monotonic() - end < 2.0


def test_it_goes_on_bit_for_bit(digits, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(_fine_tuning, "EPOCHS", 1.0)
    path, copy = tmp_path / "training.npz", tmp_path / "copy.npz"
    monkeypatch.setattr(_checkpoint, "SAVE_SECONDS", 0.0)
    save, before = _checkpoint.Checkpoint.save, fitted.network_.get_weights()

    def save_and_copy(self, position):
        save(self, position)
        if len(position.history["step"]) == 2 and not copy.exists():
            shutil.copy(self.path, copy)

    monkeypatch.setattr(_checkpoint.Checkpoint, "save", save_and_copy)
    whole = tune(fitted, digits, checkpoint=path).predict_proba(digits[2])
    fitted.network_.set_weights(before)
    again = tune(fitted, digits, checkpoint=copy).predict_proba(digits[2])
    np.testing.assert_array_equal(again, whole)


def test_where_it_goes_wrong_the_network_stays_as_it_was(digits, fitted, monkeypatch):
    before = fitted.predict_proba(digits[2])
    monkeypatch.setattr(_fine_tuning, "RATE", float("inf"))
    with pytest.raises(ValueError, match="the loss became"):
        tune(fitted, digits)
    np.testing.assert_array_equal(fitted.predict_proba(digits[2]), before)


def test_a_training_that_has_ended_is_not_made_again(digits, tmp_path):
    path, steps = tmp_path / "training.npz", []
    how = {"validation_data": digits[2:], "checkpoint": path}
    first = CNNClassifier(**MODEL).fit(*digits[:2], **how)
    again = CNNClassifier(**MODEL).fit(*digits[:2], monitor=lambda step, score: steps.append(step), **how)
    np.testing.assert_array_equal(again.predict_proba(digits[2]), first.predict_proba(digits[2]))
    assert steps == []


def test_a_hypermodel_trains_by_itself():
    assert not hasattr(HyperModelClassifier(), "fine_tune")
