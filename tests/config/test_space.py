from datetime import date

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.space import Range, Spec, Steps, constants_of, default_names, parse_spec, parse_value, ranges

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
        ({"choices": [{"use": "sklearn.svm.SVC"}]}, "choices: must be a number, a string, true or false"),
        ({"low": 0.0, "high": float("inf")}, "high: expected a number, found inf"),
        ({"low": float("-inf"), "high": 1}, "low: expected a number, found -inf"),
        ({"low": -1e308, "high": 1e308}, "too wide to draw from"),
        ({"low": 1, "high": 10**30}, "high: expected a number"),
        ([{"low": 1, "high": 2}, 3], "must be a number, .* found {'low': 1, 'high': 2}"),
        (date(2020, 1, 1), "must be a number"),
        ({}, "found {nothing}"),
        ({"none": False}, "{ none = true }"),
        ({"none": 1}, "{ none = true }"),
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
    assert Range(choices=(None, [64, 32])).contains([64, 32])
    assert not Range(choices=("None",)).contains(None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"none": True}, None),
        ([1, {"none": True}, [2]], [1, None, [2]]),
        ({"0": 1.0, "1": {"none": True}}, {"0": 1.0, "1": None}),
        ("None", "None"),
    ],
)
def test_none_and_dictionaries_are_values(value, expected):
    assert parse_value(value, "here") == expected
    assert parse_spec({"use": "a.B", "x": value}, "here").arguments == {"x": expected}
    assert parse_spec({"use": "a.B", "x": {"choices": [value, 1]}}, "here").arguments["x"].choices == (expected, 1)


SCALER = {"use": "sklearn.preprocessing.StandardScaler"}
PCA = {"use": "sklearn.decomposition.PCA", "n_components": {"low": 2, "high": 9}}


def test_objects_of_a_list_are_named_as_make_pipeline_names_them():
    spec = parse_spec({"use": "sklearn.pipeline.Pipeline", "steps": [SCALER, PCA, SCALER]}, "here")
    steps = spec.arguments["steps"]
    assert isinstance(steps, Steps)
    assert [step[0] for step in steps.items] == ["standardscaler-1", "pca", "standardscaler-2"]
    assert dict(ranges(spec, "model")) == {"model__pca__n_components": Range(2, 9)}
    assert list(spec.uses()) == ["sklearn.pipeline.Pipeline", SCALER["use"], PCA["use"], SCALER["use"]]
    assert "model__standardscaler-2" in dict(constants_of(spec, "model"))


def test_default_names_are_those_of_make_pipeline():
    specs = [Spec("a.Scaler", {}), Spec("b.PCA", {}), Spec("c.Scaler", {})]
    made = make_pipeline(StandardScaler(), StandardScaler(with_mean=False))
    assert [name for name, _ in made.steps] == default_names([Spec(SCALER["use"], {})] * 2)
    assert default_names(specs) == ["scaler-1", "pca", "scaler-2"]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([["a", SCALER], ["a", PCA]], "a cannot name an object"),
        ([["a__b", SCALER]], "a__b cannot name an object"),
        ([SCALER, 3], "in a list of objects each must be"),
        ([[PCA, "a"]], "in a list of objects each must be"),
    ],
)
def test_a_list_of_objects_that_cannot_be_named_is_refused(items, words):
    with pytest.raises(InputError, match=words):
        parse_spec({"use": "sklearn.pipeline.Pipeline", "steps": items}, "here")
