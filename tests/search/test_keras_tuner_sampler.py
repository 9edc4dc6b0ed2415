import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fmnist_bench
from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.fidelity import Fidelity
from fmnist_bench.config.space import Range, Spec, parse_spec
from fmnist_bench.config.study import DefaultConfiguration, Engine, SearchSpace, Study
from fmnist_bench.progress.displays import Progress
from fmnist_bench.search._keras_tuner_space import decode, encode, hyperparameters
from fmnist_bench.search._optuna_space import check_drawing
from fmnist_bench.search.keras_tuner_sampler import KerasTunerSampler, factor_of
from fmnist_bench.search.study import StudySearch
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.run_folder import Run, Store

ORACLES = ("bayesian", "hyperband")
RUNGS = Fidelity({"model__epochs": (2, 6, 14)})
SPACE = {
    "C": Range(0.1, 10.0, log=True),
    "degree": Range(1, 9, step=2),
    "kernel": Range(choices=("rbf", "poly")),
    "gamma": Range(0.0, 1.0, step=0.1, when=(("model__kernel", ("rbf",)),)),
    "share": Range(choices=("auto", 0.5, 1)),
    "shrinking": Range(choices=(True, False)),
}
numbers = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return Run(Store(tmp_path / "mlruns"), tmp_path / "run", "b")


def make(run, oracle="bayesian", defaults=(), spec=SPACE, fidelity=RUNGS):
    space = SearchSpace("svm", Spec("sklearn.svm.SVC", spec), defaults=tuple(defaults), fidelity=fidelity)
    study = Study(SearchSpace(**{**vars(space), "engine": Engine("keras-tuner", oracle)}))
    return StudySearch(study, run, KerasTunerSampler(study, run, seed=0))


def ask_next(search):
    proposal = search.search(math.inf)
    return None if proposal is None else search.ask(proposal)


def answer(search, run, ask, accuracy=0.5, status="complete"):
    record = replace(ask, result=TrialResult(status, accuracy=accuracy, log_loss=1.0), seconds=1.0)
    run.save_record(record)
    search.tell(record)


def play(search, run, n):
    """Ask and answer `n` times; the more of `C` the better."""
    asked = []
    for _ in range(n):
        asked.append(ask_next(search))
        answer(search, run, asked[-1], accuracy=asked[-1].parameters["model__C"] / 20)
    return asked


def state(run):
    return json.loads((run.folder / "oracle" / "svm.json").read_text())


@st.composite
def ranges(draw):
    kind = draw(st.sampled_from(["int", "float", "log", "step", "choice", "values"]))
    if kind == "values":
        return Range(choices=draw(st.sampled_from([(None,), (None, 3), ([64], [64, 32]), ("a", {"0": 2.0}, None)])))
    if kind == "choice":
        scalar = st.one_of(st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text(max_size=3))
        return Range(choices=tuple(draw(st.lists(scalar, min_size=1, max_size=4, unique=True))))
    if kind == "int":
        low = draw(st.integers(1, 50))
        log = draw(st.booleans())
        return Range(low, low + draw(st.integers(1, 200)), log, None if log else draw(st.integers(1, 5)))
    low, width = draw(st.floats(1e-6, 1e3)), draw(st.floats(1e-3, 1e3))
    return Range(low, low + width, kind == "log", width / draw(st.integers(1, 30)) if kind == "step" else None)


@settings(max_examples=150, deadline=None)
@given(ranges(), st.lists(st.one_of(st.floats(0, 1), st.just(1.0)), min_size=5, max_size=5))
def test_values_come_out_of_their_range_and_go_back_in(own, places):
    (parameter,) = hyperparameters({"p": own}).space
    for place in places:
        kept = parameter.prob_to_value(place)
        value = decode(own, kept)
        assert own.contains(value)
        assert not own.is_integer or type(value) is int
        again = decode(own, encode(own, value))
        assert again == value or math.isclose(again, value, rel_tol=1e-9)
        assert 0 <= parameter.value_to_prob(encode(own, value)) <= 1


