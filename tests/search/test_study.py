"""The search over one study: default configurations, interrupted trials, what it claims."""

import math
from dataclasses import replace

import optuna
import pytest
from scenes import KNOWN, LEVELS, answer, ask, make, make_run, network

from fmnist_bench.config.space import Range, Spec
from fmnist_bench.config.study import DefaultConfiguration
from fmnist_bench.search.epochs import embed_seconds, epoch_seconds
from fmnist_bench.search.optuna_sampler import OptunaSampler
from fmnist_bench.search.plan import LEAST_EPOCHS
from fmnist_bench.search.study import STALE, StudySearch
from fmnist_bench.search.successive_halving import AS_IT_STANDS
from fmnist_bench.storage.results import PREPARATION, PREPARED, TrialResult
from fmnist_bench.storage.trial import LOOK, Trial


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
    run.save_record(
        replace(asks, result=TrialResult("complete", accuracy=0.5, log_loss=1.0))
    )  # and here the process dies
    again = make(run)
    assert again.count() == 0
    again.tell(run.record("svm", again.left_running()[0].number))
    assert again.count() == 1
    assert make(run).count() == 1


def test_without_a_budget_trials_run_as_the_study_says(run):
    search = make(run, levels=LEVELS, thorough=True)
    for _ in range(4):
        asked = ask(search)
        assert asked.fidelity == {}
        answer(search, run, asked)
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in search.sampler._optuna.trials)


def test_a_record_of_a_rung_that_the_study_does_not_have_is_not_believed(run):
    search = make(run, KNOWN, levels=LEVELS)
    record = answer(search, run, ask(search))
    run.save_record(replace(record, rung=99))
    assert make(run, KNOWN, levels=LEVELS).search(math.inf) is not None


def test_an_interrupted_promotion_is_tried_again(run):
    search = make(run, KNOWN, levels=LEVELS)
    first = ask(search)
    answer(search, run, first)
    ask(search)  # and here the process dies
    again = make(run, KNOWN, levels=LEVELS)
    (left,) = again.left_running()
    assert (left.parameters, left.rung) == (first.parameters, 2)
    answer(again, run, left, accuracy=None, status="interrupted")
    retried = ask(again)
    assert (retried.parameters, retried.rung) == (first.parameters, 2)


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
    assert search.search(math.inf) is None


def test_the_same_command_looks_for_weights_again(run):
    search = make(run, defaults=[DefaultConfiguration("one", {"model__C": 3.0})])
    answer(search, run, ask(search), status="no_weights", accuracy=None)
    again = make(run, defaults=[DefaultConfiguration("one", {"model__C": 3.0})])
    assert again.search(math.inf).default == "one"
    answer(again, run, ask(again), status="no_weights", accuracy=None)
    assert again.search(math.inf) is None


def test_lists_are_values_like_any_other(run):
    defaults = [DefaultConfiguration("one", {"model__hidden_layer_sizes": [64, 32], "model__alpha": 0.5})]
    spec = Spec("sklearn.neural_network.MLPClassifier", {"alpha": Range(0.1, 1.0)})
    search = make(run, defaults, spec)
    record = answer(search, run, ask(search))
    assert record.parameters == {"model__hidden_layer_sizes": [64, 32], "model__alpha": 0.5}
    assert make(run, defaults, spec).search(math.inf).new, "it is known again when it is read back"


def test_what_runs_alone_may_lie_outside_of_what_is_searched(run):
    spec = Spec("sklearn.svm.SVC", {"kernel": Range(choices=("rbf", "poly")), "C": Range(0.1, 10.0)})
    search = make(run, [DefaultConfiguration("one", {"model__kernel": "linear", "model__C": 20.0})], spec)
    assert ask(search).parameters == {"model__kernel": "linear", "model__C": 20.0}


def test_a_trial_that_was_cut_short_counts_for_its_whole_schedule(run):
    search = make(run, KNOWN, levels=LEVELS)
    answer(search, run, ask(search), seconds=20.0, schedule_share=0.5)
    assert search.halving.seconds(None, 0) == pytest.approx(20 + 20)
    assert search.spent == 20.0


def test_a_look_is_the_first_default_and_once_it_ends_the_look_is_over(run):
    search = make(run, [*KNOWN, DefaultConfiguration("two", {"model__C": 1.0})])
    look = search.look(60.0)
    assert (look.default, look.phase, look.limit) == ("one", LOOK, None)
    first = search.ask(look)
    assert search.look(60.0) is None, "it is having it"
    answer(search, run, first)
    assert search.look(60.0) is None
    assert search.search(math.inf, 60.0).default == "two"


def test_where_the_first_default_failed_the_second_one_is_looked_at(run):
    search = make(run, [*KNOWN, DefaultConfiguration("two", {"model__C": 1.0})])
    answer(search, run, search.ask(search.look(60.0)), status="failed", accuracy=None)
    answer(search, run, search.ask(second := search.look(60.0)), status="failed", accuracy=None)
    assert (second.default, search.look(60.0)) == ("two", None)


