import json
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import sklearn.pipeline
import xgboost
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from fmnist_bench._utils.errors import InputError
from fmnist_bench.ensemble.estimator import StackedEnsemble
from fmnist_bench.ensemble.loading import load_ensemble
from fmnist_bench.models.boosting import XGBoostClassifier
from fmnist_bench.models.features import ImageFeatures
from fmnist_bench.models.saved import load_model
from fmnist_bench.pipeline import Pipeline
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.run_folder import MANIFEST

SMALL = [("tree", DecisionTreeClassifier(random_state=0)), ("bayes", GaussianNB())]


@parametrize_with_checks(
    [
        StackedEnsemble(SMALL),
        StackedEnsemble(SMALL, method="logistic", refit="full"),
        StackedEnsemble(SMALL, method="mean", n_jobs=2),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([StackedEnsemble(random_state=0)])
def test_scikit_learn_checks_of_the_default_members(estimator, check):
    check(estimator)


def test_ensemble_beats_its_members_on_digits(digits, split):
    ensemble = StackedEnsemble(random_state=0).fit(digits.X[split.train], digits.y[split.train])
    assert ensemble.score(digits.X[split.validation], digits.y[split.validation]) > 0.95
    assert ensemble.weights_.sum() == pytest.approx(1)


def test_it_is_the_last_step_of_a_pipeline(digits):
    pipeline = make_pipeline(MinMaxScaler(), StackedEnsemble(SMALL, random_state=0))
    assert cross_val_score(pipeline, digits.X, digits.y, cv=3).mean() > 0.7


def test_from_fitted_trains_nothing(digits, split):
    X, y = digits.X[split.train], digits.y[split.train]
    members = [("logistic", LogisticRegression().fit(X / 255.0, y)), ("bayes", GaussianNB().fit(X, y))]
    before = members[1][1].theta_.copy()
    valid = np.stack([member.predict_proba(digits.X[split.validation] / 255.0) for _, member in members])
    ensemble = StackedEnsemble.from_fitted(members, valid, digits.y[split.validation])
    assert "logistic" in dict(ensemble.members_)
    assert np.array_equal(members[1][1].theta_, before)
    best = max(member.score(digits.X[split.validation] / 255.0, digits.y[split.validation]) for _, member in members)
    assert ensemble.score(digits.X[split.validation] / 255.0, digits.y[split.validation]) >= best


def test_from_the_trials_of_a_benchmark(small_benchmark, digits):
    run = open_folder(newest_run("all", small_benchmark[0]))
    records = run.records("bayes")
    members = [(f"bayes-{r.number}", load_model(run.model_file("bayes", r.number))) for r in records]
    probabilities = np.stack([run.valid_probabilities("bayes", r.number) for r in records])
    ensemble = StackedEnsemble.from_fitted(members, probabilities, run.y_valid(), pixels=True)
    (folder,) = small_benchmark[0].glob("runs/*/ensemble")
    assert np.allclose(ensemble.predict_proba(digits.X), load_ensemble(folder).predict_proba(digits.X), atol=1e-6)
    probabilities[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="valid_probabilities: not all are finite"):
        StackedEnsemble.from_fitted(members, probabilities, run.y_valid())


def test_fitted_members_must_belong_to_the_labels(digits):
    X, y = digits.X[:200], digits.y[:200]
    members = [("all", GaussianNB().fit(X, y)), ("few", GaussianNB().fit(X[y < 5], y[y < 5]))]
    alone = members[:1], members[0][1].predict_proba(X)[None]
    for arguments, words in [
        (([], alone[1], y), "at least one"),
        ((members, alone[1], y), "few and all have different classes_"),
        ((alone[0], alone[1][:, :50], y), r"shape \(1, 50, 10\): must be \(1, 200, 10\)"),
        ((*alone, y + 5), "no member knows 10, 11, 12, 13, 14"),
    ]:
        with pytest.raises(ValueError, match=words):
            StackedEnsemble.from_fitted(*arguments)
    with pytest.raises(ValueError, match="cannot be trained again"):
        StackedEnsemble.from_fitted(*alone, y, refit="full")


def test_a_member_that_has_not_seen_a_class(digits):
    X, y = digits.X, digits.y
    few = RandomForestClassifier(10, random_state=0).fit(X[y < 5], y[y < 5])
    ensemble = StackedEnsemble.from_fitted([("few", few)], few.predict_proba(X[y < 5])[None], y[y < 5], calibrate=False)
    ensemble.classes_ = np.arange(10)
    assert ensemble.predict_proba(X)[:, 5:].max() == 0


@pytest.fixture(scope="module", params=["greedy", "logistic", "mean"])
def fitted(request, digits):
    return StackedEnsemble(SMALL, method=request.param, random_state=0).fit(digits.X[:1200], digits.y[:1200])


def test_calibration_lowers_the_log_loss(digits):
    X, y = digits.X, digits.y
    raw = StackedEnsemble(SMALL, calibrate=False, random_state=0).fit(X[:1200], y[:1200])
    cool = clone(raw).set_params(calibrate=True).fit(X[:1200], y[:1200])
    assert cool.temperature_ != 1
    assert raw.temperature_ == 1
    assert log_loss(y[1200:], cool.predict_proba(X[1200:])) < log_loss(y[1200:], raw.predict_proba(X[1200:]))


def test_refitted_members_have_seen_every_row(digits):
    ensemble = StackedEnsemble([("forest", RandomForestClassifier(20, random_state=0))], random_state=0)
    part = ensemble.fit(digits.X, digits.y)
    whole = clone(ensemble).set_params(refit="full").fit(digits.X, digits.y)
    assert whole.score(digits.X, digits.y) == 1
    assert part.score(digits.X, digits.y) < 1
    assert np.array_equal(whole.weights_, part.weights_)
    assert whole.temperature_ == part.temperature_


def test_images_are_rows(fitted, digits):
    rows = digits.X[:50]
    assert np.array_equal(fitted.predict_proba(rows.reshape(50, 8, 8)), fitted.predict_proba(rows))
    assert np.array_equal(fitted.predict_proba(rows.reshape(50, 8, 8, 1)), fitted.predict_proba(rows))
    assert StackedEnsemble(SMALL, random_state=0).fit(rows.reshape(50, 8, 8), digits.y[:50]).n_features_in_ == 64
    with pytest.raises(ValueError, match="49 features"):
        fitted.predict(rows.reshape(50, 8, 8)[:, :7, :7])


def test_pixels_on_another_scale_are_refused(fitted, digits):
    for factor in (1, 1.0000002):
        with pytest.raises(ValueError, match="from 0 to 1: this model was fitted on pixels from 0 to 255"):
            fitted.predict(digits.X[:10] / 255 * factor)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.predict(digits.X[:10])
        fitted.predict(digits.X[:10].astype(float))


def test_frames_and_words(digits):
    names = np.array([f"digit {label}" for label in digits.y])
    frame = pd.DataFrame(digits.X, columns=[f"pixel {i}" for i in range(64)])
    ensemble = StackedEnsemble(SMALL, random_state=0).fit(frame, names)
    assert set(ensemble.predict(frame[:100])) <= set(names)
    assert list(ensemble.feature_names_in_) == list(frame.columns)


def test_members_know_columns_by_their_names(digits, tmp_path):
    frame = pd.DataFrame(digits.X, columns=[f"pixel {i}" for i in range(64)])
    some = ColumnTransformer([("rows", "passthrough", [f"pixel {i}" for i in range(16, 48)])])
    ensemble = StackedEnsemble([("some", make_pipeline(some, GaussianNB())), *SMALL], method="mean", refit="full")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ensemble.fit(frame, digits.y).save(tmp_path / "mine")
        loaded = load_ensemble(tmp_path / "mine")
        assert np.array_equal(loaded.predict_proba(frame), ensemble.predict_proba(frame))
    assert len(ensemble.members_[0][1][0].transform(frame)[0]) == 32


def test_columns_that_xgboost_refuses_go_without_their_names(digits):
    frame = pd.DataFrame(digits.X[:200], columns=[f"pixel [{i}]" for i in range(64)])
    members = [("trees", XGBoostClassifier(n_estimators=5)), *SMALL]
    assert StackedEnsemble(members, method="mean").fit(frame, digits.y[:200]).predict(frame).shape == (200,)


def test_a_pipeline_that_begins_with_nothing_is_given_names(digits):
    frame = pd.DataFrame(digits.X[:200], columns=[f"pixel {i}" for i in range(64)])
    pipeline = sklearn.pipeline.Pipeline([("nothing", "passthrough"), ("bayes", GaussianNB())])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StackedEnsemble([("one", pipeline)], method="mean").fit(frame, digits.y[:200]).predict(frame)


def test_columns_in_another_order_are_refused_after_from_fitted_too(digits):
    frame = pd.DataFrame(digits.X, columns=[f"pixel {i}" for i in range(64)])
    members = [("named", GaussianNB().fit(frame, digits.y)), ("tree", DecisionTreeClassifier().fit(digits.X, digits.y))]
    valid = np.stack([members[0][1].predict_proba(frame), members[1][1].predict_proba(digits.X)])
    ensemble = StackedEnsemble.from_fitted(members, valid, digits.y, method="mean")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ensemble.score(frame, digits.y) > 0.8
    with pytest.raises(ValueError, match="feature names"):
        ensemble.predict(frame[frame.columns[::-1]])
    other = GaussianNB().fit(frame.rename(columns={"pixel 0": "first"}), digits.y)
    with pytest.raises(ValueError, match="other and named were fitted on different columns"):
        StackedEnsemble.from_fitted([members[0], ("other", other)], valid[[0, 0]], digits.y)


class Looking(GaussianNB):
    """Knows what shape it was told that images have."""

    def __init__(self, image_shape=None):
        super().__init__()
        self.image_shape = image_shape

    def fit(self, X, y):
        assert self.image_shape is None or X.shape[1] == 64
        return super().fit(X, y)


def test_a_model_behind_features_is_not_told_the_shape_of_images(digits):
    images = digits.X.reshape(-1, 8, 8)
    behind = Pipeline(Looking(), features=make_pipeline(PCA(9)))
    members = [("behind", behind), ("before", Pipeline(Looking()))]
    ensemble = StackedEnsemble(members, method="mean").fit(images, digits.y)
    assert [member.model_.image_shape for _, member in ensemble.members_] == [None, (8, 8)]


@pytest.mark.parametrize("method", ["greedy", "logistic"])
def test_words_are_labels_after_loading_too(digits, tmp_path, method):
    names = np.array([f"digit {label}" for label in digits.y])
    ensemble = StackedEnsemble(SMALL, method=method, random_state=0).fit(digits.X[:900], names[:900])
    ensemble.save(tmp_path / "mine")
    loaded = load_ensemble(tmp_path / "mine")
    assert np.array_equal(loaded.predict(digits.X), ensemble.predict(digits.X))
    assert loaded.score(digits.X[900:], names[900:]) > 0.7


def test_a_loaded_one_knows_columns_and_parameters(digits, tmp_path):
    frame = pd.DataFrame(digits.X, columns=[f"pixel {i}" for i in range(64)])
    parameters = {"valid_size": 0.3, "calibrate": False, "max_steps": np.int64(7), "refit": "full", "method": "mean"}
    ensemble = StackedEnsemble(SMALL, random_state=3, **parameters).fit(frame, digits.y)
    ensemble.save(tmp_path / "mine")
    loaded = load_ensemble(tmp_path / "mine")
    assert loaded.get_params(deep=False).items() >= {**parameters, "random_state": 3}.items()
    assert loaded.data_fingerprint_ == ensemble.data_fingerprint_ != ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(loaded.predict(frame), ensemble.predict(frame))
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame[frame.columns[::-1]])


def test_members_learn_the_shape_of_images(digits, tmp_path):
    wide = digits.X.reshape(-1, 4, 16)
    hog = make_pipeline(ImageFeatures("hog", cell_size=2), GaussianNB(var_smoothing=0.01))
    ensemble = StackedEnsemble([("hog", hog)], random_state=0).fit(wide, digits.y)
    alone = clone(hog).set_params(imagefeatures__image_shape=(4, 16))
    other = StackedEnsemble([("hog", alone)], random_state=0).fit(digits.X, digits.y)
    assert np.array_equal(ensemble.predict_proba(digits.X), other.predict_proba(digits.X))
    ensemble.save(tmp_path / "mine")
    for fitted in (ensemble, load_ensemble(tmp_path / "mine")):
        assert np.array_equal(fitted.predict_proba(wide), fitted.predict_proba(wide[..., np.newaxis]))
        with pytest.raises(ValueError, match=r"images of \(8, 8\): .* fitted on images of \(4, 16\)"):
            fitted.predict(digits.X.reshape(-1, 8, 8))


def test_members_are_reached_by_their_names(digits):
    search = GridSearchCV(StackedEnsemble(SMALL, method="mean", random_state=0), {"tree__max_depth": [1, 8]}, cv=2)
    best = search.fit(digits.X[:600], digits.y[:600])
    assert dict(best.best_estimator_.members_)["tree"].max_depth == best.best_params_["tree__max_depth"]
    assert len(set(best.cv_results_["mean_test_score"])) == 2
    dropped = StackedEnsemble(SMALL, random_state=0).set_params(bayes="drop").fit(digits.X[:600], digits.y[:600])
    assert [name for name, _ in dropped.members_] == ["tree"]
    assert StackedEnsemble().get_params()["estimators"] is None


def test_a_rare_class_does_not_spoil_the_choice(digits):
    X, y = digits.X[:1200].astype(float), digits.y[:1200].copy()
    y[0] = 10
    ensemble = StackedEnsemble(SMALL, random_state=0).fit(X, y)
    whole = StackedEnsemble(SMALL, random_state=0).fit(X, digits.y[:1200])
    assert ensemble.temperature_ != 1
    assert ensemble.score(digits.X[1200:], digits.y[1200:]) > whole.score(digits.X[1200:], digits.y[1200:]) - 0.03


@pytest.mark.parametrize("valid_size", [0.2, 0.8])
def test_a_class_of_two_rows_is_learnt_by_every_member(digits, valid_size):
    X, y = digits.X[:400].astype(float), digits.y[:400].copy()
    y[[0, 1]] = 10
    ensemble = StackedEnsemble(SMALL, method="mean", valid_size=valid_size, random_state=0).fit(X, y)
    assert all(10 in member.classes_ for _, member in ensemble.members_)


def test_a_stack_that_would_learn_from_one_class_is_the_mean(digits):
    y = np.array([0] * 98 + [1, 1])
    with pytest.warns(UserWarning, match="of one class: the members' plain mean is taken"):
        ensemble = StackedEnsemble(SMALL, method="logistic", random_state=0).fit(digits.X[:100], y)
    assert ensemble.stacker_ is None
    assert list(ensemble.weights_) == [0.5, 0.5]
    assert list(ensemble.classes_) == [0, 1]


def test_metadata_reach_the_members_that_ask_for_them(digits):
    X, y = digits.X[:200].astype(float), digits.y[:200] % 2
    weights = np.random.default_rng(0).integers(0, 3, 200).astype(float)
    with pytest.raises(ValueError, match="sample_weight"):
        StackedEnsemble(SMALL).fit(X, y, sample_weight=weights)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = GaussianNB().set_fit_request(sample_weight=True)
        plain = DecisionTreeClassifier(random_state=0).set_fit_request(sample_weight=False)
        both = [("asking", make_pipeline(asking)), ("plain", plain)]
        ensemble = StackedEnsemble(both, method="mean", refit="full", n_jobs=2, random_state=0)
        pipeline = make_pipeline(MinMaxScaler(), ensemble).fit(X, y, sample_weight=weights)
        members = dict(pipeline[-1].members_)
        scaled = pipeline[0].transform(X)
        assert np.array_equal(members["asking"][0].theta_, clone(asking).fit(scaled, y, sample_weight=weights).theta_)
        assert np.array_equal(members["plain"].predict(scaled), y)


def test_rows_that_are_held_out_stop_members_early(digits):
    booster = XGBoostClassifier(n_estimators=400, learning_rate=0.5, early_stopping_rounds=3)
    ensemble = StackedEnsemble([("trees", booster)], random_state=0).fit(digits.X[:600], digits.y[:600])
    rounds = ensemble.members_[0][1].best_iteration + 1
    assert rounds < 100
    whole = clone(ensemble).set_params(refit="full").fit(digits.X[:600], digits.y[:600])
    assert whole.members_[0][1].get_booster().num_boosted_rounds() == rounds


def test_frames_come_out_of_what_stands_before_it(digits):
    frame = pd.DataFrame(digits.X[:300], columns=[f"pixel {i}" for i in range(64)])
    pipeline = make_pipeline(MinMaxScaler(), StackedEnsemble(SMALL, random_state=0)).set_output(transform="pandas")
    pipeline.fit(frame, digits.y[:300])
    assert list(pipeline[-1].feature_names_in_) == list(frame.columns)
    assert pipeline.predict(frame).shape == (300,)


def test_it_is_searched_and_calibrated_like_any_other(digits):
    search = GridSearchCV(StackedEnsemble(SMALL, random_state=0), {"method": ["greedy", "logistic"]}, cv=2)
    search.fit(digits.X[:600], digits.y[:600])
    assert search.best_score_ > 0.7
    calibrated = CalibratedClassifierCV(StackedEnsemble(SMALL, random_state=0), cv=2)
    assert calibrated.fit(digits.X[:600], digits.y[:600]).score(digits.X[600:], digits.y[600:]) > 0.6


def test_many_rows_are_predicted_in_batches(fitted, digits, monkeypatch):
    expected = fitted.predict_proba(digits.X[:100])
    monkeypatch.setattr("fmnist_bench.ensemble.estimator.BATCH", 33)
    sizes, own = [], fitted.members_[0][1].predict_proba
    monkeypatch.setattr(fitted.members_[0][1], "predict_proba", lambda X: [sizes.append(len(X)), own(X)][1])
    assert np.allclose(fitted.predict_proba(digits.X[:100]), expected, rtol=0, atol=1e-12)
    assert sizes == [33, 33, 33, 1]


class Meeting(GaussianNB):
    """Predicts when another one does, too, or not at all."""

    barrier = threading.Barrier(2)

    def predict_proba(self, X):
        self.barrier.wait(timeout=60)
        return super().predict_proba(X)


def test_members_predict_side_by_side(digits):
    members = [(name, Meeting().fit(digits.X, digits.y)) for name in ("one", "two")]
    valid = np.stack([GaussianNB.predict_proba(member, digits.X) for _, member in members])
    ensemble = StackedEnsemble.from_fitted(members, valid, digits.y, method="mean", n_jobs=2)
    assert ensemble.predict_proba(digits.X).shape == (len(digits.X), 10)


def test_saved_and_loaded_it_predicts_the_same(fitted, digits, tmp_path):
    fitted.save(tmp_path / "mine")
    loaded = load_ensemble(tmp_path / "mine")
    assert np.array_equal(loaded.predict_proba(digits.X), fitted.predict_proba(digits.X))
    assert loaded.temperature_ == fitted.temperature_
    assert loaded.pixels_
    assert loaded.n_jobs == -1, "its members predict side by side"
    assert not list(tmp_path.glob("*.tmp"))


class Foreign(GaussianNB):
    """A type that nobody trusts."""


def test_what_could_not_be_loaded_is_not_saved(digits, tmp_path):
    ensemble = StackedEnsemble([("foreign", Foreign())], random_state=0).fit(digits.X, digits.y)
    with pytest.raises(InputError, match="member foreign: .*not trusted: tests.ensemble.test_estimator.Foreign"):
        ensemble.save(tmp_path / "mine")
    assert not list(tmp_path.iterdir())
    ensemble.save(tmp_path / "mine", allow_import=["tests.ensemble"])
    with pytest.raises(InputError, match="not trusted: tests.ensemble.test_estimator.Foreign"):
        load_ensemble(tmp_path / "mine")
    loaded = load_ensemble(tmp_path / "mine", allow_import=["tests.ensemble"])
    assert np.array_equal(loaded.predict(digits.X), ensemble.predict(digits.X))


def test_names_of_classes_are_kept(fitted, digits, tmp_path):
    assert fitted.class_names_ == list("0123456789")
    fitted.save(tmp_path / "plain")
    manifest = json.loads((tmp_path / "plain" / MANIFEST).read_text())
    assert manifest["class_names"] is None and load_ensemble(tmp_path / "plain").class_names_ == list("0123456789")
    loaded = load_ensemble(tmp_path / "plain")
    loaded.class_names_ = [f"digit {i}" for i in range(10)]  # as a benchmark's manifest says them
    loaded.save(tmp_path / "named")
    assert load_ensemble(tmp_path / "named").class_names_ == loaded.class_names_
    assert loaded.fit(digits.X[:300], digits.y[:300]).class_names_ == list("0123456789")


def test_it_shows_members_and_weights(fitted):
    page, text = fitted._repr_html_(), repr(fitted)
    assert "fitted" not in repr(clone(fitted))
    for (name, _), weight in zip(fitted.members_, fitted.weights_, strict=True):
        assert f"{name}, weight {weight:.2f}" in page
        assert f"{name} {weight:.2f}" in text


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"method": "best"}, "method='best': must be one of greedy, logistic, mean"),
        ({"refit": True}, "refit=True: must be one of no, full"),
        ({"estimators": [SMALL[0], SMALL[0]]}, r"not unique: \['tree', 'tree'\]"),
        ({"estimators": [("method", SMALL[0][1])]}, r"conflict with constructor arguments: \['method'\]"),
        ({"estimators": [("a__b", SMALL[0][1])]}, r"must not contain __: got \['a__b'\]"),
        ({"estimators": [*SMALL, ("third", "dropped")]}, "'dropped' must be an estimator, or drop"),
        ({"estimators": []}, "at least one is needed"),
        ({"estimators": [("tree", "drop")]}, "at least one is needed"),
        ({"valid_size": 500}, "valid_size=500: must be a share of the rows"),
        ({"valid_size": 0}, "valid_size=0: must be"),
        ({"max_steps": 0}, "max_steps=0: must be at least 1"),
    ],
)
def test_mistakes_are_named(digits, parameters, words):
    with pytest.raises(ValueError, match=words):
        StackedEnsemble(**{"estimators": SMALL, **parameters}).fit(digits.X[:50], digits.y[:50])


