"""Convolutional classifiers: training, budget, errors, persistence, architecture."""

import math
import os
import pickle
import random
import re
import time
from collections import Counter

import keras
import numpy as np
import pytest
import skops.io
import tensorflow as tf
from clocks import Clock
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.utils.validation import check_is_fitted

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.dataset import Split
from fmnist_bench.ensemble.estimator import StackedEnsemble
from fmnist_bench.models.augmentation._batch import Augment
from fmnist_bench.models.networks import _backend, _callbacks
from fmnist_bench.models.networks._backend import is_out_of_memory
from fmnist_bench.models.networks._batches import Batches
from fmnist_bench.models.networks._callbacks import TrainingCallback, not_finite
from fmnist_bench.models.networks._layers import PatchWhitening
from fmnist_bench.models.networks._training import train_network
from fmnist_bench.models.networks.cnn import CNNClassifier
from fmnist_bench.models.saved import load_model, save_model
from fmnist_bench.pipeline import Pipeline
from fmnist_bench.trials.evaluate import run_trial

pytestmark = pytest.mark.networks

SMALL = {"filters": 8, "batch_size": 32, "epochs": 4, "flip": False, "learning_rate": 0.2, "random_state": 0}
TINY = {**SMALL, "n_convs": 1, "convs_per_block": 1, "epochs": 1}  # where any network will do


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X = (X * 15).astype(np.uint8)
    return X[:1400], y[:1400], X[1400:], y[1400:]


@pytest.fixture(scope="module")
def fitted(digits):
    X, y, X_valid, y_valid = digits
    calls = []
    model = CNNClassifier(**SMALL).fit(X, y, (X_valid, y_valid), monitor=lambda *call: calls.append(call))
    return model, calls


def layer_counts(model, image_shape=(28, 28, 1), n_classes=10):
    layers = model._build(image_shape, n_classes).layers
    return Counter(type(layer).__name__ for layer in layers)


def test_learns_and_reports_each_epoch(fitted, digits):
    model, calls = fitted
    probabilities = model.predict_proba(digits[2])
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert model.score(digits[2], digits[3]) > 0.85
    assert [step for step, _ in calls] == model.history_["step"] == [1, 2, 3, 4]
    assert [score for _, score in calls] == model.history_["valid_accuracy"]
    assert calls[-1][1] == pytest.approx(model.score(digits[2], digits[3]))
    assert set(model.history_) == {"step", "fit_loss", "fit_accuracy", "valid_loss", "valid_accuracy"}
    assert model.history_["fit_loss"][-1] < model.history_["fit_loss"][0]


def test_same_seed_same_output_and_clone(fitted, digits):
    model, _ = fitted
    again = clone(model)
    assert again.get_params() == model.get_params()
    with pytest.raises(ValueError, match="not fitted"):
        check_is_fitted(again)
    again.fit(*digits[:2], validation_data=digits[2:])
    np.testing.assert_array_equal(again.predict_proba(digits[2]), model.predict_proba(digits[2]))


def test_pickle_and_skops_are_exact(fitted, digits):
    model, _ = fitted
    content = skops.io.dumps(model)
    untrusted = skops.io.get_untrusted_types(data=content)
    assert untrusted == ["fmnist_bench.models.networks.cnn.CNNClassifier"]
    for copy in (pickle.loads(pickle.dumps(model)), skops.io.loads(content, trusted=untrusted)):
        np.testing.assert_array_equal(copy.predict_proba(digits[2]), model.predict_proba(digits[2]))
        assert copy.history_ == model.history_
        assert copy.get_params() == model.get_params()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused(fitted, tmp_path, share):
    path = tmp_path / "network.skops"
    save_model(fitted[0], path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"network\.skops: not a readable model file"):
        load_model(path)


@pytest.fixture(scope="module")
def wide(digits):
    """A network for images of four rows, whose pixels lie between whole numbers."""
    images = 0.97 * digits[0][:64].reshape(-1, 4, 16)
    return CNNClassifier(**TINY).fit(images, digits[1][:64])


def test_images_of_another_shape_are_refused(wide, digits):
    assert wide.network_.input_shape == (None, 4, 16, 1)
    with pytest.raises(ValueError, match=r"images of \(8, 8\): this model was fitted on images of \(4, 16\)"):
        wide.predict(digits[0][:5].reshape(-1, 8, 8))