ends = st.one_of(st.integers(-(2**53), 2**53), st.floats(), st.sampled_from([0, 1, 0.1, 1e-320, 1e300]))
intervals = st.fixed_dictionaries({"low": ends, "high": ends}, optional={"log": st.booleans(), "step": ends})


@settings(max_examples=150, deadline=None)
@given(intervals)
def test_a_range_that_check_takes_can_be_drawn_from(table):
    try:
        spec = parse_spec({"use": "sklearn.svm.SVC", "C": table}, "here")
        check_drawing(Study(SearchSpace("svm", spec)))
    except InputError:
        return
    own = spec.arguments["C"]
    (parameter,) = hyperparameters({"p": own}).space
    for kept in (parameter.random_sample(3), *map(parameter.prob_to_value, (0.0, 0.5, 1.0))):
        assert own.low <= decode(own, kept) <= own.high


def test_both_ends_of_a_range_are_reached():
    for own in (Range(0.0, 1.0, step=0.1), Range(1, 9, step=2), Range(1, 30, log=True), Range(0.5, 2.0)):
        (parameter,) = hyperparameters({"p": own}).space
        assert [decode(own, parameter.prob_to_value(place)) for place in (0.0, 1.0)] == [own.low, own.high]


def test_lists_dictionaries_and_none_are_asked_and_read_again(run):
    spec = {"C": Range(0.1, 10.0), "layers": Range(choices=([64], None, {"0": 2.0}))}
    defaults = [DefaultConfiguration("one", {"model__C": 1.0, "model__layers": {"0": 2.0}})]
    search = make(run, "bayesian", defaults, spec, Fidelity())
    asked = play(search, run, 8)
    assert asked[0].parameters == defaults[0].parameters
    assert all(spec["layers"].contains(asks.parameters["model__layers"]) for asks in asked)
    again = make(run, "bayesian", defaults, spec, Fidelity())
    assert ask_next(again).config == ask_next(search).config


@pytest.mark.parametrize("oracle", ORACLES)
def test_every_question_is_within_the_study_and_new(run, oracle):
    asked = play(make(run, oracle), run, 12)
    spec = {f"model__{name}": own for name, own in SPACE.items()}
    for ask in asked:
        active = {name for name, own in spec.items() if own.is_active(ask.parameters)}
        assert ask.parameters.keys() == active
        assert all(spec[name].contains(value) for name, value in ask.parameters.items())
    assert [ask.number for ask in asked] == list(range(12))
    assert len({(ask.config, ask.rung) for ask in asked}) == 12
    assert {ask.parameters["model__kernel"] for ask in asked} == {"rbf", "poly"}


@pytest.mark.slow
@pytest.mark.parametrize("oracle", ORACLES)
def test_a_search_that_is_opened_again_asks_what_it_would_have_asked(run, tmp_path, oracle):
    whole = play(make(run, oracle), run, 9)
    (tmp_path / "other").mkdir()
    other = Run(Store(tmp_path / "mlruns"), tmp_path / "other", "b")
    pieces = [ask for _ in range(3) for ask in play(make(other, oracle), other, 3)]
    assert [(ask.rung, ask.parameters) for ask in pieces] == [(ask.rung, ask.parameters) for ask in whole]


def test_bayesian_search_learns_where_it_is_better(run):
    asked = play(make(run, "bayesian", spec={"C": SPACE["C"]}, fidelity=Fidelity()), run, 15)
    assert max(ask.parameters["model__C"] for ask in asked[5:]) > 9.9


def test_hyperband_gives_out_the_rungs_of_the_study(run):
    asked = play(make(run, "hyperband"), run, 13)
    assert [ask.rung for ask in asked] == [0] * 9 + [1, 1, 1, 2]
    best = sorted(asked[:9], key=lambda ask: -ask.parameters["model__C"])
    assert [ask.config for ask in asked[9:12]] == [ask.config for ask in best[:3]]
    assert asked[12].config == best[0].config
    later = play(make(run, "hyperband"), run, 14)  # the next brackets begin higher, then the first one begins again
    assert [ask.rung for ask in later] == [1] * 5 + [2, 2] + [2] * 3 + [0] * 4


