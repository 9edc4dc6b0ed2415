import numpy as np
import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.building import as_argument, build, resolve
from fmnist_bench.config.space import Spec, parse_spec
from fmnist_bench.config.study import SearchSpace, Study

SVM = {
    "use": "sklearn.calibration.CalibratedClassifierCV",
    "method": "temperature",
    "estimator": {"use": "sklearn.svm.SVC", "C": {"low": 0.1, "high": 10.0, "log": True}, "kernel": "rbf"},
}
BAYES = {"use": "sklearn.naive_bayes.GaussianNB", "var_smoothing": {"low": 1e-9, "high": 1e-3}}
TREE = {"use": "sklearn.tree.DecisionTreeClassifier", "max_depth": {"choices": [3, {"none": True}]}}


def made(table, allow_import=(), **values):
    return build(parse_spec(table, "here"), values, "model", "here", allow_import)


def test_build_puts_values_into_nested_objects():
    model = made(SVM, model__estimator__C=3.0)
    assert model.method == "temperature"
    assert model.get_params()["estimator__C"] == 3.0
    assert model.estimator.kernel == "rbf"


def test_facts_reach_every_class_that_has_them_and_was_given_none():
    table = {"use": "sklearn.ensemble.BaggingClassifier", "estimator": {**TREE, "random_state": 7}}
    facts = {"random_state": 3, "cache_dir": "there"}
    bagging = build(parse_spec(table, "here"), {"model__estimator__max_depth": 3}, "model", "here", (), facts)
    boosting = build(parse_spec({"use": "fmnist_bench.models.XGBoostClassifier"}, "here"), {}, "m", "here", (), facts)
    splitter = build(parse_spec({"use": "sklearn.model_selection.KFold"}, "here"), {}, "m", "here", (), facts)
    assert (bagging.random_state, bagging.estimator.random_state) == (3, 7)
    assert boosting.random_state == 3
    assert splitter.random_state is None  # which a KFold that does not shuffle refuses


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("os.system", "not allowed; allowed are fmnist_bench"),
        ("sklearnx.svm.SVC", "not allowed"),
        ("sklearn.nowhere.SVC", "cannot import sklearn.nowhere"),
        ("sklearn.svm.SVV", "no class SVV; did you mean SV"),
        ("sklearn.svm.l1_min_c", "no class l1_min_c"),
        ("sklearn.datasets._covtype.GzipFile", "is gzip.GzipFile, which is not allowed"),
        ("fmnist_bench.storage.run_folder.Path", "which is not allowed"),
        ("fmnist_bench.storage.run_folder.Store", "no estimator, transformer, splitter or kernel"),
        ("sklearn.utils.Bunch", "no estimator, transformer, splitter or kernel"),
        ("xgboost.callback.TrainingCheckPoint", "no estimator, transformer, splitter or kernel"),
        ("xgboost.Booster", "no estimator, transformer, splitter or kernel"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused(use, words):
    with pytest.raises(InputError, match=words):
        resolve(use, "here")


@pytest.mark.parametrize(
    "use",
    [
        "sklearn.svm.SVC",
        "sklearn.model_selection.StratifiedShuffleSplit",
        "sklearn.model_selection.RepeatedStratifiedKFold",
        "sklearn.gaussian_process.kernels.RBF",
        "xgboost.XGBRFClassifier",
        "fmnist_bench.models.ImageFeatures",
    ],
)
def test_estimators_splitters_and_kernels_are_allowed(use):
    assert resolve(use, "here").__name__ == use.rpartition(".")[2]


def test_a_study_opens_no_file(tmp_path):
    victim = tmp_path / "notes.txt"
    victim.write_text("mine")
    opener = {"use": "sklearn.datasets._covtype.GzipFile", "filename": str(victim), "mode": "wb"}
    with pytest.raises(InputError, match="not allowed"):
        made({"use": "sklearn.linear_model.LogisticRegression", "class_weight": opener})
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    ("use", "key"),
    [
        ("sklearn.cluster.FeatureAgglomeration", "memory"),
        ("sklearn.pipeline.Pipeline", "memory"),
        ("imblearn.pipeline.Pipeline", "memory"),
        ("fmnist_bench.models.ImageFeatures", "cache_dir"),
        ("fmnist_bench.models.ConditionalGAN", "generator"),
    ],
)
def test_arguments_that_name_files_or_caches_are_refused(use, key):
    with pytest.raises(InputError, match=f"here.{key}: a study may not name files or caches"):
        made({"use": use, key: "cachedir"}, ("imblearn",))


