"""What `check` refuses, of classes that can be built."""

import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.checking import check_student, check_study
from fmnist_bench.config.loader import load_space
from fmnist_bench.config.space import Spec
from fmnist_bench.config.study import SearchSpace, Study

BAYES = '{ use = "sklearn.naive_bayes.GaussianNB" }'
TSNE = '{ use = "sklearn.manifold.TSNE" }'


@pytest.fixture
def check(tmp_path):
    def check(text, allow_import=()):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        for study in load_space(path).studies:
            check_study(study, allow_import)

    return check


def model(use, arguments=""):
    return f'[model]\nuse = "sklearn.{use}"\n{arguments}\n'


@pytest.mark.parametrize(
    "text",
    [
        model("ensemble.VotingClassifier", f'voting = "soft"\nestimators = [{BAYES}, ["other", {BAYES}]]'),
        model("ensemble.StackingClassifier", f"estimators = [{BAYES}, {BAYES}]"),
        model("pipeline.Pipeline", f'steps = [["scale", "passthrough"], {BAYES}]'),
        model("model_selection.GridSearchCV", f"estimator = {BAYES}\nparam_grid = {{ var_smoothing = [1e-9, 1e-3] }}"),
        model("tree.DecisionTreeClassifier", "max_depth = { choices = [3, { none = true }] }"),
        model("neural_network.MLPClassifier", "hidden_layer_sizes = { choices = [[64], [64, 32]] }"),
        model("linear_model.LogisticRegression", 'class_weight = { choices = ["balanced", { 0 = 2.0 }] }'),
        model("svm.SVC", "probability = true\nC = { low = 0.1, high = 1.0 }\n[fidelity]\nmax_iter = [10, 20]"),
        "[[features]]\nuse = 'sklearn.pipeline.FeatureUnion'\n"
        "transformer_list = [{ use = 'sklearn.decomposition.PCA' }, { use = 'sklearn.decomposition.NMF' }]\n"
        + model("naive_bayes.GaussianNB"),
    ],
)
def test_what_scikit_learn_takes_is_taken(check, text):
    check(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"features = [{TSNE}]\n" + model("naive_bayes.GaussianNB"), "TSNE has no transform"),
        (
            f"features = [{{ use = 'sklearn.pipeline.FeatureUnion', transformer_list = [{TSNE}] }}]\n"
            + model("naive_bayes.GaussianNB"),
            "should implement fit and transform",
        ),
        (model("pipeline.Pipeline", f"steps = [{TSNE}, {BAYES}]"), "implement fit and transform"),
        ("[augment]\nuse = 'sklearn.decomposition.PCA'\n" + model("naive_bayes.GaussianNB"), "no fit_resample"),
        (
            model("linear_model.SGDClassifier", 'loss = { choices = ["hinge", "log_loss"] }'),
            "no predict_proba with model__loss = 'hinge'; wrap it in sklearn.calibration.Cal",
        ),
        (
            model("linear_model.SGDClassifier", 'loss = { choices = ["log_loss", "hinge"] }'),
            "no predict_proba with model__loss = 'hinge'; wrap it in",
        ),
        (
            "[model]\nuse = 'xgboost.XGBClassifier'\nearly_stopping_rounds = 5",
            "early_stopping_rounds: fmnist_bench.models.XGBoostClassifier stops early",
        ),
        (model("svm.LinearSVC"), "no predict_proba; wrap it in"),
        (model("linear_model.LinearRegression"), "LinearRegression has no predict_proba; it is no classifier$"),
        (model("ensemble.VotingClassifier", f"estimators = [{BAYES}]"), "VotingClassifier has no predict_proba$"),
        (
            model("tree.DecisionTreeClassifier", 'max_depth = { choices = [3, "None"] }'),
            "study mine, model__max_depth = 'None': The 'max_depth' parameter of .*; None is written { none = true }",
        ),
        (model("svm.SVC", "C = { low = -1.0, high = 1.0 }"), "The 'C' parameter of SVC must be"),
        (
            model("svm.SVC", "[fidelity]\nmax_iter = [0.5, 1.5]"),
            r"\[fidelity\]: The 'max_iter' parameter of SVC must be",
        ),
        (model("svm.SVC", "C = 1.0\n[[default]]\nname = 'one'\nC = 'high'"), r"\[\[default\]\] one: The 'C' parameter"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(check, text, words):
    with pytest.raises(InputError, match=words) as error:
        check(text)
    assert "\n" not in str(error.value)


def test_what_nobody_can_set_needs_a_value(check):
    own = "[model]\nuse = 'troublemakers.Trouble'\nkind = [{ use = 'sklearn.svm.SVC', C = { low = 1, high = 2 } }]"
    with pytest.raises(InputError, match="model__svc__C: its class lets nobody set it"):
        check(own, ("troublemakers",))


def test_a_student_must_be_able_to_learn_from_a_teacher():
    check_student(Study(SearchSpace("distilled", Spec("fmnist_bench.models.CNNClassifier", {}))))
    for use in ("sklearn.svm.SVC", "fmnist_bench.models.HyperModelClassifier"):
        with pytest.raises(InputError, match=f"student: {use} cannot learn from a teacher; must be a network such as"):
            check_student(Study(SearchSpace("distilled", Spec(use, {}))))
