"""What a study would try next: climbs, augmentations, networks trained again."""

import math
from dataclasses import replace

import optuna
import pytest
from scenes import EPOCHS, KNOWN, LEVELS, answer, ask, make, make_run, network

from fmnist_bench.config.space import Range, Spec
from fmnist_bench.config.study import DefaultConfiguration, Fidelity, SearchSpace, Study
from fmnist_bench.search.optuna_sampler import OptunaAsker
from fmnist_bench.search.study import StudySearch
from fmnist_bench.search.successive_halving import AS_IT_STANDS, GAIN
from fmnist_bench.storage.records import TrialRecord
from fmnist_bench.storage.results import PREPARATION, PREPARED, TrialResult


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


def test_the_better_ones_climb_and_optuna_takes_the_rungs_apart(run):
    search = make(run, KNOWN, levels=LEVELS)
    first = ask(search)
    assert (first.rung, search.fidelity(first)) == (0, {"model__max_iter": 10})
    answer(search, run, first, accuracy=0.7, seconds=1.0)
    second = ask(search)
    assert (second.parameters, second.default, second.rung) == (first.parameters, "one", 1)
    answer(search, run, second, accuracy=0.8, seconds=3.0)
    third = ask(search)
    assert search.fidelity(third) == {"model__max_iter": 90}
    answer(search, run, third, accuracy=0.9, seconds=9.0)
    assert ask(search).default == ""
    states = [trial.state for trial in search._asker._optuna.trials[:3]]
    assert states == [optuna.trial.TrialState.PRUNED] * 2 + [optuna.trial.TrialState.COMPLETE]
    assert make(run, levels=LEVELS).propose(math.inf).rung == 0


def test_what_does_not_fit_into_the_time_left_waits(run):
    search = make(run, KNOWN, levels=LEVELS)
    answer(search, run, ask(search), seconds=20.0)
    assert search.propose(100.0).rung == 1
    assert search.propose(50.0).parameters is None
    assert search.propose(10.0) is None


def test_where_nothing_is_known_to_be_good_the_best_of_three_climbs(run):
    search = make(run, levels=LEVELS)
    asked = []
    for accuracy in (0.7, 0.9, 0.8):
        asked.append(ask(search))
        answer(search, run, asked[-1], accuracy=accuracy)
    climber = ask(search)
    assert [one.rung for one in (*asked, climber)] == [0, 0, 0, 1]
    assert climber.parameters == asked[1].parameters


def test_an_augmentation_learns_when_there_is_a_result_without_it_and_its_study_is_due(run):
    plain = make(run, defaults=[DefaultConfiguration("one", {"model__C": 3.0})])
    study = Study(plain.study.space, (Spec("imblearn.SMOTE", {}),))
    augmented = StudySearch(study, run, OptunaAsker(study, run, seed=0), plain=plain)
    assert augmented.propose(math.inf) is None
    answer(plain, run, ask(plain), status="interrupted", accuracy=None)
    assert augmented.propose(math.inf) is None, "that is no result"
    answer(plain, run, ask(plain))
    learning = augmented.propose(math.inf)
    assert learning.preparation
    assert not augmented.claim(learning, fair=1000.0).untried, "default configurations of all studies come first"
    assert augmented.ask(learning).number == PREPARATION
    assert augmented.propose(math.inf) is None, "it learns once"
    augmented.tell(TrialRecord(study.name, PREPARATION, {}, "", TrialResult(PREPARED), 40.0, 0.0, AS_IT_STANDS, {}))
    assert augmented.spent == 40.0
    first = augmented.propose(math.inf)
    assert first.parameters["model__C"] == 3.0
    assert augmented.claim(first, fair=1000.0).untried


def test_an_augmentation_takes_over_configurations_not_seeds_at_what_they_cost_without_it(run):
    plain = network(run)
    study = replace(plain.study, augments=(Spec("fmnist_bench.models.ConditionalGAN", {}),))
    answer(plain, run, ask(plain), accuracy=0.8, seconds=20.0)
    answer(plain, run, plain.ask(plain.propose(200.0)), accuracy=0.9, seconds=140.0)
    answer(plain, run, plain.ask(plain.propose(140.0)), accuracy=0.95, seconds=140.0)
    augmented = StudySearch(study, run, OptunaAsker(study, run, seed=0), plain=plain)
    augmented.tell(TrialRecord(study.name, PREPARATION, {}, "", TrialResult(PREPARED), 40.0, 0.0, AS_IT_STANDS, {}))
    first = augmented.propose(200.0)
    assert (first.default, first.rung, first.seconds) == ("svm 1", 2, 140.0), "not its other seed, which is better"
    lower = augmented.propose(100.0)
    assert (lower.default, lower.rung, lower.seconds) == ("svm 1", 1, pytest.approx(60.0)), "as high as there is time"
    augmented.ask(first)
    assert augmented.propose(200.0).parameters is None, "a configuration is taken over once"
    alone = StudySearch(study, run, OptunaAsker(study, run, seed=0), plain=plain)
    alone.tell(TrialRecord(study.name, PREPARATION, {}, "", TrialResult(PREPARED), 40.0, 0.0, AS_IT_STANDS, {}))
    assert alone.propose(10.0) is None, "a new one would take as long as it does without the augmentation"


