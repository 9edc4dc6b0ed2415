"""The loop over trials: what earlier calls left."""

import json

from fmnist_bench.cli import main
from fmnist_bench.storage.run_folder import Store


def test_a_result_in_the_place_of_a_trial_is_not_taken_for_its_own(small_benchmark):
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
