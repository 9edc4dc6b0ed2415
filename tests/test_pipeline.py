import runpy
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sklearn.pipeline
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks
from troublemakers import Doubler, Trouble

from fmnist_bench._utils import cache
from fmnist_bench._utils.soft_targets import SoftTargets
from fmnist_bench.models.features import ImageFeatures
from fmnist_bench.models.networks.cnn import CNNClassifier
from fmnist_bench.models.networks.transfer import TransferClassifier
from fmnist_bench.models.saved import forget_places, load_model, save_model
from fmnist_bench.pipeline import Augmentations, Pipeline, tell_image_shape


def make(**parameters):
    features = sklearn.pipeline.Pipeline(
        [("imagefeatures", ImageFeatures(kind="hog", cell_size=2)), ("pca", PCA(20, random_state=0))]
    )
    return Pipeline(LogisticRegression(max_iter=300), features=features, **parameters)


def test_rows_of_pixels_to_probabilities(digits, split):
    fitted = make().fit(digits.X[split.train], digits.y[split.train])
    probabilities = fitted.predict_proba(digits.X[split.validation])
    assert probabilities.dtype == np.float32
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-6
    assert fitted.score(digits.X[split.validation], digits.y[split.validation]) > 0.8
    assert not hasattr(fitted.model, "coef_")


def test_parameters_are_reached_by_their_names():
    pipeline = clone(make()).set_params(features__pca__n_components=5, model__C=2.0)
    assert pipeline.features.named_steps["pca"].n_components == 5


class Shaped(BaseEstimator):
    def __init__(self, image_shape=None, random_state=None):
        self.image_shape = image_shape
        self.random_state = random_state


def test_a_model_behind_features_is_not_told_the_shape_of_images():
    features = sklearn.pipeline.Pipeline([("own", Shaped())])
    before, behind = (tell_image_shape(Pipeline(Shaped(), steps), (8, 8)) for steps in (None, features))
    assert before.model.image_shape == (8, 8)
    assert (behind.model.image_shape, behind.features[0].image_shape) == (None, (8, 8))


def test_augmentation_sees_the_fit_rows_alone(digits, split):
    class Recorder(Doubler):
        def fit_resample(self, X, y):
            Recorder.seen = len(X)
            return super().fit_resample(X, y)

    rows = digits.X[split.train], digits.y[split.train]
    Pipeline(Trouble(), augment=Recorder()).fit(
        *rows, validation_data=(digits.X[split.validation], digits.y[split.validation])
    )
    assert Recorder.seen == len(split.train)


def test_several_samplers_append_to_the_real_rows_alone():
    both = clone(Augmentations([("one", Doubler(ratio=0.5)), ("two", Doubler(ratio=1.0))]))
    X, y = both.set_params(one__ratio=0.25).fit_resample(np.arange(4)[:, None], np.arange(4))
    assert X.ravel().tolist() == y.tolist() == [0, 1, 2, 3, 0, 0, 1, 2, 3]


def test_no_synthetic_rows_is_no_augmentation_bit_for_bit(digits, split):
    rows = digits.X[split.train], digits.y[split.train]
    without = make().fit(*rows).predict_proba(digits.X[split.validation])
    with_none = make(augment=Doubler(ratio=0.0)).fit(*rows).predict_proba(digits.X[split.validation])
    assert np.array_equal(without, with_none)


def test_slow_features_that_learn_nothing_are_computed_once(digits, split, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "WORTH_KEEPING", 0.0)
    rows = digits.X[split.train], digits.y[split.train]
    first = make(cache_dir=str(tmp_path)).fit(*rows).predict_proba(digits.X[split.validation])
    files = sorted(tmp_path.glob("*.npy"))
    assert len(files) == 2  # of the fit and of the validation rows; nothing of the PCA, which learns
    monkeypatch.setattr(ImageFeatures, "transform", None)
    again = make(cache_dir=str(tmp_path)).fit(*rows).predict_proba(digits.X[split.validation])
    assert np.array_equal(first, again)


def test_other_parameters_or_rows_miss_the_cache(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "WORTH_KEEPING", 0.0)
    for kind, rows in (("hog", 50), ("pixels", 50), ("hog", 51)):
        features = sklearn.pipeline.Pipeline([("imagefeatures", ImageFeatures(kind=kind))])
        Pipeline(Trouble(), features, cache_dir=str(tmp_path)).fit(digits.X[:rows], digits.y[:rows]).predict(
            digits.X[:rows]
        )
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_features_of_code_that_was_changed_miss_the_cache(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "WORTH_KEEPING", 0.0)
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
        features = sklearn.pipeline.Pipeline([("scaled", module["Scaled"]())])
        pipeline = Pipeline(GaussianNB(), features, cache_dir=str(tmp_path)).fit(digits.X[:, 20:24] / 255, digits.y)
        assert pipeline.model_.theta_.max() <= factor
    assert pipeline.model_.theta_.max() > 1