def test_what_climbs_without_an_augmentation_climbs_with_it_beside(run):
    plain = network(run)
    study = replace(plain.study, augments=(Spec("fmnist_bench.models.ConditionalGAN", {"ratio": Range(0.1, 1.0)}),))
    augmented = StudySearch(study, run, OptunaAsker(study, run, seed=0), plain=plain)
    augmented.tell(TrialRecord(study.name, PREPARATION, {}, "", TrialResult(PREPARED), 40.0, 0.0, AS_IT_STANDS, {}))
    answer(plain, run, ask(plain), accuracy=0.8, seconds=20.0)
    climbing = plain.ask(plain.propose(200.0))
    beside = augmented.propose(180.0)
    assert (beside.default, beside.rung, beside.seconds) == ("svm 0", climbing.rung, 140.0)
    assert augmented.ask(beside).parameters.keys() == {*climbing.parameters, "augment__ratio"}
    answer(plain, run, climbing, accuracy=0.9, seconds=140.0)
    assert augmented.propose(200.0).parameters is None, "it is not taken over again under its other number"


def augmented_beside(plain, run, **parameters):
    """The study over the same space with an augmentation, which has learnt."""
    study = replace(plain.study, augments=(Spec("fmnist_bench.models.ConditionalGAN", parameters),))
    augmented = StudySearch(study, run, OptunaAsker(study, run, seed=0), plain=plain)
    augmented.tell(TrialRecord(study.name, PREPARATION, {}, "", TrialResult(PREPARED), 40.0, 0.0, AS_IT_STANDS, {}))
    return augmented


def interrupted_beside(run):
    """A study whose trial was interrupted while it climbed beside the other study's, and that trial."""
    plain = network(run)
    augmented = augmented_beside(plain, run, ratio=Range(0.1, 1.0))
    answer(plain, run, ask(plain), accuracy=0.8, seconds=20.0)
    climbing = plain.ask(plain.propose(200.0))
    beside = augmented.ask(augmented.propose(180.0))
    answer(plain, run, climbing, accuracy=0.9, seconds=140.0)
    answer(augmented, run, beside, accuracy=None, status="interrupted")
    return augmented, beside


def test_what_was_taken_over_and_interrupted_is_tried_once_more(run):
    augmented, beside = interrupted_beside(run)
    again = augmented.propose(200.0)
    assert again.parameters == beside.parameters
    augmented.ask(again)
    assert augmented.propose(200.0).parameters is None


def test_what_was_taken_over_and_interrupted_goes_less_high_where_the_time_is_short(run):
    augmented, beside = interrupted_beside(run)
    lower = augmented.propose(70.0)
    assert (beside.rung, lower.default, lower.rung) == (2, "svm 1", 1)


def test_what_is_taken_over_costs_what_it_did_times_what_the_augmentation_does(run):
    defaults = [
        DefaultConfiguration(name, {"model__C": C, "model__degree": 2}) for name, C in (("one", 3.0), ("two", 1.0))
    ]
    plain = make(run, defaults, levels=LEVELS)
    augmented = augmented_beside(plain, run, ratio=Range(0.1, 1.0))
    answer(plain, run, ask(plain), accuracy=0.8, seconds=10.0)
    answer(augmented, run, ask(augmented), accuracy=0.8, seconds=20.0)
    answer(plain, run, ask(plain), accuracy=0.9, seconds=50.0)
    second = augmented.propose(math.inf)
    assert (second.default, second.rung, second.seconds) == ("svm 1", 0, 100.0)


def test_what_was_taken_over_and_failed_is_tried_less_high(run):
    plain = network(run)
    augmented = augmented_beside(plain, run, ratio=Range(0.1, 1.0))
    answer(plain, run, ask(plain), accuracy=0.8, seconds=20.0)
    plain.ask(plain.propose(200.0))
    answer(augmented, run, augmented.ask(augmented.propose(200.0)), accuracy=None, status="out_of_memory", seconds=90.0)
    assert augmented.propose(200.0).rung == 1