def test_a_trial_of_hyperband_is_expected_to_take_what_its_own_rung_takes(run):
    search, rungs = make(run, "hyperband"), []
    for _ in range(13):
        ask = ask_next(search)
        rungs.append(ask.rung)
        if ask.rung and search.halving.seconds(None, 0):
            assert search.running[ask.number].seconds == search.halving.seconds(ask.config, ask.rung) > 0
        answer(search, run, ask, accuracy=0.5)
    assert any(rungs)


def test_the_factor_of_hyperband_is_the_mean_step_between_two_rungs():
    assert factor_of(RUNGS) == 3
    assert factor_of(Fidelity({"rows": (0.1, 0.3, 1.0)})) == 3
    assert factor_of(Fidelity({"rows": (0.8, 1.0)})) == 2
    assert factor_of(Fidelity({"rows": (0.25, 1.0), "model__epochs": (2, 4)})) == 8


def test_hyperband_needs_rungs(run):
    with pytest.raises(InputError, match=r"svm, \[search\] oracle = hyperband: needs a table \[fidelity\]"):
        make(run, "hyperband", fidelity=Fidelity())


def test_default_configurations_come_first_and_the_oracle_learns_of_them(run):
    defaults = [
        DefaultConfiguration("one", {"model__C": 3.0, "model__kernel": "poly", "model__coef0": 2}),
        DefaultConfiguration(
            "two", {f"model__{name}": value for name, value in {"C": 2.0, "kernel": "rbf", "share": 1}.items()}
        ),
    ]
    search = make(run, "bayesian", defaults)
    first, second, third = play(search, run, 3)
    assert (first.default, second.default, third.default) == (
        "one",
        "two",
        "one",
    )  # the better of the two is tried on all rows
    assert {**first.parameters, "model__C": 3.0, "model__coef0": 2} == first.parameters
    assert first.parameters.keys() == {f"model__{n}" for n in (*SPACE, "coef0") if n != "gamma"}
    assert second.parameters["model__share"] == 1
    assert (third.config, third.rung) == (first.config, 2)
    while ask_next(search).default:
        pass
    taught = {name: trial for name, trial in state(run)["trials"].items() if trial["status"] == "COMPLETED"}
    assert [trial["score"] for trial in taught.values()] == [0.15, 0.1]  # of the rung on which the oracle asks


def test_an_interrupted_question_is_asked_again_and_answered_to_the_oracle(run):
    ask = ask_next(make(run, "hyperband"))
    search = make(run, "hyperband")
    (left,) = search.left_running()
    assert (left.number, left.config, left.rung) == (ask.number, ask.config, ask.rung)
    answer(search, run, left, accuracy=None, status="interrupted")
    search = make(run, "hyperband")
    again = ask_next(search)
    assert (again.number, again.config, again.rung) == (1, ask.config, ask.rung)
    answer(search, run, again, accuracy=0.7)
    assert search.left_running() == []
    (trial,) = state(run)["trials"].values()
    assert (trial["status"], trial["score"]) == ("COMPLETED", 0.7)


def test_scores_on_the_way_do_not_count_as_the_result(run):
    search = make(run)
    ask = ask_next(search)
    assert not any(search.should_prune(ask, step, score) for step, score in ((1, 0.9), (2, 0.4), (3, math.nan)))
    answer(search, run, ask, accuracy=0.3)
    (trial,) = state(run)["trials"].values()
    assert trial["score"] == 0.3


@pytest.mark.parametrize("oracle", ORACLES)
def test_failures_do_not_end_the_search(run, oracle):
    search = make(run, oracle)
    for status in ("failed", "crashed", "timeout", "out_of_memory", "pruned") * 3:
        answer(search, run, ask_next(search), accuracy=None, status=status)
    assert play(search, run, 3)
    assert len(make(run, oracle).records) == 18


