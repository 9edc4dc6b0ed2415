import runpy
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from troublemakers import Doubler, Trouble

from fmnist_bench import arrays
from fmnist_bench.candidate import Augmentations, Candidate, set_where_none
from fmnist_bench.features import ImageFeatures
from fmnist_bench.models.transfer import TransferClassifier
from fmnist_bench.saved_models import forget_places, load_model, save_model


def make(**parameters):
    features = Pipeline([("imagefeatures", ImageFeatures(kind="hog", cell_size=2)), ("pca", PCA(20, random_state=0))])
    return Candidate(LogisticRegression(max_iter=300), features=features, **parameters)


def test_rows_of_pixels_to_probabilities(digits, split):
    fitted = make().fit(digits.X[split.fit], digits.y[split.fit])
    probabilities = fitted.predict_proba(digits.X[split.valid])
    assert probabilities.dtype == np.float32
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-6
    assert fitted.score(digits.X[split.valid], digits.y[split.valid]) > 0.8
    assert not hasattr(fitted.model, "coef_")


def test_parameters_are_reached_by_their_names():
    candidate = clone(make()).set_params(features__pca__n_components=5, model__C=2.0)
    assert candidate.features.named_steps["pca"].n_components == 5
    set_where_none(candidate, image_shape=(8, 8), random_state=3)
    assert candidate.get_params()["features__imagefeatures__image_shape"] == (8, 8)
    assert candidate.get_params()["model__random_state"] == 3


def test_set_where_none_leaves_what_was_set():
    candidate = Candidate(LogisticRegression(random_state=7))
    set_where_none(candidate, random_state=3)
    assert candidate.model.random_state == 7


def test_augmentation_sees_the_fit_rows_alone(digits, split):
    class Recorder(Doubler):
        def fit_resample(self, X, y):
            Recorder.seen = len(X)
            return super().fit_resample(X, y)

    rows = digits.X[split.fit], digits.y[split.fit]
    Candidate(Trouble(), augment=Recorder()).fit(*rows, validation_data=(digits.X[split.valid], digits.y[split.valid]))
    assert Recorder.seen == len(split.fit)


def test_several_samplers_append_to_the_real_rows_alone():
    both = clone(Augmentations([("one", Doubler(ratio=0.5)), ("two", Doubler(ratio=1.0))]))
    X, y = both.set_params(one__ratio=0.25).fit_resample(np.arange(4)[:, None], np.arange(4))
    assert X.ravel().tolist() == y.tolist() == [0, 1, 2, 3, 0, 0, 1, 2, 3]


def test_no_synthetic_rows_is_no_augmentation_bit_for_bit(digits, split):
    rows = digits.X[split.fit], digits.y[split.fit]
    without = make().fit(*rows).predict_proba(digits.X[split.valid])
    with_none = make(augment=Doubler(ratio=0.0)).fit(*rows).predict_proba(digits.X[split.valid])
    assert np.array_equal(without, with_none)


def test_slow_features_that_learn_nothing_are_computed_once(digits, split, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "WORTH_KEEPING", 0.0)
    rows = digits.X[split.fit], digits.y[split.fit]
    first = make(cache_dir=str(tmp_path)).fit(*rows).predict_proba(digits.X[split.valid])
    files = sorted(tmp_path.glob("*.npy"))
    assert len(files) == 2  # of the fit and of the valid rows; nothing of the PCA, which learns
    monkeypatch.setattr(ImageFeatures, "transform", None)
    again = make(cache_dir=str(tmp_path)).fit(*rows).predict_proba(digits.X[split.valid])
    assert np.array_equal(first, again)