def test_a_study_without_defaults_is_looked_at_with_a_new_configuration(run):
    search = make(run)
    assert search.look(60.0).new
    answer(search, run, search.ask(search.look(60.0)))
    assert search.look(60.0) is None


def test_the_look_of_a_network_has_twice_its_seconds_after_a_timeout(run):
    search = network(run)
    assert search.look(48.0).limit == 48.0
    answer(search, run, search.ask(search.look(48.0)), accuracy=None, status="timeout", seconds=60.0)
    assert (search.look(48.0).default, search.look(48.0).limit) == ("one", 96.0)
    for _ in range(2):
        answer(search, run, search.ask(search.look(48.0)), accuracy=None, status="timeout", seconds=60.0)
    assert search.look(48.0) is None, "three times are enough"


def test_a_network_without_rungs_of_epochs_is_cut_short_in_its_look_alone(run):
    spec = Spec("fmnist_bench.models.TransferClassifier", {"learning_rate": Range(0.1, 1.0)})
    default = DefaultConfiguration("one", {"model__learning_rate": 0.5})
    search = make(run, [default], spec, levels={"rows": (0.15, 1.0)})
    search.study = replace(search.study, space=replace(search.study.space, compresses_schedule=True))
    assert search.look(36.0).limit == 36.0
    answer(search, run, search.ask(search.look(36.0)), seconds=30.0, schedule_share=0.5)
    assert (search.compare(1000.0, 36.0).rung, search.compare(1000.0, 36.0).limit) == (1, None)


def test_the_best_configuration_is_tried_on_all_rows_before_new_ones(run):
    search = make(run, KNOWN, levels=LEVELS)
    answer(search, run, ask(search), accuracy=0.7, seconds=2.0)
    assert not search.is_compared
    full = search.search(30.0)
    assert (full.default, full.rung, full.seconds) == ("one", 2, 18.0)
    assert search.search(17.0).new, "it does not fit, a new one on the lowest rung does"
    answer(search, run, search.ask(full), accuracy=0.9, seconds=18.0)
    assert search.is_compared
    assert search.search(30.0).new


def test_a_default_whose_name_says_again_is_promoted_like_any(run):
    parameters = {"model__C": 3.0, "model__degree": 2, "model__random_state": 1}
    search = make(run, [DefaultConfiguration("one again 1", parameters)], levels=LEVELS)
    answer(search, run, ask(search), accuracy=0.9)
    promoted = search.search(math.inf, math.inf)
    assert (promoted.default, promoted.rung, promoted.parameters) == ("one again 1", 2, parameters)


def test_the_best_third_is_promoted_and_optuna_takes_the_rungs_apart(run):
    search = make(run, KNOWN, levels=LEVELS)
    for accuracy in (0.7, 0.9, 0.8, 0.5):
        answer(search, run, ask(search), accuracy=accuracy)
    promoted = ask(search)
    assert (promoted.rung, promoted.fidelity) == (1, {"model__max_iter": 30})
    states = [trial.state for trial in search.sampler._optuna.trials[:2]]
    assert states == [optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.COMPLETE]


def test_families_are_compared_before_other_defaults_are_looked_at(run):
    two = DefaultConfiguration("two", {"model__C": 5.0, "model__degree": 3})
    search = make(run, [*KNOWN, two], levels=LEVELS)
    assert search.compare(math.inf) is None, "its look comes first"
    answer(search, run, search.ask(search.look(60.0)), accuracy=0.9, seconds=2.0)
    waiting, compared = search.search(math.inf), search.compare(math.inf)
    assert (waiting.default, waiting.rung, compared.default, compared.rung) == ("two", 0, "one", 2)
    assert search.compare(compared.seconds - 1) is None, "it would not end in time"
    search.ask(compared)
    assert search.compare(math.inf) is None, "one trial on all rows is enough to compare"


def test_in_a_short_run_a_network_has_its_look_alone(run):
    search = network(run)
    assert search.search(1000.0, 20.0).rung == 0, "what waits is tried before it is known what an epoch costs"
    answer(search, run, search.ask(search.look(20.0)), accuracy=0.8, seconds=20.0)
    assert search.search(1000.0, LEAST_EPOCHS * epoch_seconds(search.records) - 1) is None
    longer = search.search(1000.0, 150.0)
    assert (longer.rung, longer.seconds, longer.limit) == (1, 120.0, 150.0)
    assert search.search(1000.0, 110.0).seconds == 110.0, "its schedule is compressed"


def beside(plain, run, **parameters):
    """The study over the same space with an augmentation."""
    study = replace(plain.study, augments=(Spec("fmnist_bench.models.ConditionalGAN", parameters),))
    return StudySearch(study, run, OptunaSampler(study, run, seed=0), plain=plain)


