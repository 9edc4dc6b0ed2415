import math
from dataclasses import replace
from types import SimpleNamespace

import optuna
import pytest

from fmnist_bench.arm_search import ArmSearch
from fmnist_bench.budget import Clock
from fmnist_bench.engine import Search
from fmnist_bench.ladder import AS_IT_STANDS
from fmnist_bench.search import FEWEST, OptunaAsker, distribution, importances, open_journal
from fmnist_bench.space import Range, Spec
from fmnist_bench.store import Run, Store, TrialRecord
from fmnist_bench.study import Arm, Fidelity, Known, Study
from fmnist_bench.trial import PREPARATION, PREPARED, TrialResult

EPOCHS = {"model__epochs": (2, 6, 14)}
SPACE = Spec("sklearn.svm.SVC", {"C": Range(0.1, 10.0, log=True), "degree": Range(1, 5)})


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return Run(Store(tmp_path / "mlruns"), folder, "b")


def make(run, known=(), space=SPACE, levels=None, thorough=False):
    arm = Arm(Study("svm", space, known=tuple(known), fidelity=Fidelity(levels or {})))
    return ArmSearch(arm, run, OptunaAsker(arm, run, seed=0), thorough)


def ask(search):
    """Ask for what the arm would try next."""
    proposal = search.propose(math.inf)
    return proposal and search.ask(proposal)


def answer(search, run, ask, accuracy=0.5, status="complete", seconds=1.0, schedule_share=1.0):
    result = TrialResult(
        status, accuracy=accuracy, log_loss=1.0, fit_seconds=0.9 * seconds, schedule_share=schedule_share
    )
    fidelity = search.fidelity(ask)
    record = TrialRecord("svm", ask.number, dict(ask.parameters), ask.known, result, seconds, 0.0, ask.rung, fidelity)
    run.save_record(record)
    search.tell(record)
    return record


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (Range(1, 5), optuna.distributions.IntDistribution(1, 5)),
        (Range(1, 9, step=2), optuna.distributions.IntDistribution(1, 9, step=2)),
        (Range(0.1, 5.0, log=True), optuna.distributions.FloatDistribution(0.1, 5.0, log=True)),
        (Range(choices=("a", 2)), optuna.distributions.CategoricalDistribution(("a", 2))),
    ],
)
def test_ranges_become_distributions(space, expected):
    assert distribution(space) == expected


def test_known_configurations_come_first_with_their_constants(run):
    known = [
        Known("one", {"model__C": 3.0, "model__degree": 2, "model__kernel": "poly"}),
        Known("two", {"model__C": 1.0}),
    ]
    search = make(run, known)
    first = ask(search)
    assert first.known == "one"
    assert first.parameters == {"model__C": 3.0, "model__degree": 2, "model__kernel": "poly"}
    answer(search, run, first)
    second = ask(search)
    assert second.known == "two"
    assert second.parameters["model__C"] == 1.0
    assert 1 <= second.parameters["model__degree"] <= 5
    answer(search, run, second)
    assert ask(search).known == ""


def test_a_resumed_search_asks_what_it_would_have_asked(run, tmp_path):
    search, asked = make(run), []
    for i in range(8):
        asked.append(ask(search))
        answer(search, run, asked[-1], accuracy=i / 10)
    again = make(run)
    assert again.count() == 8
    there = Run(Store(tmp_path / "other"), tmp_path / "other" / "run", "b")
    there.folder.mkdir()
    other = make(there)
    for i in range(8):
        asks = ask(other)
        assert asks.parameters == asked[i].parameters
        answer(other, there, asks, accuracy=i / 10)
    assert ask(other).parameters == ask(again).parameters


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
    record = TrialRecord("svm", asks.number, dict(asks.parameters), "", TrialResult("complete", accuracy=0.5), 1.0, 0.0)
    run.save_record(record)  # and here the process dies
    again = make(run)
    assert again.count() == 0
    again.tell(run.record("svm", again.left_running()[0].number))
    assert again.count() == 1
    assert make(run).count() == 1


