"""The loop over trials: limits of time."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from scenes import answer, ask, make, make_run, network

from fmnist_bench.cli import main
from fmnist_bench.config.study import DefaultConfiguration
from fmnist_bench.search.allocation import Clock
from fmnist_bench.search.loop import Search
from fmnist_bench.search.sampler import Ask
from fmnist_bench.storage.run_folder import Store


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


@pytest.mark.parametrize("n_studies", [2, 14])
def test_an_augmentation_leaves_half_of_the_time_for_trials(n_studies):
    workers, settings = SimpleNamespace(capacity=2), SimpleNamespace(trials=None)
    search = Search([None] * n_studies, None, None, Clock(1000.0), workers, settings, None)
    limit, fair = search._limit(0.0, 0.0, preparation=True), 2 * 1000 / n_studies
    assert limit == pytest.approx(min(500, fair), rel=0.01)
    assert search._limit(10.0, 0.0) == pytest.approx(fair, rel=0.01)
    assert search._limit(0.0, 0.0) == pytest.approx(max(fair, 250), rel=0.01), "what nothing is known of gets more"


def test_a_result_that_lies_in_the_place_of_a_trial_is_not_taken_for_its_own(small_benchmark):
    run = Store(small_benchmark[0]).latest_run("all")
    before = run.records("bayes")
    run.journal.unlink()
    left = run.trial_folder("bayes", 1)
    (left / "trial.json").unlink()  # nobody knows any more what this was the result of
    (left / "result.json").write_text(json.dumps({"status": "complete", "accuracy": 1.0, "log_loss": 0.0}))
    assert main(["run", "all", "--trials", "3"]) == 0
    records = run.records("bayes")
    assert [record.number for record in records] == [0, 2, 3]
    assert records[0] == before[0]
    assert all(record.result.accuracy < 1 for record in records)
    assert [record.parameters for record in records].count(records[2].parameters) == 1


class Nowhere:
    """Workers of which the engine asks only how many there are."""

    capacity = 2


@pytest.mark.parametrize(("spent", "first"), [(0.0, "svm"), (45.0, "cnn")])
def test_the_last_training_of_a_network_begins_when_the_others_have_had_their_part(run, spent, first):
    network_search, other = network(run, speedup=2.0), make(run, [DefaultConfiguration("one", {"model__C": 3.0})])
    network_search.study = replace(network_search.study, space=replace(network_search.study.space, name="cnn"))
    answer(network_search, run, ask(network_search), accuracy=0.9, seconds=50.0)
    answer(other, run, ask(other), accuracy=0.5, seconds=5.0)
    clock, settings = Clock(130.0, spent=spent), SimpleNamespace(trials=None)
    search = Search([network_search, other], run, None, clock, Nowhere(), settings, None)
    chosen, proposal = search._next(reserve=20.0)
    assert (chosen.study.space.name, proposal.all_cores) == (first, first == "cnn")
    network_search.begin(Ask(7, {}), 60.0, all_cores=True)
    assert search._start(None, 20.0) == {}, "nothing is begun beside it"
