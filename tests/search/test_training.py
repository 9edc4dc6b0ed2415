"""The train phase: which networks, how long, on how many places."""

import json
from dataclasses import replace

import pytest
from scenes import answer, make_run, network

from fmnist_bench.config.fidelity import EPOCHS
from fmnist_bench.config.space import Range, Spec
from fmnist_bench.config.study import SEED
from fmnist_bench.search.optuna_sampler import OptunaSampler
from fmnist_bench.search.study import StudySearch
from fmnist_bench.search.successive_halving import AS_IT_STANDS
from fmnist_bench.search.training import as_planned, choose_study, plan_training, resume_training
from fmnist_bench.storage.results import PREPARATION, PREPARED, TrialResult
from fmnist_bench.storage.trial import TRAIN, Trial


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


def looked(run, accuracy=0.88, seconds=10.0):
    """A network that has had its look: two epochs of half of the rows in 10 seconds."""
    search = network(run)
    answer(search, run, search.ask(search.look(60.0)), accuracy=accuracy, seconds=seconds)
    return search


def tried(search, run, rate, rung, accuracy):
    proposal = search.trial({"model__learning_rate": rate}, "", rung)
    return answer(search, run, search.ask(proposal), accuracy=accuracy, seconds=60.0)


def plan(*arguments, **named):
    return [trial for _, trial in plan_training(*arguments, **named)]


def resume(*arguments, is_saved=lambda trial: False, **named):
    return [trial for _, trial in resume_training(*arguments, is_saved=is_saved, **named)]


def test_one_network_has_all_places_while_two_would_make_too_few_epochs(run):
    (training,) = plan([looked(run)], now=100.0, left=80.0, places=2, speedup=lambda n: n**0.9, seed=0)
    assert (training.phase, training.places, training.seconds, training.until) == (TRAIN, 2, 80.0, 180.0)
    assert (training.default, training.rung) == ("one", 2), "80 s make 8 epochs on one place, 15 on two"
    assert training.fidelity[EPOCHS] == 56, "the clock ends its schedule"


def test_a_training_that_is_short_has_all_train_rows_as_well(run):
    (training,) = plan([looked(run, seconds=100.0)], now=0.0, left=50.0, places=1, speedup=float, seed=0)
    assert training.rung == 1, "half an epoch"


def test_two_networks_have_one_place_each_where_the_time_suffices(run):
    trainings = plan([looked(run)], now=0.0, left=200.0, places=2, speedup=lambda n: n**0.9, seed=3)
    assert [(t.places, t.seconds, t.until) for t in trainings] == [(1, 200.0, 200.0)] * 2
    assert [t.parameters.get(SEED) for t in trainings] == [None, 4]


def test_four_networks_train_in_two_rounds_where_each_gets_thirty_epochs(run):
    trainings = plan([looked(run)], now=50.0, left=700.0, places=2, speedup=lambda n: n**0.9, seed=0)
    assert [t.until for t in trainings] == [400.0, 400.0, 750.0, 750.0]
    assert len({str(t.parameters) for t in trainings}) == 4


@pytest.mark.parametrize(("left", "fine_tune"), [(290.0, False), (310.0, True)])
def test_networks_of_many_epochs_are_fine_tuned(run, left, fine_tune):
    search = looked(run)
    trainings = plan([search], now=0.0, left=left, places=2, speedup=lambda n: n**0.9, seed=0)
    assert [t.fine_tune for t in trainings] == [fine_tune] * 2, "an epoch takes ten seconds"
    planned = json.loads(json.dumps([as_planned(t) for t in trainings]))
    again = resume(planned, [search], 0.0, left, 2, lambda n: n**0.9)
    assert [t.fine_tune for t in again] == [fine_tune] * 2


def test_a_second_network_is_another_architecture_that_is_nearly_as_good(run):
    search = looked(run)
    tried(search, run, 0.5, 1, 0.920)
    tried(search, run, 0.3, 1, 0.915)
    tried(search, run, 0.9, 1, 0.900)
    trainings = plan([search], now=0.0, left=400.0, places=2, speedup=lambda n: n**0.9, seed=0)
    assert [t.parameters for t in trainings] == [{"model__learning_rate": rate} for rate in (0.5, 0.3)]


@pytest.mark.parametrize(("accuracy", "second"), [(0.875, "two"), (0.865, "seed 1")])
def test_another_default_configuration_is_compared_where_both_have_been(run, accuracy, second):
    search = looked(run, accuracy=0.88)
    tried(search, run, 0.5, 1, 0.92)
    answer(search, run, search.ask(search.trial({"model__learning_rate": 0.2}, "two", 0)), accuracy=accuracy)
    trainings = plan([search], now=0.0, left=400.0, places=2, speedup=lambda n: n**0.9, seed=0)
    assert second in trainings[1].default