@pytest.mark.parametrize("oracle", ORACLES)
def test_a_small_space_is_exhausted_and_nothing_is_tried_twice(run, oracle):
    spec = {"kernel": Range(choices=("rbf", "poly", "linear")), "shrinking": Range(choices=(False, True))}
    search = make(run, oracle, spec=spec, fidelity=RUNGS if oracle == "hyperband" else Fidelity())
    tried = []
    while (ask := ask_next(search)) is not None:
        tried.append((ask.config, ask.rung))
        answer(search, run, ask)
    assert len(tried) == len(set(tried))
    assert len({config for config, _ in tried}) == 6


HARMS = {
    "gone": lambda path: path.unlink(),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "another JSON": lambda path: path.write_text('{"asked": [{"number": 0}]}'),
    "shorter": lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "asked": []})),
    "of another oracle": lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "oracle": {}})),
}


@pytest.mark.parametrize(("harm", "oracle"), [*((harm, "hyperband") for harm in HARMS), ("cut", "bayesian")])
def test_a_file_that_others_changed_is_made_again_from_the_records(run, harm, oracle):
    asked = play(make(run, oracle), run, 7)
    HARMS[harm](run.folder / "oracle" / "svm.json")
    search = make(run, oracle)
    assert [record.parameters for record in search.records] == [dict(ask.parameters) for ask in asked]
    assert search.left_running() == []
    later = play(search, run, 4)
    assert [ask.number for ask in later] == [7, 8, 9, 10]
    tried = [(ask.config, ask.rung) for ask in (*asked, *later)]
    assert len(set(tried)) == 11
    assert len(make(run, oracle).records) == 11


TYRANT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_keras_tuner_sampler import Run, Store, answer, ask_next, make
run = Run(Store(Path(sys.argv[1]) / "mlruns"), Path(sys.argv[1]) / "run", "b")
search = make(run, "hyperband")
for ask in search.left_running():
    answer(search, run, ask, accuracy=None, status="interrupted")
print("ready", flush=True)
while True:
    answer(search, run, ask_next(search))
    print("told", flush=True)
"""


def test_killed_at_any_moment_it_loses_nothing_and_goes_on(run, tmp_path):
    here = Path(__file__).parent
    for n in (2, 5):
        command = [sys.executable, "-c", TYRANT, str(tmp_path), str(here)]
        environment = {**os.environ, "PYTHONPATH": f"{here.parents[1]}{os.pathsep}{here.parent}"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        assert [process.stdout.readline() for _ in range(n)] == ["told\n"] * n
        process.send_signal(signal.SIGKILL)
        process.communicate()
        search = make(run, "hyperband")
        left = search.left_running()
        assert len(left) <= 1
        told = {record.number for record in search.records}
        assert told == set(range(len(told)))
        assert all(ask.number == len(told) for ask in left)
    assert len(search.records) > 4
    statuses = {trial["status"] for trial in state(run)["trials"].values()}
    assert statuses <= {"COMPLETED", "RUNNING"}


TREES = """
[model]
use = "sklearn.ensemble.ExtraTreesClassifier"
n_estimators = { low = 5, high = 40 }
max_features = { low = 0.05, high = 0.5 }
[fidelity]
rows = [0.3, 1.0]
[search]
engine = "keras-tuner"
oracle = "hyperband"
"""


def test_hyperband_over_rows_from_a_study_to_the_report(arena):
    arena("studies/trees.toml", TREES)
    arena("b.toml", 'data = "digits"\nvalid_size = 0.2\ntrials = 5\nstudies = ["trees"]\n')
    outcome = fmnist_bench.run_benchmark("b.toml", progress=Progress())
    records = Run(Store("mlruns"), outcome.folder, "b").records("trees")
    assert [record.status for record in records] == ["complete"] * 5
    assert [record.fidelity["rows"] for record in records] == [(0.3, 1.0)[record.rung] for record in records]
    assert {record.rung for record in records} == {0, 1}
    assert outcome.findings.ensemble is not None