def test_pixels_between_whole_numbers_are_known_by_their_scale(wide, digits):
    X = digits[0][:64] * 0.97
    with pytest.raises(ValueError, match="was fitted on pixels from 0 to 255"):
        wide.predict(X / 255)
    with pytest.raises(ValueError, match="channels must be last"):
        CNNClassifier(**TINY).fit(np.moveaxis(X.reshape(-1, 8, 8, 1), -1, 1), digits[1][:64])


@pytest.mark.parametrize(("channels", "kind"), [(1, np.uint8), (3, np.float64)])
def test_networks_are_members_that_take_images_of_any_kind(digits, channels, kind):
    images = np.repeat(digits[0].reshape(-1, 8, 8, 1), channels, axis=3).astype(kind)
    images = images[..., 0] if channels == 1 else images
    network = CNNClassifier(n_convs=2, **{**SMALL, "epochs": 8})
    ensemble = StackedEnsemble([("network", network)], random_state=0).fit(images[:600], digits[1][:600])
    member = dict(ensemble.members_)["network"]
    assert member.network_.input_shape == (None, 8, 8, channels)
    expected = ensemble.predict_proba(images[600:700])
    for same in (images[600:700].reshape(100, -1), images[600:700].reshape(100, 8, 8, channels)):
        for other in (np.uint8, np.float32):
            np.testing.assert_allclose(ensemble.predict_proba(same.astype(other)), expected, atol=1e-6)
    assert ensemble.score(images[600:], digits[1][600:]) > 0.5


def test_one_convolution_by_hand():
    model = CNNClassifier(
        n_convs=1, convs_per_block=1, batch_norm=False, head="flatten", n_dense=1, dropout=0.5, logit_scale=1.0
    )
    counts = layer_counts(model)
    assert (counts["Conv2D"], counts["MaxPooling2D"], counts["Dense"], counts["Dropout"]) == (1, 1, 2, 1)
    assert counts["FusedBatchNormalization"] == 0


def test_four_convolutions_by_hand():
    model = CNNClassifier(n_convs=4, head="flatten", n_dense=2, dense_units=512, conv_dropout=0.1, dropout=0.3)
    counts = layer_counts(model)
    assert (counts["Conv2D"], counts["MaxPooling2D"], counts["Dense"]) == (4, 2, 3)
    assert (counts["Dropout"], counts["FusedBatchNormalization"]) == (5, 6)
    dense = [layer.units for layer in model._build((28, 28, 1), 10).layers if isinstance(layer, keras.layers.Dense)]
    assert dense == [512, 128, 10]


@pytest.mark.parametrize("pool", ["after", "before"])
def test_six_convolutions(pool):
    network = CNNClassifier(pool=pool)._build((28, 28, 1), 10)
    counts = Counter(type(layer).__name__ for layer in network.layers)
    assert (counts["Conv2D"], counts["MaxPooling2D"], counts["GlobalMaxPooling2D"]) == (6, 2, 1)
    assert 288_000 < network.count_params() < 290_000


def test_early_pooling_and_whitened_patches():
    network = CNNClassifier(pool="early", whiten=True, filters=48)._build((28, 28, 1), 10)
    planes = [layer.output.shape[1:] for layer in network.layers if "Conv2D" in type(layer).__name__]
    assert planes == [(27, 27, 48), (13, 13, 48), (13, 13, 96), (6, 6, 96), (6, 6, 192), (3, 3, 192)]
    assert sum(isinstance(layer, PatchWhitening) for layer in network.layers) == 1


def test_residual_and_separable_blocks():
    residual = layer_counts(CNNClassifier(block="residual"))
    assert (residual["Add"], residual["Conv2D"], residual["AveragePooling2D"]) == (3, 9, 2)
    separable = layer_counts(CNNClassifier(block="separable"))
    assert (separable["Conv2D"], separable["SeparableConv2D"]) == (1, 5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"block": "residual"},
        {"optimizer": "adamw", "learning_rate": 0.01},
        {"optimizer": "muon", "whiten": True, "pool": "early", "learning_rate": 0.4},
        {"optimizer": "muon", "block": "separable"},
    ],
)
def test_every_kind_of_block_and_optimizer_learns(digits, arguments):
    model = CNNClassifier(**{**SMALL, "shift": 1, "erase": 0.1, "epochs": 8, **arguments}).fit(*digits[:2])
    assert model.score(*digits[2:]) > 0.8