def test_a_question_that_was_cut_off_is_withdrawn_and_asked_again(run):
    known = [Known("one", {"model__C": 3.0, "model__degree": 2})]
    search = make(run, known)
    study = search._asker._study
    study.ask({})  # the process dies before the parameters of the known configuration are written
    again = make(run, known)
    assert again.left_running() == []
    asks = ask(again)
    assert (asks.known, asks.parameters) == ("one", {"model__C": 3.0, "model__degree": 2})


def test_nothing_is_tried_twice_and_a_small_space_is_exhausted(run):
    search = make(run, space=Spec("sklearn.svm.SVC", {"kernel": Range(choices=("rbf", "poly", "linear"))}))
    tried = []
    while (asks := ask(search)) is not None:
        tried.append(asks.parameters["model__kernel"])
        answer(search, run, asks)
    assert sorted(tried) == ["linear", "poly", "rbf"]
    assert search.propose(math.inf) is None


def test_a_bad_trial_is_pruned_and_a_known_one_never(run):
    search = make(run, [Known(str(i), {"model__C": float(i + 1)}) for i in range(4)])
    for _ in range(4):
        asks = ask(search)
        assert not any(search.should_prune(asks, step, 0.9) for step in range(1, 5))
        answer(search, run, asks, accuracy=0.9)
    asks = ask(search)
    assert [search.should_prune(asks, step, 0.1) for step in (1, 2)][-1]


LEVELS = {"model__max_iter": (10, 30, 90)}
KNOWN = [Known("one", {"model__C": 3.0, "model__degree": 2})]


def test_the_better_ones_climb_and_optuna_takes_the_rungs_apart(run):
    search = make(run, KNOWN, levels=LEVELS)
    first = ask(search)
    assert (first.rung, search.fidelity(first)) == (0, {"model__max_iter": 10})
    answer(search, run, first, accuracy=0.7, seconds=1.0)
    second = ask(search)
    assert (second.parameters, second.known, second.rung) == (first.parameters, "one", 1)
    answer(search, run, second, accuracy=0.8, seconds=3.0)
    third = ask(search)
    assert search.fidelity(third) == {"model__max_iter": 90}
    answer(search, run, third, accuracy=0.9, seconds=9.0)
    assert ask(search).known == ""
    states = [trial.state for trial in search._asker._study.trials[:3]]
    assert states == [optuna.trial.TrialState.PRUNED] * 2 + [optuna.trial.TrialState.COMPLETE]
    assert make(run, levels=LEVELS).propose(math.inf).rung == 0


def test_what_does_not_fit_into_the_time_left_waits(run):
    search = make(run, KNOWN, levels=LEVELS)
    answer(search, run, ask(search), seconds=20.0)
    assert search.propose(100.0).rung == 1
    assert search.propose(50.0).parameters is None
    assert search.propose(10.0) is None


def test_without_a_budget_trials_run_as_the_study_says(run):
    search = make(run, levels=LEVELS, thorough=True)
    for _ in range(4):
        asked = ask(search)
        assert search.fidelity(asked) == {}
        answer(search, run, asked)
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in search._asker._study.trials)


def test_where_nothing_is_known_to_be_good_the_best_of_three_climbs(run):
    search = make(run, levels=LEVELS)
    asked = []
    for accuracy in (0.7, 0.9, 0.8):
        asked.append(ask(search))
        answer(search, run, asked[-1], accuracy=accuracy)
    climber = ask(search)
    assert [one.rung for one in (*asked, climber)] == [0, 0, 0, 1]
    assert climber.parameters == asked[1].parameters


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
    assert ask(make(run, [Known("one", {"model__C": 3.0}, alone=True)])).known == ""


def test_best_is_by_accuracy_then_log_loss(run):
    search = make(run)
    records = [answer(search, run, ask(search), accuracy=a) for a in (0.5, 0.9, 0.7, 0.9)]
    assert [r.number for r in search.best(3)] == [records[1].number, records[3].number, records[2].number]


def test_a_journal_line_that_was_cut_off_is_cut_away(run):
    search = make(run)
    answer(search, run, ask(search))
    whole = run.journal.read_bytes()
    run.journal.write_bytes(whole + b'{"op_code": 4, "wor')
    open_journal(run)
    assert run.journal.read_bytes() == whole
    assert make(run).count() == 1


