import hypermodels
import keras
import keras_tuner
import numpy as np
import pytest
from clocks import Clock
from sklearn.base import clone

from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.probabilities import read_probabilities
from fmnist_bench.models.networks._hypermodel_network import are_logits
from fmnist_bench.models.networks.hypermodel import HyperModelClassifier
from fmnist_bench.models.saved import load_model, save_model
from fmnist_bench.pipeline import Pipeline
from fmnist_bench.trials.predictor import predict_in_worker

pytestmark = pytest.mark.networks

ALWAYS, DENSE, CONV = [], [["kind", ["dense"]]], [["kind", ["conv"]]]


@pytest.fixture(scope="module")
def rows(digits, split):
    """Return train and validation rows and labels of the digits."""
    fit, valid = split.train[:600], split.validation
    return digits.X[fit], digits.y[fit], (digits.X[valid], digits.y[valid])


@pytest.fixture(scope="module")
def conv(rows):
    """Return a fitted classifier and what it has reported."""
    X, y, valid = rows
    reports = []
    values = {"kind": "conv", "filters": 6, "pooled": True, "pool": 2, "rate": 0.02}
    model = HyperModelClassifier(hypermodels.Conditional(), epochs=4, batch_size=50, random_state=0, **values)
    return model.fit(X, y, validation_data=valid, monitor=lambda *report: reports.append(report)), reports


def test_outputs_that_are_seen_late_are_counted_too(rows):
    few = np.isin(rows[1], [0, 1, 2])
    with pytest.raises(ValueError, match="hypermodels.Unbuilt has 4 outputs for 3 classes"):
        HyperModelClassifier(hypermodels.Unbuilt(), epochs=1).fit(rows[0][few], rows[1][few])


@pytest.mark.parametrize(
    ("outputs", "logits"),
    [
        ([[0.1, 0.9], [0.503, 0.5]], False),
        ([[0.1, 0.9], [2.0, 3.0]], True),
        ([[0.1, 0.9], [-1.0, 2.0]], True),
        ([[0.1], [1.0]], False),
        ([[0.1], [1.1]], True),
        ([[-0.1], [0.5]], True),
    ],
)
def test_logits_are_what_are_no_probabilities(outputs, logits):
    assert are_logits(np.array(outputs)) is logits


def test_every_scope_is_entered():
    assert HyperModelClassifier.discover(hypermodels.Conditional()) == [
        {"name": "kind", "choices": ["dense", "conv"], "when": ALWAYS},
        {"name": "units", "low": 16, "high": 64, "log": False, "step": 16, "when": DENSE},
        {"name": "rate", "low": 1e-3, "high": 1e-1, "log": True, "step": None, "when": ALWAYS},
        {"name": "filters", "low": 4, "high": 16, "log": True, "step": None, "when": CONV},
        {"name": "pooled", "choices": [True, False], "when": CONV},
        {"name": "pool", "choices": [2], "when": [*CONV, ["pooled", [True]]]},
    ]


def test_what_is_asked_for_without_a_scope_is_found_as_well():
    found = {entry.pop("name"): entry for entry in HyperModelClassifier.discover(hypermodels.Layered())}
    assert set(found) == {"batch_size", "layers", "units_0", "units_1", "units_2", "dropout", "share"}
    assert found["share"] == {"low": 0.1, "high": 0.5, "log": False, "step": 0.1, "when": ALWAYS}
    assert found["units_2"] == {"low": 8, "high": 32, "log": False, "step": None, "when": ALWAYS}


class Scales(hypermodels.OneOutput):
    def build(self, hp):
        hp.Int("stepped", 6, 13, step=3)
        hp.Int("doubled", 2, 20, step=2, sampling="log")
        hp.Float("single", 0.5, 0.5)
        return super().build(hp)