def prepare(augmented):
    result = TrialResult(PREPARED)
    augmented.tell(Trial(augmented.study.name, PREPARATION, result=result, seconds=40.0, rung=AS_IT_STANDS))


def test_an_augmentation_learns_once_there_is_a_result_without_it(run):
    plain = make(run, KNOWN)
    augmented = beside(plain, run)
    assert (augmented.look(60.0), augmented.search(math.inf)) == (None, None)
    answer(plain, run, ask(plain), status="interrupted", accuracy=None)
    assert augmented.search(math.inf) is None, "that is no result"
    answer(plain, run, ask(plain))
    learning = augmented.search(math.inf, 150.0)
    assert (learning.number, learning.seconds, learning.limit) == (PREPARATION, 150.0, 150.0)
    assert augmented.ask(learning).number == PREPARATION
    assert augmented.search(math.inf) is None, "it learns once"
    prepare(augmented)
    assert augmented.spent == 40.0
    assert augmented.search(math.inf).parameters == KNOWN[0].parameters


def test_a_network_s_augmentation_does_not_learn_in_a_short_run(run):
    plain = network(run)
    answer(plain, run, plain.ask(plain.look(20.0)), accuracy=0.8, seconds=20.0)
    box = LEAST_EPOCHS * epoch_seconds(plain.records)
    assert beside(plain, run).search(1000.0, box - 1) is None
    assert beside(plain, run).search(1000.0, box).number == PREPARATION


def test_an_augmentation_is_compared_at_what_the_plain_study_had(run):
    plain = network(run)
    augmented = beside(plain, run, ratio=Range(0.1, 1.0))
    answer(plain, run, plain.ask(plain.look(150.0)), accuracy=0.8, seconds=20.0)
    running = plain.ask(plain.search(1000.0, 150.0))
    prepare(augmented)
    proposal = augmented.search(1000.0, 150.0)
    assert (proposal.parameters, proposal.rung, proposal.limit) == (running.parameters, running.rung, 150.0)
    asked = augmented.ask(proposal)
    assert asked.parameters.keys() == {*running.parameters, "augment__ratio"}
    answer(plain, run, running, accuracy=0.9, seconds=140.0)
    assert augmented.search(1000.0, 150.0) is None, "a configuration is compared once"
    answer(augmented, run, asked, accuracy=None, status="interrupted")
    again = augmented.search(1000.0, 150.0)
    assert again.parameters == asked.parameters


def test_three_configurations_are_compared_with_an_augmentation(run):
    defaults = [DefaultConfiguration(str(C), {"model__C": C, "model__degree": 2}) for C in (1.0, 2.0, 3.0, 4.0)]
    plain = make(run, defaults)
    for accuracy in (0.6, 0.9, 0.8, 0.7):
        answer(plain, run, ask(plain), accuracy=accuracy)
    augmented, taken = beside(plain, run, ratio=Range(0.1, 1.0)), []
    prepare(augmented)
    while not (proposal := augmented.search(math.inf)).new:
        taken.append(proposal.parameters["model__C"])
        augmented.ask(proposal)
    assert taken == [2.0, 3.0, 4.0]


def test_a_study_whose_last_trials_gained_nothing_is_stale(run):
    search = make(run)
    answer(search, run, ask(search), accuracy=0.9)
    for _ in range(STALE):
        assert not search.claim(ready=True).stale
        answer(search, run, ask(search), accuracy=0.9)
    assert search.claim(ready=True).stale
    answer(search, run, ask(search), accuracy=0.92)
    assert not search.claim(ready=True).stale


def test_an_epoch_costs_what_it_took_in_the_trial_of_most_epochs(run):
    search = network(run)
    assert epoch_seconds(search.records) == 0.0
    answer(search, run, search.ask(search.look(60.0)), seconds=30.0, schedule_share=0.5)
    assert epoch_seconds(search.records) == pytest.approx(60.0), "half of two epochs of half of the rows"
    answer(search, run, ask(search), seconds=60.0)
    assert epoch_seconds(search.records) == pytest.approx(10.0), "six epochs of all rows"
    search.records.append(replace(search.records[0], number=2))
    assert epoch_seconds(search.records) == pytest.approx(10.0), "of fewer epochs, though later"


def test_a_frozen_part_computes_on_the_rows_before_there_are_epochs(run):
    search = network(run)
    answer(search, run, search.ask(search.look(60.0)), seconds=30.0, embed_seconds=20.0)
    assert (epoch_seconds(search.records), embed_seconds(search.records)) == (10.0, 40.0), (
        "two epochs of half of the rows"
    )
    assert not search.has_room(47.0)
    assert search.has_room(48.0)
    answer(search, run, ask(search), seconds=60.0)
    assert embed_seconds(search.records) == 40.0, "that trial found in a file what had been computed"
