import math

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.space import Range, Spec, parse_spec
from fmnist_bench.config.study import SearchSpace, Study
from fmnist_bench.search._optuna_space import check_drawing, decode, distribution, encode


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (Range(1, 5), optuna.distributions.IntDistribution(1, 5)),
        (Range(1, 9, step=2), optuna.distributions.IntDistribution(1, 9, step=2)),
        (Range(0.1, 5.0, log=True), optuna.distributions.FloatDistribution(0.1, 5.0, log=True)),
        (Range(choices=("a", 2)), optuna.distributions.CategoricalDistribution(("a", 2))),
        (Range(choices=(None, [64, 32])), optuna.distributions.CategoricalDistribution((None, "json:[64, 32]"))),
    ],
)
def test_ranges_become_distributions(own, expected):
    assert distribution(own) == expected


@pytest.mark.parametrize("own", [Range(0.0, 1.0, step=1e-320), Range(0.0, math.inf), Range(-1e308, 1e308)])
def test_what_nothing_can_be_drawn_from_is_refused(own):
    study = Study(SearchSpace("svm", Spec("sklearn.svm.SVC", {"C": own})))
    with pytest.raises(InputError, match="study svm: model__C: nothing can be drawn from"):
        check_drawing(study)


numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(), st.sampled_from([0, 1, 0.1, 1e-320, 1e300]))
intervals = st.fixed_dictionaries({"low": numbers, "high": numbers}, optional={"log": st.booleans(), "step": numbers})


@settings(deadline=None)
@given(intervals)
def test_a_range_that_is_taken_can_be_drawn_from_again_and_again(table):
    try:
        spec = parse_spec({"use": "sklearn.svm.SVC", "C": table}, "here")
        check_drawing(Study(SearchSpace("svm", spec)))
    except InputError:
        return
    own = spec.arguments["C"]
    optuna_study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=2))
    for number in range(4):
        trial = optuna_study.ask({"C": distribution(own)})
        optuna_study.tell(trial, number)
        assert own.low <= trial.params["C"] <= own.high


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just("json:1"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(values)
def test_values_come_back_as_they_were(value):
    encoded = encode(value)
    assert encoded is None or isinstance(encoded, bool | int | float | str)
    assert (type(decode(encoded)), decode(encoded)) == (type(value), value)
