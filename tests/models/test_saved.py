import io
import json
import zipfile

import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import FeatureAgglomeration
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest, SelectPercentile, chi2, mutual_info_classif
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, SplineTransformer
from sklearn.random_projection import SparseRandomProjection
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from troublemakers import Trouble

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.loader import load_space
from fmnist_bench.config.study import Study
from fmnist_bench.ensemble.estimator import StackedEnsemble
from fmnist_bench.models.saved import is_trusted, load_model, save_model
from fmnist_bench.pipeline import Pipeline

TWO = [("bayes", GaussianNB(var_smoothing=0.01)), ("tree", DecisionTreeClassifier(max_depth=4, random_state=0))]


def after(transformer):
    return make_pipeline(transformer, GaussianNB(var_smoothing=0.01))


@pytest.mark.parametrize(
    "model",
    [
        KNeighborsClassifier(p=3, algorithm="kd_tree"),
        KNeighborsClassifier(metric="chebyshev", algorithm="ball_tree"),
        KNeighborsClassifier(metric="canberra", algorithm="ball_tree"),
        after(SelectKBest(k=20)),
        after(SelectKBest(chi2, k=20)),
        after(SelectPercentile(mutual_info_classif, percentile=40)),
        after(SimpleImputer()),
        after(KBinsDiscretizer(3, encode="onehot-dense", quantile_method="averaged_inverted_cdf")),
        after(SplineTransformer(n_knots=3, degree=2)),
        after(SparseRandomProjection(20, random_state=0)),
        after(FeatureAgglomeration(20)),
        CalibratedClassifierCV(LinearSVC(), cv=StratifiedKFold(2)),
        VotingClassifier(TWO, voting="soft"),
        StackingClassifier(TWO, GaussianNB(), cv=2),
        GridSearchCV(GaussianNB(), {"var_smoothing": [0.01, 0.1]}, cv=2),
        GridSearchCV(GaussianNB(), {"var_smoothing": [0.1]}, scoring=make_scorer(f1_score, average="macro"), cv=2),
        GaussianProcessClassifier(),
        HistGradientBoostingClassifier(max_iter=3),
        xgboost.XGBClassifier(n_estimators=3),
        xgboost.XGBRFClassifier(n_estimators=3),
        StackedEnsemble([("inner", StackedEnsemble(TWO, random_state=0)), *TWO], random_state=0),
    ],
    ids=lambda model: type(getattr(model, "steps", [[None, model]])[0][1]).__name__,
)
def test_common_models_load_again(model, digits, tmp_path):
    rows = digits.y < 3
    fitted = Pipeline(model).fit(digits.X[rows][:150], digits.y[rows][:150])
    save_model(fitted, tmp_path / "model.skops")
    assert [path.name for path in tmp_path.iterdir()] == ["model.skops"]
    loaded = load_model(tmp_path / "model.skops")
    np.testing.assert_allclose(loaded.predict_proba(digits.X[:50]), fitted.predict_proba(digits.X[:50]), atol=1e-6)


def test_lightgbm_is_a_model_like_any_other_once_it_is_allowed(digits, tmp_path):
    space = '[model]\nuse = "lightgbm.LGBMClassifier"\nn_estimators = { low = 3, high = 9 }\nverbose = -1\n'
    (tmp_path / "light.toml").write_text(space)
    pipeline = Study(load_space(str(tmp_path / "light.toml"))).pipeline({"model__n_estimators": 3}, ("lightgbm",))
    fitted = pipeline.fit(digits.X[:300], digits.y[:300])
    save_model(fitted, tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops", allow_import=["lightgbm"])
    np.testing.assert_array_equal(loaded.predict_proba(digits.X), fitted.predict_proba(digits.X))


@pytest.mark.parametrize(
    "name",
    [
        "sklearn.datasets._covtype.GzipFile",  # reached through scikit-learn, defined elsewhere
        "sklearn.datasets._base.load_files",
        "sklearn.linear_model.LogisticRegression",  # not where it is defined
        "sklearn.metrics.pairwise.Parallel",
        "sklearn.metrics.pairwise.check_array",
        "sklearn.utils.parallel.delayed",
        "sklearn.utils._testing.TempMemmap",
        "sklearn.tests.test_base.MyEstimator",
        "sklearn.callback._transport.Listener",
        "xgboost.core.ctypes",
        "xgboost.callback.TrainingCheckPoint",
        "fmnist_bench.storage.run_folder.Store",
        "fmnist_bench.models.saved.load_model",
        "fmnist_bench.__main__.main",
        "scipy.sparse._matrix_io.load_npz",
        "scipy.sparse.linalg.LinearOperator",
        "scipy.stats._distn_infrastructure.rv_continuous",  # runs the code that its state names
        "numpy.load",
        "numpy.fromfile",
        "joblib.memory.Memory",
        "functools.partial",
        "builtins.eval",
        "os.system",
        "",
        ".",
        "sklearn.",
    ],
)
def test_what_does_more_than_hold_data_is_refused(name):
    assert not is_trusted(name)


def test_a_foreign_type_is_refused(digits, tmp_path):
    path = tmp_path / "model.skops"
    skops.io.dump(Pipeline(FunctionTransformer(np.load)), path)
    with pytest.raises(InputError, match=r"types that are not trusted: numpy\.load \(allow_import=.*--allow-import"):
        load_model(path)
    skops.io.dump(Trouble().fit(digits.X, digits.y), path)
    with pytest.raises(InputError, match=r"troublemakers\.Trouble"):
        load_model(path)
    assert load_model(path, ("troublemakers",)).kind == "none"


def test_no_bound_method_is_trusted(tmp_path):
    skops.io.dump(FunctionTransformer(GaussianNB().fit), tmp_path / "model.skops")
    with pytest.raises(InputError, match=r"not trusted: sklearn\.naive_bayes\.GaussianNB\.fit"):
        load_model(tmp_path / "model.skops")


def test_a_constructor_that_a_file_calls_is_refused(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("whole")
    args = skops.io._utils.get_state((str(victim), "wb"), skops.io._utils.SaveContext(None))
    schema = {"__class__": "GzipFile", "__module__": "sklearn.datasets._covtype", "content": args, "protocol": 2}
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps({"__loader__": "ConstructorFromReduceNode", **schema}))
    with pytest.raises(InputError, match="GzipFile"):
        load_model(tmp_path / "model.skops")
    assert victim.read_text() == "whole"


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "model.skops").write_bytes(b"PK damaged")
    with pytest.raises(InputError, match="not a readable model file"):
        load_model(tmp_path / "model.skops")


@pytest.mark.parametrize("part", ["schema.json", "array.npy"])
def test_a_bomb_is_refused_before_it_is_inflated(tmp_path, part):
    save_model(LogisticRegression().fit(np.eye(2), [0, 1]), tmp_path / "model.skops")
    with zipfile.ZipFile(tmp_path / "model.skops", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more-" + part, b"\0" * 2**24)
    with pytest.raises(InputError, match=r"its parts are said to have 1\d{7} bytes, the whole file has \d{4,5}$"):
        load_model(tmp_path / "model.skops")


def test_a_bomb_in_a_sparse_matrix_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fmnist_bench._utils.archives.FREE", 0)
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", b"\0" * 2**24)
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("matrix.npz", inner.getvalue())
    with pytest.raises(InputError, match="would be inflated to 16777216; at most 250 times are read"):
        load_model(tmp_path / "model.skops")


def test_a_file_nested_deeper_than_can_be_read_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", "[" * 100_000)
    with pytest.raises(InputError, match="not a readable model file"):
        load_model(tmp_path / "model.skops")
