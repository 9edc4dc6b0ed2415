"""The phases of a run: what begins next, limits of time."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from scenes import KNOWN, LEVELS, answer, make, make_run, network

from fmnist_bench.progress.displays import Progress
from fmnist_bench.search.allocation import Clock
from fmnist_bench.search.loop import Search
from fmnist_bench.search.plan import box_seconds
from fmnist_bench.storage.trial import LOOK, SEARCH, TRAIN, Trial


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


class Nowhere:
    """Workers of which the search asks only how many there are, and how fast several are."""

    capacity = 2

    def speedup(self, places):
        return places**0.9


def make_loop(run, studies, budget, spent=0.0, trials=None):
    settings = SimpleNamespace(trials=trials, seed=0)
    return Search(studies, run, None, Clock(budget, spent=spent), Nowhere(), settings, Progress())


def two_studies(run):
    """A network and an SVM, each with one default configuration."""
    cnn, svm = network(run), make(run, KNOWN, levels=LEVELS)
    cnn.study = replace(cnn.study, space=replace(cnn.study.space, name="cnn"))
    return cnn, svm


def begin(loop, reserve=0.0):
    """Begin the next trial, as `_start` does, without a worker."""
    chosen = loop.phases.next(reserve)
    return chosen and (*chosen, chosen[0].ask(chosen[1]))


def look(run, loop, accuracies=(0.9, 0.8)):
    for search, _, ask in [begin(loop), begin(loop)]:
        network = search.study.space.name == "cnn"
        answer(search, run, ask, accuracy=accuracies[not network], seconds=100.0 if network else 2.0)


def test_looks_come_first_and_one_worker_takes_the_slow_ones(run):
    cnn, svm = two_studies(run)
    loop = make_loop(run, [svm, cnn], 600.0)
    first, second = begin(loop), begin(loop)
    assert [(search, proposal.phase) for search, proposal, _ in (first, second)] == [(cnn, LOOK), (svm, LOOK)]
    assert begin(loop) is None, "the network is looked at, and the plan waits for what it makes of its time"


def test_the_quick_look_comes_first_where_a_network_would_not_end(run):
    cnn, svm = two_studies(run)
    loop = make_loop(run, [cnn, svm], 40.0, spent=30.0)
    assert begin(loop)[0] is svm


def test_a_short_run_compares_families_and_then_trains_a_network(run):
    cnn, svm = two_studies(run)
    loop = make_loop(run, [cnn, svm], 600.0, spent=60.0)
    look(run, loop)
    search, proposal, ask = begin(loop)
    assert (search, proposal.phase, proposal.rung) == (svm, SEARCH, 2)
    assert begin(loop) is None, "a training on both cores waits for the other trial"
    answer(search, run, ask, accuracy=0.85, seconds=20.0)
    search, proposal, ask = begin(loop)
    assert (search, proposal.phase, proposal.places) == (cnn, TRAIN, 2)
    assert proposal.until == pytest.approx(600.0, abs=1.0)
    assert loop.phases.free_places() == 0


@pytest.mark.parametrize(("accuracy", "phase"), [(0.5, SEARCH), (0.9, TRAIN)])
def test_a_family_that_promises_more_than_the_network_goes_first(run, accuracy, phase):
    cnn, svm = two_studies(run)
    loop = make_loop(run, [cnn, svm], 180.0, spent=80.0)
    look(run, loop, accuracies=(accuracy, 0.8))
    search, proposal, _ = begin(loop)
    assert (search, proposal.phase) == (svm if phase == SEARCH else cnn, phase)


@pytest.mark.parametrize(("seconds", "places"), [(40.0, None), (60.0, 1)])
def test_a_training_waits_for_a_core_while_that_gains_place_seconds(run, seconds, places):
    cnn, svm = two_studies(run)
    loop = make_loop(run, [cnn, svm], 180.0, spent=80.0)
    look(run, loop)
    svm.ask(replace(svm.search(100.0, 20.0), seconds=seconds))
    begun = begin(loop)
    assert (begun and begun[1].places) == places, "of 100 seconds that are left"


def test_what_is_decided_is_written_down_before_it_is_trained(run):
    loop = make_loop(run, list(two_studies(run)), 600.0, spent=200.0)
    look(run, loop)
    lines = []
    loop.progress.message = lines.append
    begin(loop)
    assert lines == ["Training cnn (one), 400 s x 2 cores"]
    parameters = {"model__learning_rate": 0.5}
    network = {"study": "cnn", "parameters": parameters, "default": "one", "rung": 1, "fine_tune": False}
    assert run.state["networks"] == [network]


def test_a_long_run_goes_on_searching_until_its_share_is_over(run):
    cnn, svm = two_studies(run)
    loop = make_loop(run, [cnn, svm], 3600.0, spent=100.0)
    look(run, loop)
    begun = [begin(loop) for _ in range(2)]
    assert {(search.study.space.name, proposal.rung) for search, proposal, _ in begun} == {("cnn", 1), ("svm", 2)}
    for search, proposal, ask in begun:
        assert proposal.phase == SEARCH
        answer(search, run, ask, accuracy=0.91, seconds=20.0)
    assert begin(loop)[1].new, "then new configurations"
    late = make_loop(run, [cnn, svm], 3600.0, spent=1100.0)
    assert late.phases.next(0.0)[1].phase == TRAIN


@pytest.mark.parametrize(("spent", "phase"), [(780.0, SEARCH), (810.0, TRAIN)])
def test_what_is_left_of_the_search_is_for_training_once_no_network_fits(run, spent, phase):
    cnn, svm = two_studies(run)
    loop = make_loop(run, [cnn, svm], 3600.0, spent=100.0)
    look(run, loop)
    for search, _, ask in [begin(loop) for _ in range(2)]:
        answer(search, run, ask, accuracy=0.91, seconds=20.0)
    late = make_loop(run, [cnn, svm], 3600.0, spent=spent)
    assert late.phases.next(0.0)[1].phase == phase, "the search ends after 900 s, the next network takes 100"


def test_a_network_beside_another_one_in_search_leaves_a_core_to_cheap_families(run):
    cnn, svm = two_studies(run)
    loop = make_loop(run, [cnn, svm], 3600.0, spent=100.0)
    look(run, loop)
    for search, _, ask in [begin(loop) for _ in range(2)]:
        answer(search, run, ask, accuracy=0.91, seconds=20.0)
    late = make_loop(run, [cnn, svm], 3600.0, spent=810.0)
    cnn.ask(cnn.search(300.0, 216.0))
    assert late.phases.next(0.0)[0] is svm


@pytest.mark.parametrize(("look_seconds", "begun"), [(2.0, "trees"), (4.7, "trees"), (10.0, None)])
def test_a_core_that_a_training_waits_for_compares_a_family_that_fits(run, look_seconds, begun):
    cnn, svm = two_studies(run)
    trees = make(run, KNOWN, levels=LEVELS)
    trees.study = replace(trees.study, space=replace(trees.study.space, name="trees"))
    loop = make_loop(run, [cnn, svm, trees], 600.0, spent=175.0)
    for search, seconds in ((cnn, 100.0), (svm, 4.0), (trees, look_seconds)):
        answer(search, run, search.ask(search.look(36.0)), accuracy=0.9, seconds=seconds)
    svm.ask(svm.search(400.0, 36.0))
    chosen = begin(loop)
    assert (chosen and chosen[0].study.name) == begun, "a quarter more than the SVM's 36 s at most"
    assert loop.phases._trainings, "the training on both cores waits for the SVM"


def test_when_networks_are_trained_the_search_goes_on_with_what_is_left(run):
    cnn, svm = two_studies(run)
    loop = make_loop(run, [cnn, svm], 600.0, spent=200.0)
    look(run, loop)
    search, _, ask = begin(loop)
    answer(search, run, ask, accuracy=0.95, seconds=300.0)
    search, proposal, _ = begin(loop)
    assert (search, proposal.phase) == (svm, SEARCH)


def test_a_network_that_needs_no_more_time_leaves_it_to_the_search(run):
    cnn = network(run)
    loop = make_loop(run, [cnn], 600.0, spent=200.0)
    answer(cnn, run, begin(loop)[2], accuracy=0.9, seconds=100.0)
    assert not cnn.has_room(box_seconds(600.0))
    answer(cnn, run, begin(loop)[2], accuracy=0.95, seconds=5.0)
    _, proposal, _ = begin(loop)
    assert (proposal.phase, proposal.new) == (SEARCH, True), "though it has room for no more than a look"
    assert proposal.limit == pytest.approx(400.0, abs=5.0)
    late = make_loop(run, [cnn], 600.0, spent=570.0)
    late.phases._plans = 1
    assert late.phases.next(0.0) is None, "a look takes longer than what is left"


def test_no_network_is_trained_while_another_one_has_its_look(run):
    cnn, other = network(run), network(run)
    other.study = replace(other.study, space=replace(other.study.space, name="other"))
    loop = make_loop(run, [cnn, other], 600.0, spent=60.0)
    (_, _, first), (_, _, second) = begin(loop), begin(loop)
    answer(cnn, run, first, accuracy=0.8, seconds=100.0)
    assert begin(loop) is None
    answer(other, run, second, accuracy=0.9, seconds=100.0)
    assert (begin(loop)[0], loop.phases._trainings) == (other, []), "the better one has all places"


def test_a_short_run_does_not_look_again_at_the_network_that_it_trains(run):
    cnn, svm = two_studies(run)
    cnn._enqueue({"model__learning_rate": 0.2}, "two", 0)
    short, long = (make_loop(run, [cnn, svm], budget, spent=60.0) for budget in (600.0, 3600.0))
    look(run, short)
    found = [loop.phases._search(300.0, box_seconds(loop.clock.budget), loop is short) for loop in (short, long)]
    assert [search for search, _ in found] == [svm, cnn]


def test_places_that_no_network_takes_go_on_searching(run):
    cnn, svm = two_studies(run)
    loop = make_loop(run, [cnn, svm], 600.0, spent=200.0)
    loop.phases.workers = SimpleNamespace(capacity=7, speedup=lambda places: 1.0)
    look(run, loop)
    begun = [begin(loop) for _ in range(6)]
    assert [proposal.phase for _, proposal, _ in begun] == [TRAIN] * 4 + [SEARCH] * 2
    assert {proposal.places for _, proposal, _ in begun} == {1}


def test_where_too_little_is_left_for_a_training_the_search_goes_on(run):
    cnn, svm = two_studies(run)
    loop = make_loop(run, [cnn, svm], 60.0, spent=42.0)
    for search, accuracy, seconds in ((cnn, 0.9, 10.0), (svm, 0.8, 0.5)):
        answer(search, run, search.ask(search.look(20.0)), accuracy=accuracy, seconds=seconds)
    begun = [begin(loop) for _ in range(2)]
    assert [(search, proposal.phase) for search, proposal, _ in begun] == [(svm, SEARCH), (cnn, SEARCH)]


def test_networks_are_chosen_twice_where_the_first_ones_failed(run):
    cnn, svm = two_studies(run)
    loop, phases = make_loop(run, [cnn, svm], 600.0, spent=200.0), []
    look(run, loop)
    for _ in range(3):
        search, proposal, ask = begin(loop)
        phases.append(proposal.phase)
        answer(search, run, ask, accuracy=None, status="out_of_memory")
    assert phases == [TRAIN, TRAIN, SEARCH]


def test_a_larger_budget_trains_networks_again(run):
    cnn, svm = two_studies(run)
    loop = make_loop(run, [cnn, svm], 600.0, spent=200.0)
    look(run, loop)
    search, _, ask = begin(loop)
    answer(search, run, ask, accuracy=0.95, seconds=300.0)
    assert make_loop(run, [cnn, svm], 1800.0, spent=600.0).phases.next(0.0)[1].phase == TRAIN


def test_without_a_network_all_of_the_time_is_searched(run):
    svm = make(run, KNOWN, levels=LEVELS)
    loop = make_loop(run, [svm], 600.0, spent=500.0)
    answer(svm, run, begin(loop)[2], seconds=2.0)
    assert [begin(loop)[1].rung for _ in range(2)] == [2, 0]


def test_each_study_gets_as_many_trials_where_they_are_counted(run):
    cnn, svm = two_studies(run)
    loop, order = make_loop(run, [cnn, svm], None, trials=2), []
    while (begun := begin(loop)) is not None:
        search, proposal, ask = begun
        order.append(search.study.space.name)
        assert loop.phases.limit(proposal, 0.0) is None
        answer(search, run, ask)
    assert order == ["cnn", "svm"] * 2


@pytest.mark.parametrize(("capacity", "listed"), [(1, "cnn svm"), (2, "svm cnn")])
def test_counted_trials_of_quick_families_do_not_wait_for_slow_ones(run, capacity, listed):
    studies = dict(zip(("cnn", "svm"), two_studies(run), strict=True))
    loop = make_loop(run, [studies[name] for name in listed.split()], None, trials=1)
    loop.workers.capacity = capacity
    assert [begin(loop)[0] for _ in studies] == [studies[name] for name in reversed(listed.split())]


def test_counted_trials_of_quick_families_come_first_where_a_network_would_not_end(run):
    cnn, svm = two_studies(run)
    assert begin(make_loop(run, [cnn, svm], 40.0, spent=30.0, trials=1))[0] is svm


def test_counted_trials_end_with_the_budget_where_there_is_one(run):
    svm = make(run, KNOWN)
    loop = make_loop(run, [svm], 600.0, spent=500.0, trials=5)
    answer(svm, run, begin(loop)[2], seconds=60.0)
    assert begin(loop)[1].seconds == 60.0
    late = make_loop(run, [svm], 600.0, spent=550.0, trials=5)
    assert late.phases.next(0.0) is None


@pytest.mark.parametrize(
    ("trial", "limit"),
    [
        (Trial("svm"), 50.0),  # half of the time where nothing is known
        (Trial("svm", seconds=20.0), 60.0),
        (Trial("svm", seconds=2.0), 30.0),
        (Trial("svm", seconds=90.0), 100.0),
        (Trial("cnn", limit=20.0), 60.0),  # its schedule ends after 20 s, what goes wrong after 60
        (Trial("cnn", phase=TRAIN, until=198.0), 98.0),
    ],
)
def test_a_trial_may_take_three_times_what_is_expected(run, trial, limit):
    loop = make_loop(run, [], 220.0, spent=100.0)
    assert loop.phases.limit(trial, reserve=20.0) == pytest.approx(limit, rel=0.01)


def test_what_takes_longer_than_expected_may_go_on_while_the_search_does(run):
    loop = make_loop(run, [], 600.0, spent=60.0)
    assert loop.phases.limit(Trial("svm", seconds=20.0), reserve=0.0) == pytest.approx(120.0, rel=0.01)
