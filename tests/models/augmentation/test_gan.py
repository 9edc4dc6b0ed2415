"""The GAN as a sampler: what it returns, what it keeps, what it refuses."""

import math
import pickle
import subprocess
import sys
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from fmnist_bench.models.augmentation import _gan_training
from fmnist_bench.models.augmentation import gan as augment
from fmnist_bench.models.augmentation._gan_networks import Adversaries, build_discriminator, build_generator
from fmnist_bench.models.augmentation._gan_training import FailedGAN, Watch
from fmnist_bench.models.augmentation.gan import ConditionalGAN
from fmnist_bench.models.saved import load_model, save_model
from fmnist_bench.pipeline import Pipeline

pytestmark = [pytest.mark.networks, pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX trains no GAN")]

TINY = {"steps": 20, "width": 4, "latent": 8, "batch_size": 16, "precision": "float32", "random_state": 0}


@pytest.fixture
def any_will_do(monkeypatch):
    """Accept images of a GAN that has hardly been trained."""
    monkeypatch.setattr(_gan_training, "LEAST_FIDELITY", 0.0)
    monkeypatch.setattr(_gan_training, "LEAST_SPREAD", 0.0)


@pytest.fixture(scope="module")
def kept(digits, tmp_path_factory):
    """A GAN that was trained, and the folder in which its generator is kept for others."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_gan_training, "LEAST_FIDELITY", 0.0)
        patch.setattr(_gan_training, "LEAST_SPREAD", 0.0)
        return ConditionalGAN(cache_dir=str(folder), **TINY).fit(digits.X[:300], digits.y[:300]), folder


@pytest.fixture
def fitted(kept):
    return kept[0]


@pytest.fixture
def short_epochs(monkeypatch):
    """Take note every ten steps."""
    monkeypatch.setattr(augment, "STEPS_AN_EPOCH", 10)


class Trains(Exception):
    """What is raised instead of a training."""


@pytest.fixture
def no_training(monkeypatch):
    def train(*_):
        raise Trains

    monkeypatch.setattr(ConditionalGAN, "_trained", train)


@pytest.fixture
def untrained(monkeypatch):
    """Take a generator as it begins for one that was trained."""

    def begun(gan, *_):
        return build_generator(gan._shape, len(gan.classes_), gan.latent, gan.width)

    monkeypatch.setattr(ConditionalGAN, "_trained", begun)


@pytest.mark.slow
def test_it_learns_to_write_digits(digits):
    gan = ConditionalGAN(steps=4000, width=16, latent=32, random_state=0).fit(digits.X, digits.y)
    X, y = gan.sample(1000, random_state=0)
    judge = LogisticRegression(max_iter=1000).fit(digits.X, digits.y)
    assert judge.score(X, y) > 0.9
    taught = LogisticRegression(max_iter=1000).fit(X, y)
    assert taught.score(digits.X, digits.y) > 0.7


def make_pair(class_weight=0.0, steps=20):
    keras.utils.set_random_seed(0)
    generator = build_generator((8, 8, 1), 2, latent=4, width=2)
    discriminator = build_discriminator((8, 8, 1), 2, width=2, augment=False)
    return Adversaries(generator, discriminator, 4, learning_rate=1e-3, class_weight=class_weight, steps=steps, seed=0)


@pytest.mark.parametrize("steps", [20, 1000, 6000, 50_000])
def test_the_average_of_the_generator_has_forgotten_its_random_start(steps):
    assert make_pair(steps=steps).generator_optimizer.ema_momentum ** steps < 1e-3


def test_the_class_scales_and_shifts_what_the_generator_makes():
    generator = make_pair().generator
    inputs = keras.random.normal((6, 4), seed=0), keras.ops.array([0, 0, 0, 1, 1, 1])
    before = keras.ops.convert_to_numpy(generator(inputs))
    shift = [layer for layer in generator.layers if isinstance(layer, keras.layers.Embedding)][-1]
    shift.set_weights([shift.get_weights()[0] + [[0.0], [1.0]]])
    after = keras.ops.convert_to_numpy(generator(inputs))
    changed = np.abs(after - before).max(axis=(1, 2, 3)) > 0
    assert changed.tolist() == [False] * 3 + [True] * 3


def test_the_generator_pays_for_images_of_another_class_densely(monkeypatch):
    labels, losses = keras.ops.array([0, 1, 1, 0]), []
    for weight in (0.0, 1.0):
        pair = make_pair(weight)
        pair.noise = keras.random.SeedGenerator(0)
        losses.append(float(pair._generator_loss(labels)))
    assert losses[1] > losses[0] + 0.1
    seen = []
    monkeypatch.setattr(pair.generator_optimizer, "apply", lambda gradients, variables: seen.extend(gradients))
    images = keras.ops.zeros((4, 8, 8, 1))
    pair.train_step((images, labels))
    assert len(seen) == len(pair.generator.trainable_variables)
    assert not {"IndexedSlices"} & {type(gradient).__name__ for gradient in seen}


def test_rows_like_the_real_ones(fitted):
    X, y = fitted.sample(50, random_state=0)
    assert (X.shape, X.dtype) == ((50, 64), np.uint8)
    assert set(y) <= set(fitted.classes_)
    again, _ = fitted.sample(50, random_state=0)
    assert np.array_equal(X, again)
    assert not np.array_equal(X, fitted.sample(50, random_state=1)[0])
    assert fitted.sample(3, [7, 7, 1])[1].tolist() == [7, 7, 1]
    with pytest.raises(ValueError, match="y holds 11: must be one of 0, 1, 2"):
        fitted.sample(2, [1, 11])
    assert len(fitted.history_["generator_loss"]) == 1


def test_rows_are_appended_in_proportion_or_balanced(digits, untrained):
    X, y = digits.X[:200], digits.y[:200].copy()
    y[y > 2] = 2
    for balance in (False, True):
        gan = ConditionalGAN(ratio=0.5, balance=balance, **TINY)
        rows, labels = gan.fit_resample(X, y)
        assert len(rows) == len(labels) == 300
        assert np.array_equal(rows[:200], X)
        assert rows.dtype == X.dtype
        expected = [34, 33, 33] if balance else np.bincount(y) / 2
        assert np.abs(np.bincount(labels[200:]) - expected).max() <= 1


def test_one_image_of_a_class_is_not_all_alike(digits):
    judge = _gan_training.Judge(digits.X[:300], digits.y[:300])
    codes = np.delete(digits.y[:300], np.flatnonzero(digits.y[:300] == 3)[1:])
    rows = np.delete(digits.X[:300], np.flatnonzero(digits.y[:300] == 3)[1:], axis=0)
    judge.check(rows, codes, np.arange(10))
    rows[codes == 4] = rows[codes == 4][0]
    with pytest.raises(FailedGAN, match="class 4 are all alike"):
        judge.check(rows, codes, np.arange(10))


def test_a_generator_of_another_kind_is_refused(digits, fitted, tmp_path):
    fitted.save(tmp_path / "gan.keras")
    with pytest.raises(ValueError, match="takes latent=8, found latent=9"):
        ConditionalGAN(latent=9, generator=str(tmp_path / "gan.keras")).fit(digits.X[:300], digits.y[:300])
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="not a readable generator"):
        ConditionalGAN(**TINY, generator=str(tmp_path / "other.keras")).fit(digits.X[:300], digits.y[:300])


def test_ratio_nought_changes_and_trains_nothing(digits):
    X, y = ConditionalGAN(ratio=0.0).fit_resample(digits.X, digits.y)
    assert np.array_equal(X, digits.X)
    assert np.array_equal(y, digits.y)


@pytest.mark.parametrize(
    ("arguments", "labels", "words"),
    [
        ({"ratio": -0.1}, [0, 1], "ratio=-0.1: must be at least 0"),
        ({"class_weight": -1.0}, [0, 1], "class_weight=-1.0: must be at least 0"),
        ({"steps": 0}, [0, 1], "steps=0: must be at least 1"),
        ({}, [1, 1], "one class only"),
        ({"image_shape": (3, 3)}, [0, 1], "rows have 64 features"),
    ],
)
def test_mistakes_are_named(digits, arguments, labels, words):
    with pytest.raises(ValueError, match=words):
        ConditionalGAN(**{**TINY, **arguments}).fit_resample(digits.X[:2], labels)


def test_one_that_has_not_learnt_is_refused(digits):
    with pytest.raises(FailedGAN, match="a plain classifier finds .* of its images right"):
        ConditionalGAN(**TINY).fit(digits.X[:300], digits.y[:300])


def test_images_on_another_scale_than_it_draws_are_refused(digits):
    with pytest.raises(ValueError, match="from 0 to 1: the images that a GAN draws"):
        ConditionalGAN(**TINY).fit(digits.X[:50] / 255, digits.y[:50])


def test_losses_that_are_not_finite_end_the_training(digits):
    words = r"losses became .* within 20 steps, none were finite"
    with pytest.raises(FailedGAN, match=words):
        ConditionalGAN(**{**TINY, "steps": 20, "learning_rate": 1e30}).fit(digits.X[:300], digits.y[:300])
    watch = Watch({"generator_loss": [0.5], "fidelity": [0.2]}, lambda: 0.1, None, math.inf, None)
    watch.set_params({"steps": 100, "epochs": 5})
    with pytest.raises(FailedGAN, match=r"within 200 steps, the last finite ones were \{'generator_loss': 0.5\}"):
        watch.on_epoch_end(1, {"generator_loss": math.nan})


def test_a_precision_that_it_does_not_have_is_refused(digits):
    with pytest.raises(ValueError, match="precision='mixed_bfloat16': must be one of auto, float32"):
        ConditionalGAN(**{**TINY, "precision": "mixed_bfloat16"}).fit(digits.X[:300], digits.y[:300])


def test_a_class_with_fewer_rows_than_a_batch_and_colours(any_will_do):
    images = np.random.default_rng(0).integers(0, 256, (40, 10, 14, 3)).astype(np.uint8)
    gan = ConditionalGAN(**TINY).fit(images, ["many"] * 37 + ["few"] * 3)
    assert gan.network_.output_shape[1:] == (10, 14, 3)
    rows, labels = gan.sample(5, ["few"] * 5)
    assert rows.shape == (5, 420)
    assert set(labels) == {"few"}


def test_it_is_cloned_pickled_and_saved(fitted, digits, tmp_path):
    assert clone(fitted).get_params() == fitted.get_params()
    expected = fitted.sample(20, random_state=3)[0]
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).sample(20, random_state=3)[0], expected)
    pipeline = Pipeline(LogisticRegression(max_iter=500), augment=ConditionalGAN(ratio=0.0))
    save_model(pipeline.fit(digits.X, digits.y), tmp_path / "model.skops")
    assert load_model(tmp_path / "model.skops").augment.ratio == 0


def test_it_is_trained_once_whatever_the_ratio(digits, kept, no_training):
    X, y = digits.X[:300], digits.y[:300]
    first, folder = kept
    assert first.history_
    again = ConditionalGAN(cache_dir=str(folder), ratio=0.2, balance=True, **TINY).fit(X, y)
    assert not again.history_
    assert np.array_equal(first.sample(10, random_state=0)[0], again.sample(10, random_state=0)[0])
    with pytest.raises(Trains):  # for other rows
        ConditionalGAN(cache_dir=str(folder), **TINY).fit(X[:199], y[:199])
    with pytest.raises(Trains):  # for other parameters
        ConditionalGAN(cache_dir=str(folder), **{**TINY, "latent": 9}).fit(X, y)
    assert len(list(folder.glob("*.keras"))) == 1
    assert not list(folder.glob("*.npz"))


def test_what_was_cut_off_is_made_again_and_said(digits, any_will_do, kept, tmp_path):
    X, y = digits.X[:300], digits.y[:300]
    (whole,) = kept[1].glob("*.keras")
    path = tmp_path / whole.name
    path.write_bytes(whole.read_bytes()[:500])
    with pytest.warns(UserWarning, match="cannot be read and is made again"):
        assert ConditionalGAN(cache_dir=str(tmp_path), **TINY).fit(X, y).history_
    assert not ConditionalGAN(cache_dir=str(tmp_path), **TINY).fit(X, y).history_


def test_what_belongs_to_other_data_is_made_again_and_said(digits, kept, tmp_path, no_training):
    gan = ConditionalGAN(cache_dir=str(tmp_path), **TINY)
    with pytest.raises(Trains):
        gan.fit(digits.X[:150], digits.y[:150])
    (lock,) = tmp_path.glob("*.lock")
    (other,) = kept[1].glob("*.keras")
    lock.with_suffix(".keras").write_bytes(other.read_bytes())
    with pytest.raises(Trains), pytest.warns(UserWarning, match="belongs to other data and is made again"):
        gan.fit(digits.X[:150], digits.y[:150])


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no more of it", None])
def test_a_checkpoint_that_was_cut_off_is_begun_anew(tmp_path, content):
    np.savez(tmp_path / "gan.npz", epochs=3)
    if content is not None:
        (tmp_path / "gan.npz").write_bytes(content)
    nothing = SimpleNamespace(variables=[])
    adversaries = SimpleNamespace(variables=[], generator_optimizer=nothing, discriminator_optimizer=nothing)
    watch = Watch({}, None, tmp_path / "gan.npz", math.inf, None)
    assert watch.resume(adversaries) == (3 if content is None else 0)


def test_images_keep_their_shape_when_rows_are_appended(untrained):
    images = np.random.default_rng(0).integers(0, 256, (60, 12, 16)).astype(np.uint8)
    gan = ConditionalGAN(ratio=0.1, **TINY)
    rows, _ = gan.fit_resample(images, np.arange(60) % 3)
    assert rows.shape == (66, 12 * 16)
    assert gan.network_.output_shape[1:] == (12, 16, 1)


def test_a_batch_that_does_not_fit_in_memory_is_halved_once_and_said(digits, any_will_do, monkeypatch):
    sizes = []

    class Tight(augment.Batches):
        def __init__(self, images, codes, batch_size, *rest):
            sizes.append(batch_size)
            if batch_size > 8:
                raise MemoryError(f"no room for {batch_size} rows")
            super().__init__(images, codes, batch_size, *rest)

    monkeypatch.setattr(augment, "Batches", Tight)
    with pytest.warns(UserWarning, match="batch_size=16 does not fit in memory, half of it is tried"):
        ConditionalGAN(**TINY).fit(digits.X[:200], digits.y[:200])
    assert sizes == [16, 8]
    with (
        pytest.warns(UserWarning, match="batch_size=64 does not fit"),
        pytest.raises(MemoryError, match="no room for 32 rows"),
    ):
        ConditionalGAN(**{**TINY, "batch_size": 64}).fit(digits.X[:200], digits.y[:200])


def test_a_full_disk_costs_the_cache_alone(digits, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(ConditionalGAN, "_trained", lambda *_: fitted.network_)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fmnist_bench.models.augmentation.gan.os.replace", full)
    with pytest.warns(UserWarning, match="was not kept: .*No space left"):
        gan = ConditionalGAN(cache_dir=str(tmp_path), **TINY).fit(digits.X[:200], digits.y[:200])
    assert gan.sample(3)[0].shape == (3, 64)
    assert not list(tmp_path.glob("*.keras"))


def test_it_goes_on_from_its_last_checkpoint(digits, any_will_do, short_epochs, tmp_path, monkeypatch):
    monkeypatch.setattr(_gan_training, "EPOCHS_A_CHECKPOINT", 2)
    watch = _gan_training.Watch.on_epoch_end

    def stopped(self, epoch, logs=None):
        watch(self, epoch, logs)
        if epoch == 2:
            raise KeyboardInterrupt

    gan = ConditionalGAN(cache_dir=str(tmp_path), **{**TINY, "steps": 50})
    monkeypatch.setattr(_gan_training.Watch, "on_epoch_end", stopped)
    with pytest.raises(KeyboardInterrupt):
        gan.fit(digits.X[:200], digits.y[:200])
    monkeypatch.setattr(_gan_training.Watch, "on_epoch_end", watch)
    gan.fit(digits.X[:200], digits.y[:200])
    assert gan.history_["step"] == [30, 40, 50]
    assert not list(tmp_path.glob("*.npz"))


def test_it_ends_in_time_and_goes_on_when_there_is_more(digits, any_will_do, short_epochs, tmp_path):
    X, y = digits.X[:200], digits.y[:200]
    gan = ConditionalGAN(cache_dir=str(tmp_path), **TINY).fit(X, y, deadline=time.monotonic() + 0.1)
    assert gan.history_["step"] == [10]
    assert not list(tmp_path.glob("*.keras")), "what was cut short is not for others"
    gan.fit(X, y)
    assert gan.history_["step"] == [20]
    assert len(list(tmp_path.glob("*.keras"))) == 1


def test_it_gives_up_early_where_the_time_is_far_too_short(digits, any_will_do, short_epochs):
    gan = ConditionalGAN(**{**TINY, "steps": 10_000_000})
    with pytest.raises(FailedGAN, match=r"there is time for [\d,]+ of 10,000,000 steps only") as error:
        gan.fit(digits.X[:200], digits.y[:200], deadline=time.monotonic() + 100)
    assert error.value.status == "timeout"
    assert gan.history_["step"] == [10, 20]


def test_a_saved_generator_is_taken_for_any_rows_of_its_classes(fitted, digits, tmp_path):
    path = tmp_path / "generator.keras"
    fitted.save(path)
    again = ConditionalGAN(generator=str(path), ratio=0.1, **TINY)
    X, _ = again.fit_resample(digits.X[300:500], digits.y[300:500])
    assert len(X) == 220
    assert not again.history_
    assert np.array_equal(again.sample(9, range(9), 1)[0], fitted.sample(9, range(9), 1)[0])
    with pytest.raises(ValueError, match=r"makes 10 classes of images \(8, 8, 1\), not these"):
        again.fit(digits.X[:100], digits.y[:100] > 4)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="not a readable generator"):
        again.fit(digits.X[:100], digits.y[:100])


def test_while_it_learns_it_can_be_watched(digits, any_will_do, short_epochs):
    gan, seen = ConditionalGAN(**TINY), []
    gan.fit(digits.X[:200], digits.y[:200], monitor=lambda step, score: seen.append((step, score, gan.sample(1)[0])))
    assert [step for step, _, _ in seen] == gan.history_["step"] == [10, 20]
    assert [score for _, score, _ in seen] == gan.history_["fidelity"]
    assert seen[0][2].shape == (1, 64)


def test_it_is_a_step_of_an_imbalanced_learn_pipeline(digits, fitted, tmp_path):
    from imblearn.pipeline import make_pipeline

    fitted.save(tmp_path / "generator.keras")
    gan = ConditionalGAN(ratio=0.1, generator=str(tmp_path / "generator.keras"), **TINY)
    pipeline = make_pipeline(gan, LogisticRegression(max_iter=500))
    assert pipeline.fit(digits.X[:500], digits.y[:500]).score(digits.X[500:], digits.y[500:]) > 0.7
    assert gan.n_features_in_ == 64, "it was asked for rows"


@pytest.mark.slow  # TensorFlow is loaded anew
def test_it_is_imported_without_the_greetings_of_tensorflow():
    code = "from fmnist_bench.models import ConditionalGAN"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