@pytest.mark.parametrize("name", ["features__fagg__memory", "features__memory", "model__memory"])
def test_a_default_configuration_names_no_cache_either(name):
    agglomeration = Spec("sklearn.cluster.FeatureAgglomeration", {})
    pipeline = parse_spec({"use": "sklearn.pipeline.Pipeline", "steps": [BAYES]}, "here")
    space = SearchSpace("s", pipeline, features=(agglomeration,))
    values = {"model__gaussiannb__var_smoothing": 1e-5, name.replace("fagg", "featureagglomeration"): "cachedir"}
    with pytest.raises(InputError, match="may not name files or caches"):
        Study(space).pipeline(values)


def test_an_allowed_prefix_admits_that_package_alone():
    assert resolve("collections.OrderedDict", "here", ("collections",)).__name__ == "OrderedDict"
    with pytest.raises(InputError, match="not allowed"):
        resolve("collections_evil.X", "here", ("collections",))


def test_unknown_arguments_are_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"SVC has no such argument; did you mean gamma\?"):
        build(Spec("sklearn.svm.SVC", {"gama": 1}), {}, "model", "here")
    with pytest.raises(InputError, match="max_dept: .* did you mean max_depth"):
        build(Spec("xgboost.XGBClassifier", {"max_dept": 1}), {}, "model", "here")


def test_arguments_that_a_class_passes_on_are_taken():
    model = made({"use": "xgboost.XGBClassifier", "booster": "dart", "rate_drop": 0.1, "sample_type": "weighted"})
    assert {"rate_drop": 0.1, "sample_type": "weighted"}.items() <= model.get_xgb_params().items()


def test_lists_of_objects_build_what_scikit_learn_takes():
    table = {"use": "sklearn.ensemble.VotingClassifier", "voting": "soft", "estimators": [BAYES, ["tree", TREE]]}
    model = made(table, model__gaussiannb__var_smoothing=1e-5, model__tree__max_depth=None)
    assert [name for name, _ in model.estimators] == ["gaussiannb", "tree"]
    assert model.get_params()["gaussiannb__var_smoothing"] == 1e-5
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    assert model.fit(X, y).predict_proba(X).shape == (40, 2)


def test_what_stands_beside_an_object_goes_with_it():
    scaler = {"use": "sklearn.preprocessing.StandardScaler"}
    transformers = [["left", scaler, [0, 1]], ["right", "passthrough", [2]]]
    model = made({"use": "sklearn.compose.ColumnTransformer", "transformers": transformers})
    assert model.fit_transform(np.eye(3)).shape == (3, 3)
    assert [step[2] for step in model.transformers] == [[0, 1], [2]]


def test_an_object_may_not_be_called_like_an_argument():
    with pytest.raises(InputError, match="memory cannot name an object: sklearn.pipeline.Pipeline has an argument"):
        made({"use": "sklearn.pipeline.Pipeline", "steps": [["memory", TREE]]})


@pytest.mark.parametrize(
    ("use", "key", "value", "expected"),
    [
        ("sklearn.preprocessing.MinMaxScaler", "feature_range", [0, 2], (0, 2)),
        ("sklearn.preprocessing.RobustScaler", "quantile_range", [10.0, 90.0], (10.0, 90.0)),
        ("sklearn.neural_network.MLPClassifier", "hidden_layer_sizes", [64, 32], [64, 32]),
        ("sklearn.linear_model.LogisticRegression", "class_weight", {"0": 1.0, "-1": 2}, {0: 1.0, -1: 2}),
        ("sklearn.neighbors.KNeighborsClassifier", "metric_params", {"w": [1]}, {"w": [1]}),
        ("sklearn.svm.SVC", "class_weight", None, None),
    ],
)
def test_a_value_becomes_what_the_class_takes(use, key, value, expected):
    found = as_argument(resolve(use, "here"), key, value, "here")
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("use", "key"), [("sklearn.svm.SVC", "C"), ("xgboost.XGBClassifier", "max_depth"), ("sklearn.svm.SVC", "kernel")]
)
def test_a_dictionary_in_place_of_a_range_is_refused(use, key):
    with pytest.raises(InputError, match=r"here.*; a range is \{low, high.*found \{max, min\}"):
        made({"use": use, key: {"min": 1, "max": 3}})