def test_other_parameters_or_rows_miss_the_cache(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "WORTH_KEEPING", 0.0)
    for kind, rows in (("hog", 50), ("pixels", 50), ("hog", 51)):
        features = Pipeline([("imagefeatures", ImageFeatures(kind=kind))])
        Candidate(Trouble(), features, cache_dir=str(tmp_path)).fit(digits.X[:rows], digits.y[:rows]).predict(
            digits.X[:rows]
        )
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_features_of_code_that_was_changed_miss_the_cache(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "WORTH_KEEPING", 0.0)
    for factor in (1, 3):
        (tmp_path / "theirs.py").write_text(
            "from sklearn.base import BaseEstimator, TransformerMixin\n"
            "class Scaled(TransformerMixin, BaseEstimator):\n"
            "    def fit(self, X, y=None):\n        return self\n"
            f"    def transform(self, X):\n        return {factor} * X\n"
            "    def __sklearn_tags__(self):\n        tags = super().__sklearn_tags__()\n"
            "        tags.requires_fit = False\n        return tags\n"
        )
        module = runpy.run_path(str(tmp_path / "theirs.py"), run_name="theirs")
        monkeypatch.setitem(sys.modules, "theirs", SimpleNamespace(__file__=str(tmp_path / "theirs.py")))
        features = Pipeline([("scaled", module["Scaled"]())])
        candidate = Candidate(GaussianNB(), features, cache_dir=str(tmp_path)).fit(digits.X[:, 20:24] / 255, digits.y)
        assert candidate.model_.theta_.max() <= factor
    assert candidate.model_.theta_.max() > 1


@pytest.mark.parametrize("size", [0, 1000])
def test_a_cut_off_cache_file_is_computed_again(digits, tmp_path, monkeypatch, size):
    monkeypatch.setattr(arrays, "WORTH_KEEPING", 0.0)
    first = make(cache_dir=str(tmp_path)).fit(digits.X, digits.y).predict_proba(digits.X)
    for path in tmp_path.glob("*.npy"):
        path.write_bytes(path.read_bytes()[:size])
    again = make(cache_dir=str(tmp_path)).fit(digits.X, digits.y).predict_proba(digits.X)
    assert np.array_equal(first, again)


def test_a_saved_model_predicts_the_same(digits, tmp_path):
    fitted = make().fit(digits.X, digits.y)
    save_model(fitted, tmp_path / "model.skops")
    assert [p.name for p in tmp_path.iterdir()] == ["model.skops"]
    loaded = load_model(tmp_path / "model.skops")
    assert np.allclose(loaded.predict_proba(digits.X), fitted.predict_proba(digits.X), rtol=0, atol=1e-5)


def test_a_model_forgets_the_folders_of_the_machine():
    candidate = Candidate(TransferClassifier(), cache_dir="here")
    candidate.model_ = clone(candidate.model)
    set_where_none(candidate, cache_dir="there", weights_dir="elsewhere")
    assert candidate.model.weights_dir == "elsewhere"
    candidate.model_.set_params(cache_dir="there", weights_dir="elsewhere")
    forget_places(candidate)
    for model in (candidate.model, candidate.model_):
        assert model.cache_dir is None
        assert model.weights_dir is None
    assert candidate.cache_dir is None
    assert candidate.model.weights == "imagenet"


class Own(GaussianNB):
    """A class of a user's own, to which a name of ours means something else."""

    def __init__(self, generator="keep"):
        super().__init__()
        self.generator = generator


def test_what_a_users_own_class_means_by_such_a_name_stays():
    candidate = Candidate(Own(), cache_dir="here")
    forget_places(candidate)
    assert (candidate.model.generator, candidate.cache_dir) == ("keep", None)


def test_what_comes_before_the_model_takes_from_its_limit(digits, split):
    class Slow(Doubler):
        def fit_resample(self, X, y):
            time.sleep(0.3)
            return super().fit_resample(X, y)

    class Limited(LogisticRegression):
        def __init__(self, max_seconds=None):
            super().__init__()
            self.max_seconds = max_seconds

    rows = digits.X[split.fit], digits.y[split.fit]
    assert 5 < Candidate(Limited(10.0), augment=Slow()).fit(*rows).model_.max_seconds <= 9.7
    assert Candidate(Limited(1.1), augment=Slow()).fit(*rows).model_.max_seconds == 1.0
    assert Candidate(Limited(), augment=Slow()).fit(*rows).model_.max_seconds is None


def test_images_of_another_shape_and_scale_are_noticed(digits):
    fitted = Candidate(GaussianNB(var_smoothing=0.01)).fit(digits.X[:200].reshape(-1, 4, 16), digits.y[:200])
    with pytest.raises(ValueError, match=r"images of \(8, 8\): this model was fitted on images of \(4, 16\)"):
        fitted.predict(digits.X[:5].reshape(-1, 8, 8))
    with pytest.raises(ValueError, match="was fitted on pixels from 0 to 255"):
        fitted.predict(digits.X[:5] / 255)