def test_three_configurations_are_taken_over_and_not_one_of_three_rungs(run):
    defaults = [
        DefaultConfiguration(name, {"model__C": C, "model__degree": 2}) for name, C in (("one", 3.0), ("two", 1.0))
    ]
    plain = make(
        run,
        [*defaults, DefaultConfiguration("three", {"model__C": 3.0, "model__degree": 2, "model__tol": 0.1})],
        levels=LEVELS,
    )
    for accuracy in (0.9, 0.8, 0.7, 0.91, 0.92):
        answer(plain, run, ask(plain), accuracy=accuracy)
    augmented, taken = augmented_beside(plain, run, ratio=Range(0.1, 1.0)), []
    while (proposal := augmented.propose(math.inf)).parameters is not None:
        taken.append((proposal.default, proposal.rung))
        augmented.ask(proposal)
    assert taken == [("svm 4", 2), ("svm 1", 0), ("svm 2", 0)]


def test_a_configuration_that_failed_higher_up_is_taken_over_where_it_has_a_result(run):
    plain = network(run)
    study = replace(plain.study, augments=(Spec("fmnist_bench.models.ConditionalGAN", {}),))
    augmented = StudySearch(study, run, OptunaAsker(study, run, seed=0), plain=plain)
    augmented.tell(TrialRecord(study.name, PREPARATION, {}, "", TrialResult(PREPARED), 40.0, 0.0, AS_IT_STANDS, {}))
    answer(plain, run, ask(plain), accuracy=0.8, seconds=20.0)
    answer(plain, run, plain.ask(plain.propose(200.0)), accuracy=None, status="out_of_memory", seconds=90.0)
    assert augmented.propose(200.0).rung == 0


def test_a_network_that_can_climb_no_more_is_trained_again_with_other_seeds(run):
    search = network(run)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    answer(search, run, ask(search), accuracy=0.9, seconds=60.0)
    assert search.propose(200.0).rung == 2, "it can climb"
    assert search.propose(110.0).rung == 2, "and needs no more than three quarters of what it would take"
    assert search.propose(110.0).seconds == 110.0
    first = search.ask(search.propose(100.0))
    second = search.ask(search.propose(100.0))
    for number, again in enumerate((first, second), start=1):
        assert again.rung == 1
        assert again.parameters == {"model__learning_rate": 0.5, "model__random_state": number}
        answer(search, run, again, accuracy=0.91, seconds=60.0)
    assert search.propose(100.0).parameters is None, "then new ones"
    assert make(run, [], search.study.space.model, levels=EPOCHS).propose(100.0).parameters is None


def test_a_network_that_is_known_to_be_good_goes_straight_to_the_highest_rung_that_fits(run):
    search = network(run)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    assert search.propose(140.0).rung == 2
    assert search.propose(110.0).rung == 2, "three quarters of what it would take are enough"
    assert search.propose(100.0).rung == 1
    assert search.propose(math.inf).rung == 1, "nothing is short"
    search.ask(search.propose(140.0))
    assert search.propose(140.0).default == "0 again 1", "it does not climb the rungs between as well"


def test_beside_a_network_that_climbs_others_go_as_high_as_the_time_suffices(run):
    search = network(run)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    climbing = search.ask(search.propose(200.0))
    assert (climbing.default, climbing.rung) == ("one", 2)
    assert search.propose(200.0).rung == 2
    beside = search.ask(search.propose(100.0))
    assert (beside.default, beside.rung, beside.parameters["model__random_state"]) == ("0 again 1", 1, 1)
    assert search.propose(30.0).rung == 0, "its next rung is beyond the time that is left"
    answer(search, run, climbing, accuracy=0.9, seconds=140.0)
    seeds = [search.ask(search.propose(200.0)).parameters["model__random_state"] for _ in range(2)]
    assert seeds == [1, 2], "the first one was trained on a lower rung alone"
    assert search.propose(200.0).parameters is None, "nobody is trained twice"


def test_what_has_failed_climbs_less_high(run):
    search = network(run)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    answer(search, run, search.ask(search.propose(200.0)), accuracy=None, status="out_of_memory", seconds=90.0)
    second = search.ask(search.propose(200.0))
    assert (second.default, second.rung) == ("one", 1)
    answer(search, run, second, accuracy=0.9, seconds=60.0)
    third = search.propose(200.0)
    assert (third.default, third.rung) == ("2 again 1", 1)