def test_steps_become_what_a_study_can_say():
    found = {entry["name"]: entry for entry in HyperModelClassifier.discover(Scales())}
    assert (found["stepped"]["low"], found["stepped"]["high"], found["stepped"]["step"]) == (6, 12, 3)
    assert found["doubled"]["choices"] == [2, 4, 8, 16]
    assert found["single"]["choices"] == [0.5]
    assert found["rate"]["choices"] == [0.001, 0.01, 0.1]


class Lambda(keras_tuner.HyperModel):
    def build(self, hp):
        layers = [keras.Input((64,)), keras.layers.Lambda(lambda x: 2 * x), keras.layers.Dense(10)]
        return keras.Sequential(layers)


@pytest.mark.parametrize(
    ("hypermodel", "message"),
    [
        (hypermodels.NoNetwork, "NoNetwork.build must return a keras.Model, found None"),
        (hypermodels.Ambiguous, "units has other values in another scope: give each a name of its own"),
        (Lambda, "(?i)lambda"),
    ],
)
def test_what_cannot_be_searched_is_refused(hypermodel, message):
    with pytest.raises(ValueError, match=message):
        HyperModelClassifier.discover(hypermodel())


class TooLarge(hypermodels.OneOutput):
    def build(self, hp):
        if hp.Int("size", 1, 9) > 5:
            raise keras_tuner.errors.FailedTrialError("the network would be too large")
        return super().build(hp)


def test_values_that_build_no_network_are_for_the_trials_to_find(rows):
    found = {entry["name"]: entry for entry in HyperModelClassifier.discover(TooLarge())}
    assert (found["size"]["low"], found["size"]["high"]) == (1, 9)
    assert "rate" in found


def test_values_reach_the_network_and_its_accuracy_the_monitor(conv, rows):
    model, reports = conv
    X, y = rows[2]
    probabilities = model.predict_proba(X)
    accuracy = (model.predict(X) == y).mean()
    assert accuracy > 0.8
    assert [step for step, _ in reports] == [1, 2, 3, 4]
    assert reports[-1][1] == pytest.approx(accuracy, abs=1e-6)
    assert model.history_["valid_accuracy"] == [score for _, score in reports]
    assert set(model.history_) == {"step", "fit_loss", "fit_accuracy", "valid_loss", "valid_accuracy"}
    assert probabilities.dtype == np.float32 and np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    kinds = [type(layer).__name__ for layer in model.network_.layers]
    assert kinds == ["InputLayer", "Conv2D", "MaxPooling2D", "Flatten", "Dense"]
    assert model.network_.layers[1].filters == 6
    assert not model.logits_


def test_one_hot_labels_logits_and_a_fit_of_its_own(rows):
    X, y, valid = rows
    values = {"layers": 2, "units_0": 32, "units_1": 24, "batch_size": 32}
    model = HyperModelClassifier(hypermodels.Layered, epochs=8, random_state=0, **values)
    model.fit(X, y, validation_data=valid)
    assert model.logits_
    assert model.score(*valid) > 0.7
    assert len(model.history_["step"]) == 8
    assert [layer.units for layer in model.network_.layers if hasattr(layer, "units")] == [32, 24, 10]
    assert np.allclose(model.predict_proba(valid[0]).sum(axis=1), 1, atol=1e-6)


def test_one_output_for_two_classes(rows):
    X, y, (X_valid, y_valid) = rows
    two = np.array(["no", "yes"])
    model = HyperModelClassifier(hypermodels.OneOutput(), epochs=8, divide_by=16, random_state=0, rate=0.01)
    model.fit(X, two[(y == 0).astype(int)], validation_data=(X_valid, two[(y_valid == 0).astype(int)]))
    assert list(model.classes_) == ["no", "yes"]
    assert model.score(X_valid, two[(y_valid == 0).astype(int)]) > 0.95
    assert len(model.history_["valid_accuracy"]) == 8  # counted here: the HyperModel has no metric