@pytest.mark.parametrize("shape", [(2, 2, 1), (5, 9, 3)])  # the smallest, and one that halves to odd sides
@pytest.mark.parametrize("head", ["flatten", "max", "average"])
@pytest.mark.parametrize("block", ["plain", "residual"])
@pytest.mark.parametrize("pool", ["after", "early"])
def test_any_shape_builds(shape, head, block, pool):
    model = CNNClassifier(head=head, block=block, pool=pool, whiten=pool == "early", convs_per_block=1)
    assert model._build(shape, 3).output_shape == (None, 3)


@pytest.mark.parametrize(
    ("precision", "gpu", "policy"),
    [("auto", False, "float32"), ("auto", True, "mixed_bfloat16"), ("mixed_bfloat16", False, "mixed_bfloat16")],
)
def test_precision_touches_this_network_alone(precision, gpu, policy, monkeypatch):
    monkeypatch.setattr(_backend, "_sees_gpu", lambda: gpu)
    model = CNNClassifier(precision=precision)
    model.classes_ = np.arange(3)
    network = model._build_network(np.eye(8, dtype=np.uint8).reshape(1, 8, 8, 1))
    convolutions = [layer for inner in network.layers if hasattr(inner, "layers") for layer in inner.layers]
    assert {layer.dtype_policy.name for layer in convolutions if layer.weights} == {policy}
    assert network.layers[-1].dtype_policy.name == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_flips_and_their_average_with_colours_strings_and_few_rows():
    generator = np.random.default_rng(0)
    labels = np.repeat(["shirt", "bag"], 20)
    X = generator.integers(0, 100, (40, 6, 8, 3))
    X[:20, :3] += 150  # the upper half is bright: flips from left to right keep that
    model = CNNClassifier(
        n_convs=2, filters=8, epochs=30, batch_size=64, image_shape=(6, 8, 3), flip_average=True, random_state=1
    )
    model.fit(X.reshape(40, -1), labels)
    assert list(model.classes_) == ["bag", "shirt"]
    assert model.score(X.reshape(40, -1), labels) > 0.9
    mirrored = X[:, :, ::-1].reshape(40, -1)
    np.testing.assert_allclose(model.predict_proba(mirrored), model.predict_proba(X.reshape(40, -1)), atol=1e-3)
    assert set(model.history_) == {"step", "fit_loss", "fit_accuracy"}


def test_rows_are_scored_after_an_epoch_without_their_mirror_images(digits):
    model = CNNClassifier(**TINY | {"flip_average": True}).fit(*digits[:2], validation_data=digits[2:])
    losses = {
        average: log_loss(digits[3], model.set_params(flip_average=average).predict_proba(digits[2]))
        for average in (False, True)
    }
    assert model.history_["valid_loss"][-1] == pytest.approx(losses[False], rel=1e-4)
    assert losses[False] != pytest.approx(losses[True], rel=1e-4)


def test_monitor_stops_training_with_a_readable_history(digits):
    class Pruned(Exception):
        pass

    def monitor(step, score):
        if step == 2:
            raise Pruned

    model = CNNClassifier(**SMALL)
    with pytest.raises(Pruned):
        model.fit(*digits[:2], validation_data=digits[2:], monitor=monitor)
    assert model.history_["step"] == [1, 2]
    assert len(model.history_["valid_accuracy"]) == 2


def test_time_limit_completes_the_schedule(digits, monkeypatch):
    monkeypatch.setattr(_callbacks, "time", clock := Clock(step=0.01))
    rates, deadline = [], clock.now + 2.0

    def note(course, batch, logs=None):
        follow(course, batch, logs)
        rates.append(float(course.model.optimizer.learning_rate))

    follow = TrainingCallback.on_train_batch_begin
    monkeypatch.setattr(TrainingCallback, "on_train_batch_begin", note)
    model = CNNClassifier(**{**SMALL, "epochs": 10_000}).fit(*digits[:2], validation_data=digits[2:], deadline=deadline)
    assert clock.now == pytest.approx(deadline, abs=0.2), "to a few looks at the clock"
    assert max(rates) > 0.9 * model.learning_rate
    assert rates[-1] < 0.1 * model.learning_rate
    assert 1 <= len(model.history_["step"]) < 10_000
    assert model.schedule_share_ == pytest.approx(len(model.history_["step"]) / 10_000, abs=2e-4)
    assert model.score(*digits[2:]) > 0.8


