"""The loop over trials: limits of time."""

import json
from types import SimpleNamespace

import pytest

from fmnist_bench.budget import Clock
from fmnist_bench.cli import main
from fmnist_bench.engine import Search
from fmnist_bench.store import Store


@pytest.mark.parametrize("n_arms", [2, 14])
def test_an_augmentation_leaves_half_of_the_time_for_trials(n_arms):
    workers, settings = SimpleNamespace(capacity=2), SimpleNamespace(trials=None)
    search = Search([None] * n_arms, None, None, Clock(1000.0), workers, settings, None)
    limit, fair = search._limit(0.0, 0.0, preparation=True), 2 * 1000 / n_arms
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