def test_without_weights_an_arm_ends(run):
    search = make(run, known=[Known("one", {"model__C": 3.0}), Known("two", {"model__C": 1.0})])
    answer(search, run, ask(search), status="no_weights", accuracy=None)
    assert search.propose(math.inf) is None
    assert make(run, known=[Known("one", {"model__C": 3.0})]).propose(math.inf) is None


def test_a_known_configuration_that_takes_more_than_its_share_has_to_earn_it(run):
    search = make(run, known=[Known("one", {"model__C": 3.0}), Known("two", {"model__C": 1.0})])
    answer(search, run, ask(search), seconds=30.0)
    proposal = search.propose(math.inf)
    assert proposal.seconds == 30.0
    assert search.claim(proposal, fair=31.0).untried
    assert not search.claim(proposal, fair=29.0).untried


def test_what_waits_and_does_not_fit_lends_its_turn_to_nobody(run):
    search = network(run)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    answer(search, run, search.ask(search.propose(200.0)), accuracy=None, status="interrupted", seconds=1.0)
    fits, beyond = search.propose(150.0), search.propose(30.0)
    assert search.claim(fits, fair=150.0).untried
    assert not search.claim(beyond, fair=150.0).untried


def test_an_augmentation_learns_when_there_is_a_result_without_it_and_its_study_is_due(run):
    plain = make(run, known=[Known("one", {"model__C": 3.0})])
    arm = Arm(plain.arm.study, (Spec("imblearn.SMOTE", {}),))
    augmented = ArmSearch(arm, run, OptunaAsker(arm, run, seed=0), plain=plain)
    assert augmented.propose(math.inf) is None
    answer(plain, run, ask(plain), status="interrupted", accuracy=None)
    assert augmented.propose(math.inf) is None, "that is no result"
    answer(plain, run, ask(plain))
    learning = augmented.propose(math.inf)
    assert learning.preparation
    assert not augmented.claim(learning, fair=1000.0).untried, "known configurations of all arms come first"
    assert augmented.ask(learning).number == PREPARATION
    assert augmented.propose(math.inf) is None, "it learns once"
    augmented.tell(TrialRecord(arm.name, PREPARATION, {}, "", TrialResult(PREPARED), 40.0, 0.0, AS_IT_STANDS, {}))
    assert augmented.spent == 40.0
    first = augmented.propose(math.inf)
    assert first.parameters["model__C"] == 3.0
    assert augmented.claim(first, fair=1000.0).untried


def test_an_augmentation_takes_over_configurations_not_seeds_at_what_they_cost_without_it(run):
    plain = network(run)
    arm = replace(plain.arm, augments=(Spec("fmnist_bench.augment.ConditionalGAN", {}),))
    answer(plain, run, ask(plain), accuracy=0.8, seconds=20.0)
    answer(plain, run, plain.ask(plain.propose(200.0)), accuracy=0.9, seconds=140.0)
    answer(plain, run, plain.ask(plain.propose(140.0)), accuracy=0.95, seconds=140.0)
    augmented = ArmSearch(arm, run, OptunaAsker(arm, run, seed=0), plain=plain)
    augmented.tell(TrialRecord(arm.name, PREPARATION, {}, "", TrialResult(PREPARED), 40.0, 0.0, AS_IT_STANDS, {}))
    first = augmented.propose(200.0)
    assert (first.known, first.rung, first.seconds) == ("svm 1", 2, 140.0), "not its other seed, which is better"
    lower = augmented.propose(100.0)
    assert (lower.known, lower.rung, lower.seconds) == ("svm 1", 1, pytest.approx(60.0)), "as high as there is time"
    augmented.ask(first)
    assert augmented.propose(200.0).parameters is None, "a configuration is taken over once"
    alone = ArmSearch(arm, run, OptunaAsker(arm, run, seed=0), plain=plain)
    alone.tell(TrialRecord(arm.name, PREPARATION, {}, "", TrialResult(PREPARED), 40.0, 0.0, AS_IT_STANDS, {}))
    assert alone.propose(10.0) is None, "a new one would take as long as it does without the augmentation"