def test_a_first_look_puts_no_configuration_before_a_default_one(run):
    search = looked(run, accuracy=0.88)
    tried(search, run, 0.3, 0, 0.89)
    (training,) = plan([search], now=0.0, left=60.0, places=2, speedup=lambda n: n**0.9, seed=0)
    assert training.default == "one"


def test_a_network_that_was_trained_counts_for_nothing_in_the_next_choice(run):
    search = looked(run)
    (training,) = plan([search], now=0.0, left=80.0, places=2, speedup=lambda n: n**0.9, seed=0)
    record = answer(search, run, search.ask(training), accuracy=0.94, seconds=80.0)
    assert (record.phase, record.fidelity[EPOCHS]) == (TRAIN, training.fidelity[EPOCHS])
    assert (search.count(), search.halving.promise() < 0.94, search.best(1)) == (1, True, [record])
    again = plan([search], now=80.0, left=80.0, places=2, speedup=lambda n: n**0.9, seed=0)
    assert again[0] == replace(training, until=160.0)


def augmented(plain, run, rung, accuracy):
    study = replace(plain.study, augments=(Spec("fmnist_bench.models.ConditionalGAN", {"ratio": Range(0.1, 1.0)}),))
    search = StudySearch(study, run, OptunaSampler(study, run, seed=0), plain=plain)
    search.tell(Trial(study.name, PREPARATION, result=TrialResult(PREPARED), seconds=40.0, rung=AS_IT_STANDS))
    tried(search, run, 0.5, rung, accuracy)
    return search


@pytest.mark.parametrize(("accuracy", "with_it"), [(0.93, True), (0.922, False)])
def test_an_augmentation_is_trained_with_where_it_gained_at_equal_time(run, accuracy, with_it):
    plain = looked(run)
    tried(plain, run, 0.5, 1, 0.92)
    other = augmented(plain, run, 1, accuracy)
    assert choose_study([plain, other]) is (other if with_it else plain)


def test_an_augmentation_is_not_judged_on_different_fidelities(run):
    plain = looked(run)
    assert choose_study([plain, augmented(plain, run, 1, 0.99)]) is plain


def test_without_a_network_or_without_time_nothing_is_trained(run):
    search = network(run)
    assert plan([search], 0.0, 100.0, 2, float, 0) == []
    assert plan([looked(run)], 0.0, 10.0, 2, float, 0) == []


STATUSES = [("interrupted", 1), ("crashed", 1), ("complete", 0), ("failed", 0)]


@pytest.mark.parametrize(("status", "resumed"), STATUSES)
def test_a_training_that_was_stopped_goes_on_in_all_of_the_time(run, status, resumed):
    search = looked(run)
    (training,) = plan([search], now=0.0, left=80.0, places=2, speedup=float, seed=0)
    stopped = answer(search, run, search.ask(training), status=status)
    found = resume([as_planned(training)], [search], now=100.0, left=300.0, places=2, speedup=float)
    assert len(found) == resumed
    for training in found:
        assert (training.parameters, training.rung) == (stopped.parameters, stopped.rung)
        assert (training.phase, training.places, training.until) == (TRAIN, 2, 400.0)
        assert training.fidelity[EPOCHS] == 56


@pytest.mark.parametrize(("left", "saved", "resumed"), [(19.0, False, 0), (19.0, True, 1), (20.0, False, 1)])
def test_a_training_without_a_checkpoint_is_not_begun_anew_for_a_few_seconds(run, left, saved, resumed):
    search = looked(run)
    (training,) = plan([search], now=0.0, left=80.0, places=2, speedup=float, seed=0)
    answer(search, run, search.ask(training), status="crashed")
    asked = []
    planned = [as_planned(training)]
    found = resume(planned, [search], 100.0, left, 2, speedup=float, is_saved=lambda t: asked.append(t) or saved)
    assert len(found) == resumed
    assert all((t.study, t.parameters, t.rung) == (training.study, training.parameters, training.rung) for t in asked)


def test_networks_that_were_planned_and_not_begun_share_the_time_that_is_left(run):
    search = looked(run)
    trainings = plan([search], now=0.0, left=700.0, places=2, speedup=lambda n: n**0.9, seed=0)
    planned = json.loads(json.dumps([as_planned(training) for training in trainings]))
    answer(search, run, search.ask(trainings[0]))
    found = resume(planned, [search], now=400.0, left=300.0, places=2, speedup=float)
    assert [t.parameters for t in found] == [t.parameters for t in trainings[1:]]
    assert [(t.places, t.until) for t in found] == [(1, 550.0), (1, 550.0), (1, 700.0)]


def test_a_cluster_gives_a_network_that_goes_on_one_worker(run):
    search = looked(run)
    (planned,) = (as_planned(t) for t in plan([search], 0.0, 80.0, 2, float, 0))
    (training,) = resume([planned], [search], 100.0, 300.0, 8, speedup=lambda places: 1.0)
    assert training.places == 1