@pytest.mark.parametrize("size", [0, 1000])
def test_a_cut_off_cache_file_is_computed_again(digits, tmp_path, monkeypatch, size):
    monkeypatch.setattr(cache, "WORTH_KEEPING", 0.0)
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
    pipeline = Pipeline(TransferClassifier(cache_dir="there", weights_dir="elsewhere"), cache_dir="here")
    pipeline.model_ = clone(pipeline.model)
    forget_places(pipeline)
    for model in (pipeline.model, pipeline.model_):
        assert model.cache_dir is None
        assert model.weights_dir is None
    assert pipeline.cache_dir is None
    assert pipeline.model.weights == "imagenet"


class Own(GaussianNB):
    """A class of a user's own, to which a name of ours means something else."""

    def __init__(self, generator="keep"):
        super().__init__()
        self.generator = generator


def test_what_a_users_own_class_means_by_such_a_name_stays():
    pipeline = Pipeline(Own(), cache_dir="here")
    forget_places(pipeline)
    assert (pipeline.model.generator, pipeline.cache_dir) == ("keep", None)


def test_what_comes_before_the_model_takes_from_its_limit(digits):
    class Slow(Doubler):
        def fit_resample(self, X, y):
            time.sleep(0.3)
            return super().fit_resample(X, y)

    class Limited(LogisticRegression):
        takes_deadline = True

        def fit(self, X, y, deadline=None):
            self.left_ = None if deadline is None else deadline - time.monotonic()
            return super().fit(X, y)

    rows, pipeline = (digits.X[:100], digits.y[:100]), Pipeline(Limited(), augment=Slow())
    assert 0 < pipeline.fit(*rows, deadline=time.monotonic() + 100.0).model_.left_ <= 99.7
    assert 0 < pipeline.fit(*rows, deadline=time.monotonic() + 0.1).model_.left_ <= 1.0, "it gets a second at least"
    assert pipeline.fit(*rows).model_.left_ is None
    nested = Pipeline(make_pipeline(StandardScaler(), Limited())).fit(*rows, deadline=time.monotonic() + 100.0)
    assert 0 < nested.model_.steps[-1][1].left_ <= 100.0, "the last step of a pipeline is told"


def test_images_of_another_shape_and_scale_are_noticed(digits):
    fitted = Pipeline(GaussianNB(var_smoothing=0.01)).fit(digits.X[:200].reshape(-1, 4, 16), digits.y[:200])
    with pytest.raises(ValueError, match=r"images of \(8, 8\): this model was fitted on images of \(4, 16\)"):
        fitted.predict(digits.X[:5].reshape(-1, 8, 8))
    with pytest.raises(ValueError, match="was fitted on pixels from 0 to 255"):
        fitted.predict(digits.X[:5] / 255)


def test_columns_of_a_frame_keep_their_names(digits):
    frame = pd.DataFrame(digits.X, columns=[f"pixel{i}" for i in range(64)])
    fitted = make().fit(frame[:200], digits.y[:200])
    assert list(fitted.feature_names_in_) == list(frame.columns)
    assert fitted.score(frame[200:], digits.y[200:]) == fitted.score(frame[200:].to_numpy(), digits.y[200:]) > 0.8
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        fitted.predict(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="X has 63 features, but Pipeline is expecting 64"):
        fitted.predict(digits.X[:, 1:])


def test_a_list_of_images_is_images(digits):
    images = digits.X.reshape(-1, 4, 16)[:100]
    features = sklearn.pipeline.Pipeline([("imagefeatures", ImageFeatures(kind="hog", cell_size=2))])
    of_list = Pipeline(LogisticRegression(), features).fit(list(images), digits.y[:100])
    of_array = Pipeline(LogisticRegression(), features).fit(images, digits.y[:100])
    assert of_list.image_shape_ == of_array.image_shape_ == (4, 16)
    assert np.array_equal(of_list.predict_proba(list(images)), of_array.predict_proba(images))


def test_a_monitor_of_another_protocol_is_not_called(digits, split):
    calls = []
    boosting = Pipeline(GradientBoostingClassifier(n_estimators=2, max_depth=1))
    valid = digits.X[split.validation], digits.y[split.validation]
    boosting.fit(digits.X[split.train], digits.y[split.train], valid, lambda step, score: calls.append(step))
    assert boosting.score(*valid) > 0.3
    assert calls == []