def test_what_climbs_without_an_augmentation_climbs_with_it_beside(run):
    plain = network(run)
    arm = replace(plain.arm, augments=(Spec("fmnist_bench.augment.ConditionalGAN", {"ratio": Range(0.1, 1.0)}),))
    augmented = ArmSearch(arm, run, OptunaAsker(arm, run, seed=0), plain=plain)
    augmented.tell(TrialRecord(arm.name, PREPARATION, {}, "", TrialResult(PREPARED), 40.0, 0.0, AS_IT_STANDS, {}))
    answer(plain, run, ask(plain), accuracy=0.8, seconds=20.0)
    climbing = plain.ask(plain.propose(200.0))
    beside = augmented.propose(180.0)
    assert (beside.known, beside.rung, beside.seconds) == ("svm 0", climbing.rung, 140.0)
    assert augmented.ask(beside).parameters.keys() == {*climbing.parameters, "augment__ratio"}
    answer(plain, run, climbing, accuracy=0.9, seconds=140.0)
    assert augmented.propose(200.0).parameters is None, "it is not taken over again under its other number"


def test_a_configuration_that_failed_higher_up_is_taken_over_where_it_has_a_result(run):
    plain = network(run)
    arm = replace(plain.arm, augments=(Spec("fmnist_bench.augment.ConditionalGAN", {}),))
    augmented = ArmSearch(arm, run, OptunaAsker(arm, run, seed=0), plain=plain)
    augmented.tell(TrialRecord(arm.name, PREPARATION, {}, "", TrialResult(PREPARED), 40.0, 0.0, AS_IT_STANDS, {}))
    answer(plain, run, ask(plain), accuracy=0.8, seconds=20.0)
    answer(plain, run, plain.ask(plain.propose(200.0)), accuracy=None, status="out_of_memory", seconds=90.0)
    assert augmented.propose(200.0).rung == 0


def test_only_what_climbs_has_a_last_moment(run):
    search = network(run)
    first = search.propose(200.0)
    assert search.claim(first, fair=200.0, left=200.0).slack == math.inf
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    climb = search.propose(200.0)
    assert search.claim(climb, fair=200.0, left=200.0).slack == pytest.approx(200 - 0.75 * 140), "the highest rung's"
    assert search.claim(climb, fair=math.inf).slack == math.inf


