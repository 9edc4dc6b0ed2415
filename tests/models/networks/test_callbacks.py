"""The callback of a training: learning rate, steps, scoring."""

import itertools
import math
import time

import keras
import numpy as np
import pytest
from clocks import Clock
from sklearn.base import clone

from fmnist_bench._utils import early_end
from fmnist_bench.ensemble.members import with_length_found
from fmnist_bench.models.augmentation._batch import Augment
from fmnist_bench.models.networks import _callbacks
from fmnist_bench.models.networks._backend import prepare_backend
from fmnist_bench.models.networks._batches import Batches, outputs_of
from fmnist_bench.models.networks._callbacks import PREDICT_BATCH, one_cycle, steps_per_execution
from fmnist_bench.models.networks.cnn import CNNClassifier

pytestmark = pytest.mark.networks

SMALL = {"n_convs": 2, "filters": 4, "batch_norm": False, "optimizer": "adamw", "learning_rate": 0.01, "epochs": 1}


def test_one_cycle_rises_and_falls():
    rates = [one_cycle(progress, 0.4, 0.2) for progress in np.linspace(0, 1, 11)]
    assert max(rates) == rates[2] == pytest.approx(0.4)
    assert rates[0] == pytest.approx(0.02)
    assert math.isclose(rates[-1], 0, abs_tol=1e-12)
    assert one_cycle(0.0, 0.4, 0.0) == pytest.approx(0.4)


@pytest.mark.parametrize("batches", [1, 7, 14, 15, 31, 156, 390, 468])
def test_an_epoch_is_a_pass_over_the_rows(batches):
    most = steps_per_execution(batches)
    assert most <= 10
    assert abs(round(batches / most) * most - batches) <= batches / 30


def test_a_rate_that_changes_within_an_epoch_reaches_the_weights(digits, monkeypatch):
    """JAX trains with copies of the variables; Keras brings both together when a callback asks for the model."""

    def first_convolution(rates):
        monkeypatch.setattr(_callbacks, "one_cycle", lambda *_: next(rates))
        model = CNNClassifier(**SMALL, batch_size=4, random_state=0).fit(digits.X[:160], digits.y[:160])
        return model.network_.get_weights()[0]

    still = first_convolution(itertools.repeat(0.0))
    moved = first_convolution(itertools.chain([0.0], itertools.repeat(0.01)))
    assert np.abs(moved - still).max() > 1e-3


def test_what_scoring_costs_is_measured_without_compiling(digits, monkeypatch):
    """Batches of every size that scoring has are predicted before the clock is looked at."""
    predicted = []
    network = CNNClassifier(**SMALL, batch_size=64, random_state=0)
    monkeypatch.setattr(
        _callbacks.TrainingCallback,
        "_probabilities",
        lambda own, images: predicted.append(len(images)) or np.full((len(images), 10), 0.1),
    )
    valid, deadline = (digits.X[:700], digits.y[:700]), time.monotonic() + 600.0
    network.fit(digits.X[:300], digits.y[:300], validation_data=valid, deadline=deadline)
    assert predicted == [700, 700, 700]
    assert PREDICT_BATCH + 700 % PREDICT_BATCH == 700


def course_of(digits, **parameters):
    """Make a training of 100 s whose prediction of a row was seen to take a millisecond."""
    rows = digits.X[:100].reshape(-1, 8, 8, 1)
    batches = Batches(rows, np.eye(10, dtype=np.float32)[digits.y[:100]], 10, Augment(), 0)
    model = CNNClassifier(**SMALL, **parameters)
    valid = rows, digits.y[:100]
    now = time.monotonic()
    callback = _callbacks.TrainingCallback(model, None, now, now + 100.0, batches, valid, None, n_predicted=10_000)
    callback.began, callback.seconds_per_row = now, 0.001
    return callback


def test_the_time_to_predict_the_validation_rows_is_kept_aside(digits):
    assert course_of(digits)._seconds_after_training() == pytest.approx(1.1 * (0.1 + 10))
    mirrored = course_of(digits, flip_average=True)
    assert mirrored._seconds_after_training() == pytest.approx(1.1 * (0.1 + 20))
    mirrored.seconds_per_row = 0.002
    assert mirrored._seconds_after_training() == pytest.approx(1.1 * (0.2 + 20)), "mirror images would take too much"