class Declared(GaussianNB):
    """A class of a user's own that declares what its `fit` takes."""

    takes_validation_data = takes_monitor = True

    def fit(self, X, y, validation_data=None, monitor=None):
        super().fit(X, y)
        monitor(1, self.score(*validation_data))
        return self


class Undeclared(GaussianNB):
    """One that does not."""

    def fit(self, X, y, validation_data=None, monitor=None):
        assert validation_data is monitor is None
        return super().fit(X, y)


def test_what_a_class_declares_is_given_to_it(digits, split):
    calls, rows = [], (digits.X[split.train], digits.y[split.train])
    given = (digits.X[split.validation], digits.y[split.validation]), lambda step, score: calls.append((step, score))
    fitted = Pipeline(Declared(var_smoothing=0.01), sklearn.pipeline.Pipeline([("pca", PCA(20))])).fit(*rows, *given)
    assert calls == [(1, fitted.score(*given[0]))]
    with pytest.warns(
        UserWarning, match="Undeclared gets no validation rows: it does not declare takes_validation_data"
    ):
        Pipeline(Undeclared(var_smoothing=0.01)).fit(*rows, *given)


def test_weights_of_rows_reach_the_model(digits):
    half = np.arange(len(digits.X)) % 2
    pixels = sklearn.pipeline.Pipeline([("imagefeatures", ImageFeatures())])
    for model in (LogisticRegression(max_iter=300), make_pipeline(StandardScaler(), GaussianNB(var_smoothing=0.1))):
        weighted = Pipeline(model, pixels).fit(digits.X, digits.y, sample_weight=half.astype(float))
        plain = Pipeline(model, pixels).fit(digits.X, digits.y)
        assert not np.allclose(weighted.predict_proba(digits.X), plain.predict_proba(digits.X), atol=1e-3)
        again = Pipeline(model, pixels).fit(digits.X, digits.y, sample_weight=np.ones(len(digits.X)))
        np.testing.assert_allclose(again.predict_proba(digits.X), plain.predict_proba(digits.X), atol=1e-5)
    with pytest.raises(ValueError, match="sample_weight: KNeighborsClassifier takes no weights"):
        Pipeline(KNeighborsClassifier()).fit(digits.X, digits.y, sample_weight=half)


def test_appended_rows_weigh_as_much_as_the_mean(digits):
    class Seen(GaussianNB):
        def fit(self, X, y, sample_weight=None):
            Seen.weights = sample_weight
            return super().fit(X, y)

    weights = np.tile([1.0, 3.0], len(digits.X))[: len(digits.X)]
    Pipeline(Seen(), augment=Doubler(0.5)).fit(digits.X, digits.y, sample_weight=weights)
    assert np.array_equal(Seen.weights[: len(weights)], weights)
    assert set(Seen.weights[len(weights) :]) == {weights.mean()}

    class Undersampler(Doubler):
        def fit_resample(self, X, y):
            return X[::2], y[::2]

    with pytest.raises(ValueError, match="the augmentation does more than append rows"):
        Pipeline(Seen(), augment=Undersampler()).fit(digits.X, digits.y, sample_weight=weights)


def test_a_model_without_probabilities_predicts_all_the_same(digits):
    fitted = Pipeline(LinearSVC()).fit(digits.X, digits.y)
    assert not hasattr(fitted, "predict_proba")
    assert np.array_equal(fitted.predict(digits.X), fitted.model_.predict(digits.X))


def expected_failures(estimator):
    """Give the checks that fail, and why."""
    weights = {"check_sample_weight_equivalence_on_dense_data": "the PCA before the model learns without weights"}
    return {} if estimator.features is None else weights


@parametrize_with_checks(
    [Pipeline(LogisticRegression()), Pipeline(GaussianNB(), sklearn.pipeline.Pipeline([("pca", PCA())]))],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_what_a_teacher_says_reaches_the_model_or_is_refused(digits):
    soft = SoftTargets(np.eye(10)[digits.y[:100]])
    with pytest.raises(ValueError, match="soft targets: GaussianNB does not learn from a teacher"):
        Pipeline(GaussianNB()).fit(digits.X[:100], digits.y[:100], soft_targets=soft)
    with pytest.raises(ValueError, match="soft targets have the shape"):  # by the network itself
        Pipeline(CNNClassifier()).fit(digits.X[:99], digits.y[:99], soft_targets=soft)