def test_importances_tell_what_mattered_from_what_did_not(run):
    search, scores = make(run), {}
    for _ in range(FEWEST + 4):
        asks = ask(search)
        scores[asks.number] = 0.5 + math.log10(asks.parameters["model__C"]) / 4
        answer(search, run, asks, scores[asks.number])
    found = importances(run, {"svm": scores, "of_another_engine": {0: 0.5}})
    assert list(found) == ["svm"]
    shares, searched = found["svm"]
    assert list(shares) == ["model__C", "model__degree"]
    assert shares["model__C"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert searched == {"model__C": True, "model__degree": False}


def test_importances_of_too_few_trials_or_of_equal_ones_are_not_guessed(run):
    search, numbers = make(run), []
    for _ in range(FEWEST):
        asks = ask(search)
        numbers.append(asks.number)
        answer(search, run, asks, accuracy=0.5)
    assert importances(run, {"svm": dict.fromkeys(numbers, 0.5)})["svm"][0] == {}
    few = {number: number / 10 for number in numbers[1:]}
    assert importances(run, {"svm": few})["svm"][0] == {}
    assert importances(run, {"svm": few | {numbers[0]: 0.0}})["svm"][0] != {}


def network(run):
    """The search of a network with a known configuration, on a ladder of epochs."""
    space = Spec("fmnist_bench.models.cnn.CNNClassifier", {"learning_rate": Range(0.1, 1.0)})
    return make(run, [Known("one", {"model__learning_rate": 0.5})], space, levels=EPOCHS)


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
    assert make(run, [], search.arm.study.model, levels=EPOCHS).propose(100.0).parameters is None


def test_a_network_that_is_known_to_be_good_goes_straight_to_the_highest_rung_that_fits(run):
    search = network(run)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    assert search.propose(140.0).rung == 2
    assert search.propose(110.0).rung == 2, "three quarters of what it would take are enough"
    assert search.propose(100.0).rung == 1
    assert search.propose(math.inf).rung == 1, "nothing is short"
    search.ask(search.propose(140.0))
    assert search.propose(140.0).known == "0 again 1", "it does not climb the rungs between as well"


def test_beside_a_network_that_climbs_others_go_as_high_as_the_time_suffices(run):
    search = network(run)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    climbing = search.ask(search.propose(200.0))
    assert (climbing.known, climbing.rung) == ("one", 2)
    assert search.propose(200.0).rung == 2
    beside = search.ask(search.propose(100.0))
    assert (beside.known, beside.rung, beside.parameters["model__random_state"]) == ("0 again 1", 1, 1)
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
    assert (second.known, second.rung) == ("one", 1)
    answer(search, run, second, accuracy=0.9, seconds=60.0)
    third = search.propose(200.0)
    assert (third.known, third.rung) == ("2 again 1", 1)


def test_seeds_do_not_climb_and_go_on_when_there_is_more_time(run):
    search = network(run)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    for accuracy in (0.85, 0.82):
        answer(search, run, search.ask(search.propose(30.0)), accuracy=accuracy, seconds=20.0)
    later = network(run)
    assert later.ladder.promise() == pytest.approx(1 - 0.2 * 0.85**2), "luck promises nothing"
    climbing = later.ask(later.propose(200.0))
    assert (climbing.known, climbing.rung) == ("one", 2)
    beside = later.propose(200.0)
    assert (beside.rung, beside.parameters["model__random_state"]) == (2, 1)


def test_beside_a_new_network_that_climbs_none_is_trained_again(run):
    space = Spec("fmnist_bench.models.cnn.CNNClassifier", {"learning_rate": Range(0.1, 1.0)})
    search = make(run, [], space, levels=EPOCHS)
    for accuracy in (0.7, 0.9, 0.8):
        answer(search, run, ask(search), accuracy=accuracy, seconds=20.0)
    search.ask(search.propose(1000.0))
    assert search.propose(1000.0).parameters is None


def test_a_trial_that_its_limit_cut_short_counts_for_what_its_schedule_would_have_cost(run):
    search = make(run, KNOWN, levels=LEVELS)
    answer(search, run, ask(search), seconds=20.0, schedule_share=0.5)
    assert search.ladder.seconds(None, 0) == pytest.approx(20 + 18)
    assert search.spent == 20.0


def test_a_new_network_climbs_every_rung(run):
    space = Spec("fmnist_bench.models.cnn.CNNClassifier", {"learning_rate": Range(0.1, 1.0)})
    search = make(run, [], space, levels=EPOCHS)
    for accuracy in (0.7, 0.9, 0.8):
        answer(search, run, ask(search), accuracy=accuracy, seconds=20.0)
    assert search.propose(1000.0).rung == 1


def test_what_learns_on_a_part_of_the_rows_is_not_trained_again(run):
    search = make(run, [Known("one", {"model__C": 3.0})], levels={"rows": (0.1, 1.0)})
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    assert search.propose(30.0).parameters is None


def test_a_seed_with_which_a_network_is_trained_again_is_not_that_of_the_run(run):
    space = Spec("fmnist_bench.models.cnn.CNNClassifier", {"learning_rate": Range(0.1, 1.0)})
    arm = Arm(Study("svm", space, known=(Known("one", {"model__learning_rate": 0.5}),), fidelity=Fidelity(EPOCHS)))
    search = ArmSearch(arm, run, OptunaAsker(arm, run, seed=1), seed=1)
    answer(search, run, ask(search), accuracy=0.8, seconds=20.0)
    assert search.propose(30.0).parameters["model__random_state"] == 2


@pytest.mark.parametrize("n_arms", [2, 14])
def test_an_augmentation_leaves_half_of_the_time_for_trials(n_arms):
    workers, settings = SimpleNamespace(capacity=2), SimpleNamespace(trials=None)
    search = Search([None] * n_arms, None, None, Clock(1000.0), workers, settings, None)
    limit, fair = search._limit(0.0, 0.0, preparation=True), 2 * 1000 / n_arms
    assert limit == pytest.approx(min(500, fair), rel=0.01)
    assert search._limit(0.0, 0.0) == pytest.approx(fair, rel=0.01)