def test_a_loop_of_its_own_and_a_layer_of_its_own(rows, tmp_path):
    X, y, valid = rows
    model = Pipeline(HyperModelClassifier(hypermodels.OwnLayer(), random_state=0))
    model.fit(X, y, validation_data=valid)
    assert model.score(*valid) > 0.3
    assert model.model_.logits_ and model.model_.history_ == {}
    path = tmp_path / "model.skops"
    save_model(model, path)
    predict_in_worker(path, valid[0], tmp_path / "out.npy", ["hypermodels"])
    expected = model.predict_proba(valid[0])
    assert np.allclose(read_probabilities(tmp_path / "out.npy", *expected.shape), expected, atol=1e-3)
    with pytest.raises(InputError, match="hypermodels.OwnLayer"):
        load_model(path)


def test_a_network_of_keras_alone_loads_without_its_hypermodel(conv, rows, tmp_path):
    save_model(conv[0], tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops")
    assert loaded.hypermodel == "hypermodels.Conditional"
    assert np.array_equal(loaded.predict_proba(rows[2][0]), conv[0].predict_proba(rows[2][0]))
    with pytest.raises(ValueError, match=r"hypermodel='hypermodels.Conditional': must be a keras_tuner.HyperModel"):
        loaded.fit(*rows[:2])


def test_values_are_parameters():
    model = HyperModelClassifier(hypermodels.Conditional(), epochs=3, kind="dense", **{"deep/units": 32})
    assert model.get_params()["deep/units"] == 32
    copy = clone(model).set_params(kind="conv", epochs=4, filters=8)
    assert copy.get_params() == {**copy.get_params(), "kind": "conv", "deep/units": 32, "epochs": 4, "filters": 8}
    assert (model.get_params()["kind"], model.epochs) == ("dense", 3)
    assert "kind='dense'" in repr(model)


def test_equal_seeds_repeat_bit_for_bit(rows):
    X, y, (X_valid, _) = rows
    ours = [HyperModelClassifier(hypermodels.Conditional, random_state=seed, epochs=1).fit(X, y) for seed in (3, 3, 4)]
    first, again, other = (model.predict_proba(X_valid) for model in ours)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_exception_of_the_monitor_stops_the_training(rows):
    X, y, valid = rows

    def monitor(step, score):
        raise KeyError(f"enough after {step}")

    with pytest.raises(KeyError, match="enough after 1"):
        HyperModelClassifier(hypermodels.Conditional, epochs=50).fit(X, y, validation_data=valid, monitor=monitor)


def test_training_ends_in_time(rows, monkeypatch):
    X, y, valid = rows
    monkeypatch.setattr("fmnist_bench.models.networks.hypermodel.time", clock := Clock(step=0.01))
    model, deadline = HyperModelClassifier(hypermodels.Conditional, epochs=100_000), clock.now + 2.0
    model.fit(X, y, validation_data=valid, deadline=deadline)
    assert deadline - 0.3 < clock.now <= deadline
    assert model.history_["step"] and model.score(*valid) > 0.3


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (HyperModelClassifier(hypermodels.Conditional(7)), "hypermodels.Conditional has 7 outputs for 10 classes"),
        (HyperModelClassifier(hypermodels.Conditional(), epochs=0), "epochs=0: must be above 0 or None"),
        (HyperModelClassifier(hypermodels.Conditional(), divide_by=0), "divide_by=0: must be above 0"),
        (HyperModelClassifier(), "hypermodel=None: must be a keras_tuner.HyperModel, or its class"),
        (HyperModelClassifier(hypermodels.Conditional(), rate=1e30), "the loss became"),
    ],
)
def test_what_cannot_be_trained_is_refused(rows, model, message):
    with pytest.raises(ValueError, match=message):
        model.set_params(random_state=0).fit(*rows[:2])


def test_weights_are_passed_on_to_the_hypermodel(rows):
    X, y, (X_valid, _) = rows
    model = HyperModelClassifier(hypermodels.Plain(), epochs=10, divide_by=16, random_state=0)
    one = model.fit(X, y, sample_weight=np.where(y == 3, 1.0, 0.0)).predict(X_valid)
    assert set(one) == {3}
    assert len(set(model.set_params(class_weight="balanced").fit(X, y).predict(X_valid))) > 3