def test_a_limit_that_is_over_before_the_training_begins_is_said(digits):
    with pytest.warns(UserWarning, match=r"the deadline was over when the training began: it made \d+ steps"):
        CNNClassifier(**TINY).fit(*digits[:2], deadline=time.monotonic())


def test_infinite_loss_is_an_error_at_once(digits):
    parameters = {"learning_rate": 1e30, "batch_norm": False, "epochs": 50}
    last = r"(none was finite|last finite loss [\d.e+]+)"  # TensorFlow makes ten steps before anybody looks
    with pytest.raises(ValueError, match=rf"in epoch \d+, {last}: lower learning_rate=1e\+30"):
        CNNClassifier(**{**SMALL, **parameters}).fit(*digits[:2])
    assert not_finite(math.inf, 3, 2.5) == "the loss became inf in epoch 3, last finite loss 2.5"


def test_infinite_loss_is_a_row_that_says_when(digits):
    model = CNNClassifier(**{**SMALL, "learning_rate": 1e30, "batch_norm": False, "epochs": 50})
    rows = np.arange(len(digits[0]))
    result = run_trial(Pipeline(model), *digits[:2], Split(rows[:1000], rows[1000:]), lambda step, score: None)
    assert result.status == "failed"
    assert re.search(r"the loss became \S+ in epoch \d+, (none was finite|last finite loss)", result.reason)


def test_what_is_scored_after_an_epoch_is_of_all_classes(digits, monkeypatch):
    monkeypatch.setattr("fmnist_bench.models.networks._base.LEAST_SCORED", 100)
    X, y = digits[0], digits[1]
    order = np.argsort(y)
    scored = []
    monkeypatch.setattr(
        TrainingCallback, "_score", lambda course, images, codes: scored.append(codes) or {"valid_accuracy": 0.0}
    )
    CNNClassifier(**TINY).fit(X[:200], y[:200], (X[order], y[order]))
    assert len(scored[0]) == 100
    assert set(scored[0]) == set(range(10))


def test_networks_are_trained_one_at_a_time_as_seeds_are_of_the_process(digits):
    from joblib import Parallel, delayed

    X, y = digits[0][:300], digits[1][:300]
    models = [CNNClassifier(**{**TINY, "random_state": seed}) for seed in (1, 2)]
    apart = [clone(model).fit(X, y).predict_proba(X) for model in models]
    together = Parallel(2, prefer="threads")(delayed(clone(model).fit)(X, y) for model in models)
    for one, other in zip(apart, together, strict=True):
        np.testing.assert_array_equal(one, other.predict_proba(X))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the others compute as they are told")
@pytest.mark.parametrize(
    ("flags", "precision", "rewritten"),
    [
        ("amx_bf16", "auto", True),
        ("avx512_bf16", "auto", True),
        ("amx_bf16", "float32", False),
        ("avx2", "auto", False),
    ],
)
def test_bfloat16_is_chosen_where_the_processor_has_it(flags, precision, rewritten, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : fpu sse2 {flags}\n")
    monkeypatch.setattr(_backend, "CPUINFO", tmp_path / "cpuinfo")
    chosen = {}
    monkeypatch.setattr(tf.config.optimizer, "set_experimental_options", chosen.update)
    _backend.prepare_backend(precision)
    assert chosen == {"auto_mixed_precision_onednn_bfloat16": rewritten}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="asks TensorFlow")
