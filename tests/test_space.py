import pytest

from fmnist_bench.errors import InputError
from fmnist_bench.space import Range, Spec, build, constants_of, parse_spec, ranges, resolve

SVM = {
    "use": "sklearn.calibration.CalibratedClassifierCV",
    "method": "temperature",
    "estimator": {"use": "sklearn.svm.SVC", "C": {"low": 0.1, "high": 10.0, "log": True}, "kernel": "rbf"},
}


def test_nested_objects_have_scikit_learn_names():
    spec = parse_spec(SVM, "here")
    assert dict(ranges(spec, "model")) == {"model__estimator__C": Range(0.1, 10.0, log=True)}
    assert dict(constants_of(spec, "model")) == {
        "model": "sklearn.calibration.CalibratedClassifierCV",
        "model__method": "temperature",
        "model__estimator": "sklearn.svm.SVC",
        "model__estimator__kernel": "rbf",
    }


def test_build_puts_values_into_nested_objects():
    made = build(parse_spec(SVM, "here"), {"model__estimator__C": 3.0}, "model", "here")
    assert made.method == "temperature"
    assert made.get_params()["estimator__C"] == 3.0
    assert made.estimator.kernel == "rbf"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"low": 2, "high": 1}, "low = 2 must be less than high = 1"),
        ({"low": 1, "high": 1}, "range is empty"),
        ({"low": 1}, r"a range is \{low, high"),
        ({"lwo": 1, "high": 2}, "found {high, lwo}"),
        ({"low": "a", "high": 2}, "low: expected a number"),
        ({"low": True, "high": 2}, "low: expected a number"),
        ({"low": float("nan"), "high": 2}, "low: expected a number"),
        ({"low": 0, "high": 2, "log": True}, "needs low > 0"),
        ({"low": 1, "high": 2, "log": "yes"}, "expected true or false"),
        ({"low": 1, "high": 2, "step": 0}, "above 0"),
        ({"low": 0, "high": 1, "step": 0.1}, "a whole number between whole numbers, found 0.1; or low = 0.0"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "no step"),
        ({"choices": []}, "at least one value"),
        ({"choices": [[1, 2]]}, "a number or a string"),
        ({"choices": 3}, "expected a list"),
    ],
)
def test_a_bad_range_is_refused_with_its_place(table, words):
    with pytest.raises(InputError, match=words) as error:
        parse_spec({"use": "sklearn.svm.SVC", "C": table}, "study.toml, [model]")
    assert str(error.value).startswith("study.toml, [model].C")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("table", [{}, {"use": 3}, [], "sklearn.svm.SVC"])
def test_an_object_needs_a_class(table):
    with pytest.raises(InputError, match="expected a table with use"):
        parse_spec(table, "here")


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("os.system", "not allowed; allowed are fmnist_bench"),
        ("sklearnx.svm.SVC", "not allowed"),
        ("sklearn.nowhere.SVC", "cannot import sklearn.nowhere"),
        ("sklearn.svm.SVV", "no class SVV; did you mean SV"),
        ("sklearn.svm.l1_min_c", "no class l1_min_c"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused(use, words):
    with pytest.raises(InputError, match=words):
        resolve(use, "here")


def test_an_allowed_prefix_admits_that_package_alone():
    assert resolve("collections.OrderedDict", "here", ("collections",)).__name__ == "OrderedDict"
    with pytest.raises(InputError, match="not allowed"):
        resolve("collections_evil.X", "here", ("collections",))


def test_unknown_arguments_are_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"SVC has no such argument; did you mean gamma\?"):
        build(Spec("sklearn.svm.SVC", {"gama": 1}), {}, "model", "here")
    with pytest.raises(InputError, match="max_dept: .* did you mean max_depth"):
        build(Spec("xgboost.XGBClassifier", {"max_dept": 1}), {}, "model", "here")


def test_contains_knows_the_ends():
    assert Range(1, 3).contains(3)
    assert not Range(1, 3).contains(4)
    assert not Range(1, 3).contains("2")
    assert Range(choices=("a", 1)).contains("a")
    assert not Range(1, 3).contains(2.5)
    assert [Range(0.0, 1.0, step=0.1).contains(value) for value in (0.3, 0.7, 0.25)] == [True, True, False]
    assert [Range(1, 10, step=4).contains(value) for value in (9, 10)] == [True, False]
    assert Range(1e-4, 1e-1, log=True).contains(3e-3)
    assert Range(1, 3).is_integer
    assert not Range(1.0, 3).is_integer
