"""Checkpoints: a training that was stopped goes on as if nothing had happened."""

import shutil

import keras
import numpy as np
import pytest
from clocks import Clock
from sklearn.datasets import load_digits

from fmnist_bench.models.networks import _callbacks, _checkpoint
from fmnist_bench.models.networks._checkpoint import Checkpoint, Position
from fmnist_bench.models.networks.cnn import CNNClassifier

pytestmark = pytest.mark.networks

MODEL = {
    "n_convs": 2,
    "filters": 8,
    "conv_dropout": 0.0 if keras.backend.backend() == "torch" else 0.2,  # drawn by a generator of PyTorch's own
    "shift": 1,
    "batch_size": 32,
    "epochs": 4,
    "learning_rate": 0.2,
    "optimizer": "muon",
    "precision": "float32",
    "random_state": 0,
}


class StoppedError(Exception):
    pass


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X[:600] * 15).astype(np.uint8), y[:600], (X[600:900] * 15).astype(np.uint8), y[600:900]


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(_checkpoint, "SAVE_SECONDS", 0.0)


def train(digits, path, stop_after=None, deadline=None, **changes):
    steps = []

    def monitor(step, score):
        steps.append(step)
        if step == stop_after:
            raise StoppedError

    model = CNNClassifier(**{**MODEL, **changes})
    how = {"validation_data": digits[2:], "monitor": monitor, "checkpoint": path, "deadline": deadline}
    return model.fit(*digits[:2], **how), steps


@pytest.fixture(scope="module")
def whole(digits):
    """A training that nothing has stopped."""
    return train(digits, None)[0]


@pytest.fixture(scope="module")
def stopped(digits, tmp_path_factory):
    """The checkpoint of a training that was stopped after two epochs."""
    path = tmp_path_factory.mktemp("stopped") / "training.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_checkpoint, "SAVE_SECONDS", 0.0)
        with pytest.raises(StoppedError):
            train(digits, path, stop_after=2)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return path


@pytest.fixture
def path(stopped, tmp_path):
    """A copy of it, to go on from."""
    return shutil.copy(stopped, tmp_path / "training.npz")


def test_it_goes_on_bit_for_bit(digits, whole, path):
    again, steps = train(digits, path)
    np.testing.assert_array_equal(again.predict_proba(digits[2]), whole.predict_proba(digits[2]))
    assert steps == [3, 4]
    assert again.history_["step"] == [1, 2, 3, 4]
    assert again.history_["valid_loss"] == whole.history_["valid_loss"]
    assert again.seconds_before_ > whole.seconds_before_ == 0


def test_it_goes_on_from_the_middle_of_an_epoch(digits, whole, tmp_path, monkeypatch):
    path = tmp_path / "training.npz"
    moments = iter([False, False, True])  # half an epoch, an epoch, one and a half
    monkeypatch.setattr(Checkpoint, "is_due", lambda self: next(moments, False))
    with pytest.raises(StoppedError):
        train(digits, path, stop_after=3)
    again, _ = train(digits, path)
    np.testing.assert_array_equal(again.predict_proba(digits[2]), whole.predict_proba(digits[2]))
    assert again.history_["step"] == [1, 2, 3, 4]


@pytest.mark.parametrize("changes", [{"random_state": 1}, {"filters": 4}, {"learning_rate": 0.1}])
def test_another_training_begins_anew(digits, path, changes):
    _, steps = train(digits, path, **{"epochs": 3, **changes})
    assert steps == [1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x80\x04K\x01."])
def test_a_damaged_file_is_not_read(tmp_path, content):
    path = tmp_path / "training.npz"
    path.write_bytes(content)
    assert Checkpoint(path, "one").attach(*small_network()) is None


def test_by_the_clock_the_schedule_goes_on_where_it_was(digits, path, monkeypatch):
    monkeypatch.setattr(_callbacks, "time", clock := Clock(step=0.05))
    again, _ = train(digits, path, epochs=10_000, deadline=clock.now + 4.0)
    assert again.schedule_share_ * 10_000 > 2
    assert again.history_["step"][:3] == [1, 2, 3]


def small_network():
    inputs = keras.Input((3,))
    network = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    return network, keras.optimizers.SGD(0.1, momentum=0.9)


def test_it_keeps_position_weights_and_momentum(tmp_path):
    network, optimizer = small_network()
    checkpoint = Checkpoint(tmp_path / "c.npz", "one")
    assert checkpoint.attach(network, optimizer) is None
    optimizer.apply([keras.ops.ones(variable.shape) for variable in network.trainable_variables])
    checkpoint.save(Position(7, 0.25, {"step": [1.0]}, 3.0))
    other, its_optimizer = small_network()
    assert Checkpoint(tmp_path / "c.npz", "two").attach(other, its_optimizer) is None
    again = Checkpoint(tmp_path / "c.npz", "one")
    found = again.attach(other, its_optimizer)
    again.restore()
    assert found == Position(7, 0.25, {"step": [1.0]}, 3.0)
    for mine, theirs in zip(optimizer.variables, its_optimizer.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(mine), keras.ops.convert_to_numpy(theirs))
    np.testing.assert_array_equal(network.get_weights()[0], other.get_weights()[0])


def test_a_file_that_cannot_be_written_does_not_end_the_training(digits, tmp_path, always):
    with pytest.warns(UserWarning, match="the training was not saved: .*No such file"):
        _, steps = train(digits, tmp_path / "nowhere" / "training.npz", epochs=1)
    assert steps == [1]


def test_rows_of_other_weights_are_another_training(digits, tmp_path, always):
    path, weights = tmp_path / "training.npz", np.linspace(0.5, 1.5, 600)
    model = CNNClassifier(**{**MODEL, "epochs": 2})
    model.fit(*digits[:2], validation_data=digits[2:], checkpoint=path)
    again = CNNClassifier(**{**MODEL, "epochs": 2})
    again.fit(*digits[:2], validation_data=digits[2:], checkpoint=path, sample_weight=weights)
    assert (model.seconds_before_, again.seconds_before_) == (0.0, 0.0)