def test_a_gpu_is_used_in_mixed_precision_and_lends_memory_as_needed(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"])
    assert _backend.dtype_policy("auto") == "mixed_bfloat16"
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true", "TensorFlow takes nearly all of it otherwise"
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false", "JAX takes three quarters of it otherwise"


def test_training_leaves_the_random_generators_of_the_process_alone(digits):
    np.random.seed(1)
    random.seed(1)
    before = np.random.get_state()[1].tolist(), random.getstate()
    CNNClassifier(**TINY).fit(*digits[:2])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before


def test_only_jax_compiles(fitted):
    assert fitted[0].network_.jit_compile is (keras.backend.backend() == "jax")


def test_mixed_precision_trains(digits):
    model = CNNClassifier(**{**SMALL, "precision": "mixed_bfloat16"}).fit(*digits[:2])
    assert model.network_.layers[-1].compute_dtype == "float32"
    assert "bfloat16" in {layer.compute_dtype for layer in model.network_.layers}
    assert model.score(*digits[2:]) > 0.7


@pytest.fixture
def little_memory(monkeypatch):
    """Memory for batches of up to 16 rows."""

    def train(estimator, batches, *others):
        if batches.batch_size > 16:
            raise tf.errors.ResourceExhaustedError(None, None, f"OOM when allocating {batches.batch_size} rows")
        train_network(estimator, batches, *others)

    monkeypatch.setattr("fmnist_bench.models.networks._base.train_network", train)


def test_a_batch_that_does_not_fit_is_halved_once_and_said(digits, little_memory):
    X, y = digits[0][:200], digits[1][:200]
    with pytest.warns(UserWarning, match="batch_size=32 does not fit in memory"):
        model = CNNClassifier(**TINY).fit(X, y)
    same = CNNClassifier(**{**TINY, "batch_size": 16}).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), same.predict_proba(X))
    with (
        pytest.raises(MemoryError, match="OOM when allocating 32 rows"),
        pytest.warns(UserWarning, match="batch_size=64"),
    ):
        CNNClassifier(**{**TINY, "batch_size": 64}).fit(X, y)
    with pytest.warns(UserWarning, match="batch_size=20"):
        assert CNNClassifier(**{**TINY, "batch_size": 500}).fit(X[:20], y[:20])  # 20 rows are halved, not 500


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (np._core._exceptions._ArrayMemoryError((2**50,), np.dtype("u1")), True),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[128,64]"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"), True),
        (tf.errors.InvalidArgumentError(None, None, "Incompatible shapes"), False),
        (ValueError("the loss became nan"), False),
    ],
)
def test_running_out_of_memory_is_known_by_the_words_of_the_back_ends(error, expected):
    assert is_out_of_memory(error) is expected


def test_one_row_in_a_batch(digits):
    model = CNNClassifier(**{**TINY, "batch_size": 1, "n_dense": 1}).fit(digits[0][:40], digits[1][:40])
    assert np.isfinite(model.predict_proba(digits[0][:40])).all()


@pytest.mark.parametrize(
    ("parameters", "labels", "message"),
    [
        ({"epochs": 0}, [0, 1], "epochs=0: must be at least 1"),
        ({"batch_size": 0}, [0, 1], "batch_size=0: must be at least 1"),
        ({"block": "dense"}, [0, 1], "block='dense': must be one of plain, residual, separable"),
        ({"precision": "mixed_float16"}, [0, 1], "precision='mixed_float16': must be one of auto, float32, mixed_bf"),
        ({"optimizer": "lion"}, [0, 1], "optimizer='lion': must be one of sgd, adamw, muon"),
        ({"erase": 2}, [0, 1], "erase=2: must be"),
        ({"learning_rate": -1.0}, [0, 1], "learning_rate=-1.0: must be above 0"),
        ({"warm_up": 1.0}, [0, 1], "warm_up=1.0: must be from 0 to below 1"),
        ({"label_smoothing": 2}, [0, 1], "label_smoothing=2: must be from 0 to below 1"),
        ({"weight_decay": float("nan")}, [0, 1], "weight_decay=nan: must be at least 0"),
        ({"convs_per_block": 0}, [0, 1], "convs_per_block=0: must be at least 1"),
        ({"dropout": 1.0}, [0, 1], "dropout=1.0: must be from 0 to below 1"),
        ({"patience": 0}, [0, 1], "patience=0: must be at least 1"),
        ({"head": "mean"}, [0, 1], "head='mean': must be one of flatten, max, average"),
        ({"image_shape": (3, 3)}, [0, 1], "image_shape=.*rows have 16 features"),
        ({}, [1, 1], "one class only"),
    ],
)
def test_mistakes_are_named(parameters, labels, message):
    with pytest.raises(ValueError, match=message):
        CNNClassifier(**parameters).fit(np.zeros((2, 16), np.uint8), labels)


