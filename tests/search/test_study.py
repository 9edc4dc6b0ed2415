"""The search over one study: default configurations, interrupted trials, what it claims."""

import math
from dataclasses import replace

import optuna
import pytest
from scenes import KNOWN, LEVELS, answer, ask, make, make_run, network

from fmnist_bench.config.space import Range, Spec
from fmnist_bench.config.study import DefaultConfiguration, Study
from fmnist_bench.search.allocation import LATE_FACTOR
from fmnist_bench.search.optuna_sampler import OptunaAsker
from fmnist_bench.search.study import StudySearch
from fmnist_bench.storage.records import TrialRecord
from fmnist_bench.storage.results import TrialResult


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


def test_default_configurations_come_first_with_their_constants(run):
    defaults = [
        DefaultConfiguration("one", {"model__C": 3.0, "model__degree": 2, "model__kernel": "poly"}),
        DefaultConfiguration("two", {"model__C": 1.0}),
    ]
    search = make(run, defaults)
    first = ask(search)
    assert first.default == "one"
    assert first.parameters == {"model__C": 3.0, "model__degree": 2, "model__kernel": "poly"}
    answer(search, run, first)
    second = ask(search)
    assert second.default == "two"
    assert second.parameters["model__C"] == 1.0
    assert 1 <= second.parameters["model__degree"] <= 5
    answer(search, run, second)
    assert ask(search).default == ""


def test_an_interrupted_trial_is_asked_again(run):
    first = ask(make(run))
    search = make(run)
    (left,) = search.left_running()
    assert left.parameters == first.parameters
    answer(search, run, left, accuracy=None, status="interrupted")
    assert search.count() == 0
    again = ask(search)
    assert again.parameters == first.parameters
    assert again.number == first.number + 1


def test_a_trial_that_was_recorded_but_not_told_counts_once(run):
    search = make(run)
    asks = ask(search)
    record = TrialRecord(
        "svm", asks.number, dict(asks.parameters), "", TrialResult("complete", accuracy=0.5, log_loss=1.0), 1.0, 0.0
    )
    run.save_record(record)  # and here the process dies
    again = make(run)
    assert again.count() == 0
    again.tell(run.record("svm", again.left_running()[0].number))
    assert again.count() == 1
    assert make(run).count() == 1


def test_without_a_budget_trials_run_as_the_study_says(run):
    search = make(run, levels=LEVELS, thorough=True)
    for _ in range(4):
        asked = ask(search)
        assert search.fidelity(asked) == {}
        answer(search, run, asked)
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in search._asker._optuna.trials)


def test_a_record_of_a_rung_that_the_study_does_not_have_is_not_believed(run):
    search = make(run, KNOWN, levels=LEVELS)
    record = answer(search, run, ask(search))
    run.save_record(replace(record, rung=99))
    assert make(run, KNOWN, levels=LEVELS).propose(math.inf) is not None


def test_an_interrupted_climb_is_tried_again(run):
    search = make(run, KNOWN, levels=LEVELS)
    first = ask(search)
    answer(search, run, first)
    ask(search)  # and here the process dies
    again = make(run, KNOWN, levels=LEVELS)
    (left,) = again.left_running()
    assert (left.parameters, left.rung) == (first.parameters, 1)
    answer(again, run, left, accuracy=None, status="interrupted")
    retried = ask(again)
    assert (retried.parameters, retried.rung) == (first.parameters, 1)


def test_a_configuration_that_is_for_itself_alone_is_not_queued(run):
    assert ask(make(run, [DefaultConfiguration("one", {"model__C": 3.0}, alone=True)])).default == ""


def test_best_is_by_accuracy_then_log_loss(run):
    search = make(run)
    records = [answer(search, run, ask(search), accuracy=a) for a in (0.5, 0.9, 0.7, 0.9)]
    assert [r.number for r in search.best(3)] == [records[1].number, records[3].number, records[2].number]


def test_without_weights_a_study_ends(run):
    search = make(
        run, defaults=[DefaultConfiguration("one", {"model__C": 3.0}), DefaultConfiguration("two", {"model__C": 1.0})]
    )
    answer(search, run, ask(search), status="no_weights", accuracy=None)
    assert search.propose(math.inf) is None