def test_seeds_do_not_climb_and_go_on_when_there_is_more_time(run):
    search = network(run)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    for accuracy in (0.85, 0.82):
        answer(search, run, search.ask(search.propose(30.0)), accuracy=accuracy, seconds=20.0)
    later = network(run)
    assert later.ladder.promise() == pytest.approx(1 - 0.2 * (2 / 14) ** GAIN), "luck promises nothing"
    climbing = later.ask(later.propose(200.0))
    assert (climbing.default, climbing.rung) == ("one", 2)
    beside = later.propose(200.0)
    assert (beside.rung, beside.parameters["model__random_state"]) == (2, 1)


def test_beside_a_new_network_that_climbs_none_is_trained_again(run):
    spec = Spec("fmnist_bench.models.CNNClassifier", {"learning_rate": Range(0.1, 1.0)})
    search = make(run, [], spec, levels=EPOCHS)
    for accuracy in (0.7, 0.9, 0.8):
        answer(search, run, ask(search), accuracy=accuracy, seconds=20.0)
    search.ask(search.propose(1000.0))
    assert search.propose(1000.0).parameters is None


def test_a_new_network_climbs_every_rung(run):
    spec = Spec("fmnist_bench.models.CNNClassifier", {"learning_rate": Range(0.1, 1.0)})
    search = make(run, [], spec, levels=EPOCHS)
    for accuracy in (0.7, 0.9, 0.8):
        answer(search, run, ask(search), accuracy=accuracy, seconds=20.0)
    assert search.propose(1000.0).rung == 1


def test_what_learns_on_a_part_of_the_rows_is_not_trained_again(run):
    search = make(run, [DefaultConfiguration("one", {"model__C": 3.0})], levels={"rows": (0.1, 1.0)})
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    assert search.propose(30.0).parameters is None


def test_a_seed_with_which_a_network_is_trained_again_is_not_that_of_the_run(run):
    spec = Spec("fmnist_bench.models.CNNClassifier", {"learning_rate": Range(0.1, 1.0)})
    study = Study(
        SearchSpace(
            "svm",
            spec,
            defaults=(DefaultConfiguration("one", {"model__learning_rate": 0.5}),),
            fidelity=Fidelity(EPOCHS),
            compresses_schedule=True,
        )
    )
    search = StudySearch(study, run, OptunaAsker(study, run, seed=1), seed=1)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    assert search.propose(30.0).parameters["model__random_state"] == 2


def test_a_network_whose_next_rung_does_not_fit_is_trained_last_with_all_cores(run):
    search = network(run, speedup=2.0)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    assert not search.propose(45.0).all_cores, "three quarters of the next rung's 60 s fit on one core"
    last = search.propose(44.0)
    assert (last.all_cores, last.default, last.rung, last.seconds) == (True, "one", 1, 30.0)
    assert not search.propose(19.0).all_cores, "that is not twice what it has had"
    search.ask(last)
    assert [running.all_cores for running in search.running.values()] == [True]


def test_on_one_core_it_is_trained_as_long_as_there_is_time(run):
    search = network(run)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    last = search.propose(42.0)
    assert (last.all_cores, last.rung, last.seconds) == (True, 1, 42.0)


def test_what_ran_out_of_time_is_tried_again_with_twice_the_time(run):
    search = make(run, KNOWN)
    for seconds in (20.0, 40.0, 80.0):
        proposal = search.propose(1000.0)
        answer(search, run, search.ask(proposal), accuracy=None, status="timeout", seconds=seconds)
        assert (proposal.default, proposal.seconds) == ("one", seconds if seconds > 20 else 0.0)
    assert search.propose(1000.0).default == "", "three times are enough"


def test_what_ran_out_of_time_may_climb_when_it_has_completed(run):
    search = network(run)
    answer(search, run, ask(search), accuracy=None, status="timeout", seconds=20.0)
    assert search.propose(29.0) is None, "it needs 40 s, of which three quarters suffice"
    answer(search, run, ask(search), accuracy=0.8, seconds=30.0)
    assert search.propose(1000.0).rung == 2


def test_a_configuration_that_names_a_seed_climbs_whatever_it_is_called(run):
    spec = Spec("fmnist_bench.models.CNNClassifier", {"learning_rate": Range(0.1, 1.0)})
    defaults = [DefaultConfiguration("0 again 1", {"model__learning_rate": 0.5, "model__random_state": 1})]
    search = make(run, defaults, spec, levels=EPOCHS)
    record = answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    assert not search.is_again(record)
    assert search.propose(1000.0).rung == 2