def test_labels_that_a_member_refuses_are_encoded_for_it(digits, tmp_path):
    members = [("xgboost", xgboost.XGBClassifier(n_estimators=5, max_depth=3)), *SMALL]
    for labels in (digits.y + 1, np.array([f"digit {c}" for c in digits.y])):
        voting = VotingClassifier(members, voting="soft").fit(digits.X[:200], labels[:200])
        ensemble = StackedEnsemble(members, method="mean", random_state=0).fit(digits.X[:200], labels[:200])
        assert voting.score(digits.X[200:], labels[200:]) > 0.5
        assert ensemble.score(digits.X[200:], labels[200:]) > 0.5
        assert [list(member.classes_) for _, member in ensemble.members_] == [list(range(10))] * 3
        ensemble.save(tmp_path / "saved")
        loaded = load_ensemble(tmp_path / "saved", n_jobs=None)
        assert np.array_equal(loaded.predict_proba(digits.X), ensemble.predict_proba(digits.X))
        assert set(loaded.predict(digits.X)) <= set(labels)


def test_a_column_of_words_is_for_the_members_to_encode(digits):
    frame = pd.DataFrame(digits.X[:, :40], columns=[f"px[0,{i}]" for i in range(40)])
    frame["kind"] = np.array(["low", "high"])[(digits.y > 4).astype(int)]
    encode = ColumnTransformer([("kind", OneHotEncoder(), ["kind"])], remainder="passthrough")
    members = [("tree", make_pipeline(encode, DecisionTreeClassifier(random_state=0)))]
    members.append(("bayes", make_pipeline(encode, GaussianNB(var_smoothing=0.01))))
    voting = VotingClassifier(members, voting="soft").fit(frame[:250], digits.y[:250])
    ensemble = StackedEnsemble(members, refit="full", random_state=0).fit(frame[:250], digits.y[:250])
    assert list(ensemble.feature_names_in_) == list(frame.columns)
    assert ensemble.n_features_in_ == 41
    for model in (voting, ensemble):
        assert model.score(frame[250:], digits.y[250:]) > 0.5
    with pytest.raises(ValueError, match="feature names should match"):
        ensemble.predict(frame[frame.columns[::-1]])