def test_batches_cover_all_rows_and_depend_on_the_number_alone():
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    batches = Batches(images, np.eye(10, dtype=np.float32), 5, Augment(flip=True), seed=3)
    first = [batches[i][0].ravel() for i in range(4)]
    assert sorted(np.concatenate(first[:2])) == sorted(np.concatenate(first[2:])) == list(range(10))
    np.testing.assert_array_equal(batches[0][0].ravel(), first[0])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others are given the batches themselves")
def test_what_tensorflow_is_given_is_the_same_and_does_not_tune_itself():
    batches = Batches(np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1), np.eye(10, dtype=np.float32), 3, Augment(), 7)
    stream = batches.stream()
    assert not stream.options().autotune.enabled  # else whoever drops it waits for up to a minute
    for number, (images, targets) in zip(range(7), stream.as_numpy_iterator(), strict=False):
        np.testing.assert_array_equal(images, batches[number][0])
        np.testing.assert_array_equal(targets, batches[number][1])


def test_shifts_move_whole_images_and_black_moves_in():
    images = np.zeros((50, 6, 8, 1), np.uint8)
    images[:, 2, 3] = 200
    moved = Augment(shift=2)(images.copy(), (0,))
    assert moved.shape == images.shape
    places = np.argwhere(moved[..., 0] == 200)[:, 1:]
    assert {tuple(place) for place in places} <= {(y, x) for y in range(5) for x in range(1, 6)}
    assert len(np.unique(places, axis=0)) > 10
    np.testing.assert_array_equal(moved, Augment(shift=2)(images.copy(), (0,)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_erasing_changes_one_rectangle_of_some_images(dtype):
    images = np.random.default_rng(0).integers(0, 256, (200, 12, 10, 1)).astype(dtype)
    changed = Augment(erase=0.5)(images.copy(), (1,)) != images
    touched = changed.any(axis=(1, 2, 3))
    assert 70 < touched.sum() < 130
    for image in changed[touched, ..., 0]:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.mean() > 0.8, "nearly every pixel of a box is another one"
        assert box.size <= 0.5 * image.size


def test_weights_of_rows_change_what_is_learnt(digits):
    X, y, X_valid, y_valid = digits
    seldom = np.isin(y_valid, range(5))
    weights = np.where(y < 5, 0.01, 1.0)
    plain = CNNClassifier(**SMALL).fit(X, y).predict(X_valid)
    weighted = CNNClassifier(**SMALL).fit(X, y, sample_weight=weights).predict(X_valid)
    by_class = CNNClassifier(**SMALL, class_weight={c: 0.01 for c in range(5)}).fit(X, y).predict(X_valid)
    np.testing.assert_array_equal(weighted, by_class)
    assert (weighted < 5).mean() < (plain < 5).mean()
    assert (weighted[~seldom] == y_valid[~seldom]).mean() > 0.7


def test_balanced_classes_weigh_alike_and_only_ratios_count(digits):
    X, y = digits[0][:320], np.arange(320) % 2
    found = [
        CNNClassifier(**TINY, class_weight=weight).fit(X, y, sample_weight=rows).predict_proba(X)
        for weight, rows in (("balanced", None), (None, np.full(320, 7.0)))
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sample_weight": np.zeros(100)}, "at least one non-zero number"),
        ({"sample_weight": np.full(100, -1.0)}, "[Nn]egative"),
        ({"sample_weight": np.ones(99)}, "sample_weight"),
    ],
)
def test_unusable_weights_are_refused(digits, given, words):
    with pytest.raises(ValueError, match=words):
        CNNClassifier(**SMALL).fit(digits[0][:100], digits[1][:100], **given)


def test_metadata_routing_reaches_a_network(digits):
    with config_context(enable_metadata_routing=True):
        network = CNNClassifier(**SMALL).set_fit_request(sample_weight=True)
        ensemble = StackedEnsemble([("cnn", network)], random_state=0)
        ensemble.fit(digits[0][:300], digits[1][:300], sample_weight=np.where(digits[1][:300] == 3, 1.0, 0.0))
    assert (ensemble.predict(digits[2]) == 3).mean() > 0.5