def test_the_same_command_looks_for_weights_again(run):
    search = make(run, defaults=[DefaultConfiguration("one", {"model__C": 3.0})])
    answer(search, run, ask(search), status="no_weights", accuracy=None)
    again = make(run, defaults=[DefaultConfiguration("one", {"model__C": 3.0})])
    assert again.propose(math.inf).default == "one"
    answer(again, run, ask(again), status="no_weights", accuracy=None)
    assert again.propose(math.inf) is None


def test_lists_are_values_like_any_other(run):
    defaults = [DefaultConfiguration("one", {"model__hidden_layer_sizes": [64, 32], "model__alpha": 0.5})]
    spec = Spec("sklearn.neural_network.MLPClassifier", {"alpha": Range(0.1, 1.0)})
    search = make(run, defaults, spec)
    record = answer(search, run, ask(search))
    assert record.parameters == {"model__hidden_layer_sizes": [64, 32], "model__alpha": 0.5}
    assert make(run, defaults, spec).propose(math.inf).parameters is None, "it is known again when it is read back"


def test_what_runs_alone_may_lie_outside_of_what_is_searched(run):
    spec = Spec("sklearn.svm.SVC", {"kernel": Range(choices=("rbf", "poly")), "C": Range(0.1, 10.0)})
    search = make(run, [DefaultConfiguration("one", {"model__kernel": "linear", "model__C": 20.0})], spec)
    assert ask(search).parameters == {"model__kernel": "linear", "model__C": 20.0}


def test_a_second_default_configuration_has_to_earn_its_time(run):
    search = make(
        run, defaults=[DefaultConfiguration("one", {"model__C": 3.0}), DefaultConfiguration("two", {"model__C": 1.0})]
    )
    assert search.claim(search.propose(math.inf), fair=31.0).untried
    answer(search, run, ask(search), seconds=30.0)
    proposal = search.propose(math.inf)
    assert (proposal.default, proposal.seconds) == ("two", 30.0)
    assert not search.claim(proposal, fair=31.0).untried


def test_what_was_interrupted_comes_first_unless_it_takes_more_than_its_share(run):
    search = make(
        run, defaults=[DefaultConfiguration("one", {"model__C": 3.0}), DefaultConfiguration("two", {"model__C": 1.0})]
    )
    answer(search, run, ask(search), seconds=30.0)
    answer(search, run, ask(search), accuracy=None, status="interrupted")
    again = search.propose(math.inf)
    assert search.claim(again, fair=31.0).untried
    assert not search.claim(again, fair=29.0).untried


def test_what_waits_and_does_not_fit_lends_its_turn_to_nobody(run):
    search = network(run)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    answer(search, run, search.ask(search.propose(200.0)), accuracy=None, status="interrupted", seconds=1.0)
    fits, beyond = search.propose(150.0), search.propose(30.0)
    assert search.claim(fits, fair=150.0).untried
    assert not search.claim(beyond, fair=150.0).untried
    assert search.claim(fits, fair=50.0).slack == pytest.approx(150 - 140), "it can come too late like any other"


def test_only_what_takes_long_has_a_last_moment(run):
    search = network(run)
    first = search.propose(200.0)
    assert search.claim(first, fair=200.0).slack == math.inf
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    climb = search.propose(200.0)
    assert search.claim(climb, fair=200.0).slack == pytest.approx(200 - 140), "the highest rung's"
    assert search.claim(search.propose(math.inf), fair=math.inf).slack == math.inf


def test_what_an_augmentation_learns_may_take_an_even_share(run):
    plain = make(run)
    answer(plain, run, ask(plain))
    study = Study(plain.study.space, (Spec("imblearn.SMOTE", {}),))
    augmented = StudySearch(study, run, OptunaAsker(study, run, seed=0), plain=plain)
    assert augmented.claim(augmented.propose(math.inf), fair=70.0).seconds == 70.0 / LATE_FACTOR, "and no more"


def test_a_trial_that_its_limit_cut_short_counts_for_what_its_schedule_would_have_cost(run):
    search = make(run, KNOWN, levels=LEVELS)
    answer(search, run, ask(search), seconds=20.0, schedule_share=0.5)
    assert search.ladder.seconds(None, 0) == pytest.approx(20 + 20)
    assert search.spent == 20.0