def test_names_are_hidden_from_xgboost_alone(digits):
    frame = pd.DataFrame(digits.X, columns=[f"px[0,{i}]" for i in range(64)])
    by_name = make_pipeline(ColumnTransformer([("half", "passthrough", list(frame.columns[:32]))]), GaussianNB())
    members = [("xgboost", xgboost.XGBClassifier(n_estimators=3)), ("half", by_name)]
    ensemble = StackedEnsemble(members, method="mean", random_state=0).fit(frame, digits.y)
    assert ensemble.score(frame, digits.y) > 0.6
    assert not hasattr(dict(ensemble.members_)["xgboost"], "feature_names_in_")
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        assert np.array_equal(ensemble.predict(digits.X), ensemble.predict(frame))


def test_missing_values_are_taken_where_every_member_takes_them(digits):
    X = np.where(digits.X > 15, np.nan, digits.X.astype(float))
    tree = make_pipeline(SimpleImputer(), DecisionTreeClassifier(random_state=0))
    members = [("boosted", HistGradientBoostingClassifier(max_iter=3)), ("tree", tree)]
    assert StackedEnsemble(members, random_state=0).fit(X, digits.y).score(X, digits.y) > 0.8
    with pytest.raises(ValueError, match="contains NaN"):
        StackedEnsemble([*members, ("bayes", GaussianNB())]).fit(X, digits.y)


def test_a_member_without_probabilities_is_found_before_any_is_trained(digits):
    class Untouched(GaussianNB):
        def fit(self, X, y):
            raise AssertionError("trained")

    members = [("first", Untouched()), ("svm", LinearSVC()), ("searched", GridSearchCV(LinearSVC(), {"C": [1.0]}))]
    with pytest.raises(ValueError, match="svm, searched: no predict_proba; wrap in CalibratedClassifierCV"):
        StackedEnsemble(members).fit(digits.X, digits.y)


class Reversed(GaussianNB):
    """Has its classes the other way round."""

    def fit(self, X, y):
        super().fit(X, y)
        self.classes_ = self.classes_[::-1]
        return self

    def predict_proba(self, X):
        ordered = GaussianNB.predict_proba(self, X)
        return ordered[:, ::-1]


def test_classes_in_another_order_are_put_into_theirs(digits):
    member = Reversed(var_smoothing=0.01).fit(digits.X[:200], digits.y[:200])
    found = member.predict_proba(digits.X[200:])[None]
    ensemble = StackedEnsemble.from_fitted([("reversed", member)], found, digits.y[200:])
    assert list(ensemble.classes_) == list(range(10))
    assert ensemble.score(digits.X[200:], digits.y[200:]) > 0.7