@pytest.mark.parametrize("late", [False, True])
def test_mirror_images_are_left_out_where_the_time_is_over(digits, late):
    callback = course_of(digits, flip_average=True)
    callback.deadline -= 90.0 if late else 0.0
    callback.on_train_end()
    assert callback.flip_average is not late


def test_the_deadline_bounds_the_prediction_of_the_validation_rows_too(digits, monkeypatch):
    monkeypatch.setattr(_callbacks, "time", clock := Clock(step=0.01))

    def slowly(own, images):
        clock.now += 0.001 * len(images)
        return np.full((len(images), 10), 0.1)

    monkeypatch.setattr(_callbacks.TrainingCallback, "_probabilities", slowly)
    many = np.tile(digits.X, (2, 1)), np.tile(digits.y, 2)
    model, deadline = CNNClassifier(**{**SMALL, "epochs": 10_000}, random_state=0), clock.now + 10.0
    model.fit(digits.X[:300], digits.y[:300], validation_data=many, deadline=deadline)
    assert deadline - 6.0 < clock.now <= deadline - 0.001 * len(many[0])


def test_it_ends_early_and_keeps_the_best_epoch(digits, monkeypatch):
    losses, seen = iter([0.9, 0.5, 0.7, 0.8, 0.1]), []

    def score(callback, images, codes):
        assert callback.model is not None  # on JAX the weights come back to the network when it is asked for
        seen.append([np.array(values) for values in callback.network.get_weights()])
        return {"valid_loss": next(losses), "valid_accuracy": 0.5}

    monkeypatch.setattr(_callbacks.TrainingCallback, "_score", score)
    wanted = CNNClassifier(**{**SMALL, "epochs": 9}, batch_size=32, patience=2, random_state=0)
    rows = digits.X[:64], digits.y[:64]
    fitted = clone(wanted).fit(*rows, validation_data=rows)
    assert fitted.history_["valid_loss"] == [0.9, 0.5, 0.7, 0.8]
    assert fitted.schedule_share_ == 1.0, "no limit of time has ended it"
    kept = fitted.network_.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(kept, seen[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(kept, seen[3], strict=True))
    settled = with_length_found(wanted, fitted)
    assert (settled.epochs, settled.patience) == (2, None)
    assert len(clone(wanted).fit(*rows).history_["step"]) == 9, "without rows to score none is better than another"


def test_outputs_are_those_of_all_rows_in_their_order():
    prepare_backend("float32")  # a test before may have left bfloat16 on
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    rows = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    expected = rows @ network.get_weights()[0]
    np.testing.assert_allclose(outputs_of(network, rows, 3), expected, atol=1e-5)
    np.testing.assert_allclose(outputs_of(network, rows[:1], 3), expected[:1], atol=1e-5)


def test_a_network_may_have_several_inputs():
    inputs = [keras.Input((3,)), keras.Input((3,))]
    network = keras.Model(inputs, keras.layers.Subtract()(inputs))
    rows = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_allclose(outputs_of(network, [rows, 2 * rows], 3), -rows, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a graph of TensorFlow")
def test_any_number_of_rows_is_computed_by_two_graphs():
    traced = []

    class Counting(keras.layers.Layer):
        def call(self, inputs):
            traced.append(inputs.shape)
            return inputs

    inputs = keras.Input((3,))
    network = keras.Model(inputs, Counting()(inputs))
    traced.clear()
    for n in (1, 2, 7, 5, 9):
        outputs_of(network, np.zeros((n, 3), np.float32), 3)
    assert traced == [(1, 3), (None, 3)]


def test_a_training_that_is_asked_to_end_early_ends_its_schedule(digits, monkeypatch):
    monkeypatch.setattr(early_end._End, "moment", math.inf)
    rates = []

    def monitor(epoch, accuracy):
        rates.append(float(callback.model.optimizer.learning_rate))
        if epoch == 2:
            early_end.ask(1.0)

    class Kept(_callbacks.TrainingCallback):
        def on_train_begin(self, logs=None):
            nonlocal callback
            callback = self
            super().on_train_begin(logs)

    callback = None
    monkeypatch.setattr("fmnist_bench.models.networks._base.TrainingCallback", Kept)
    network = CNNClassifier(**{**SMALL, "epochs": 10_000}, warm_up=0.0, batch_size=64, random_state=0)
    network.fit(digits.X[:640], digits.y[:640], validation_data=(digits.X[:100], digits.y[:100]), monitor=monitor)
    assert network.schedule_share_ < 0.5
    assert rates[1] > 0.009 > rates[-1], "the learning rate falls to its end"
