"""The loop over trials: what earlier calls left."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from scenes import answer, make_run, network

from fmnist_bench.cli import main
from fmnist_bench.config.fidelity import EPOCHS
from fmnist_bench.progress.displays import Progress
from fmnist_bench.search.allocation import Clock
from fmnist_bench.search.loop import Search, SearchSettings
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial import TRAIN, Trial


class NoTracker:
    """Logs nothing."""

    def forget_trial(self, study, number):
        pass

    def log_trial(self, record):
        pass

    def keep_models(self, study, numbers):
        pass


class Said(Progress):
    def __init__(self):
        self.lines = []

    def message(self, text):
        self.lines.append(text)


def interruptible(*running):
    """A search with such trials in progress, and what it says."""
    study, said = SimpleNamespace(running=dict(enumerate(running))), Said()
    run, settings = SimpleNamespace(state={}), SimpleNamespace(seed=0, trials=None)
    return Search([study], run, None, Clock(600.0), None, settings, said), said.lines


def test_a_training_that_was_killed_is_planned_anew_and_not_repeated(tmp_path):
    run = make_run(tmp_path)
    settings = SimpleNamespace(seed=0, trials=None, per_study=3)

    def make_search():
        return Search([network(run)], run, NoTracker(), Clock(600.0), None, settings, Progress())

    search = make_search()
    (cnn,) = search.studies
    answer(cnn, run, search._ask(cnn, cnn.look(60.0)), accuracy=0.9)
    search._ask(cnn, replace(cnn.trial({"model__learning_rate": 0.5}, "one", 2), phase=TRAIN))  # and here it is killed
    again = make_search()
    again.settle()
    (cnn,) = again.studies
    assert [(record.phase, record.status) for record in cnn.records] == [
        ("look", "complete"),
        (TRAIN, "interrupted"),
    ]
    assert not cnn.queue


@pytest.mark.parametrize(("wanted", "planned"), [(True, True), (True, False), (False, True)])
def test_a_network_is_fine_tuned_where_it_is_planned_and_wanted(tmp_path, wanted, planned):
    run = make_run(tmp_path)
    settings = SearchSettings(lambda: None, None, 0, None, 3, fine_tune=wanted)
    search = Search([network(run)], run, NoTracker(), Clock(600.0), None, settings, Progress())
    (cnn,) = search.studies
    trial = replace(cnn.look(60.0), number=0, phase=TRAIN, fine_tune=planned)
    assert search.job(cnn.study, trial, 60.0).fine_tune == (wanted and planned)


def test_a_training_says_how_many_epochs_the_clock_left_it(tmp_path):
    run = make_run(tmp_path)
    settings = SimpleNamespace(seed=0, trials=None, per_study=3)
    search = Search([network(run)], run, NoTracker(), Clock(600.0), None, settings, Progress())
    (cnn,) = search.studies
    proposal = replace(cnn.trial({"model__learning_rate": 0.5}, "one", 2), phase=TRAIN, fidelity={EPOCHS: 56})
    result = TrialResult("complete", "a part of its schedule", accuracy=0.9, log_loss=0.3, schedule_share=0.1)
    record = search._record(search._ask(cnn, proposal), result, 100.0)
    assert (record.fidelity[EPOCHS], record.result.schedule_share, record.result.reason) == (6, 1.0, "")


def test_ctrl_c_stops_the_search_and_a_second_one_the_program():
    search, said = interruptible(Trial("svm", started=time.monotonic()))
    assert search.interrupt()
    assert said == ["Stopping the search; ensemble and report follow (Ctrl-C again stops at once)"]
    assert (search.interrupt(), search.stop.at_once.is_set()) == (False, False)


def test_ctrl_c_lets_a_training_end_its_schedule_and_a_second_one_does_not():
    search, said = interruptible(Trial("cnn", phase=TRAIN, started=time.monotonic() - 300))
    assert (search.interrupt(), search.stop.is_set(), search.stop.at_once.is_set()) == (True, True, False)
    assert "The training ends its schedule in about 30 s; then ensemble and report follow" in said[0]
    assert (search.interrupt(), search.stop.at_once.is_set()) == (True, True)
    assert not search.interrupt()


def test_a_result_in_the_place_of_a_trial_is_not_taken_for_its_own(small_benchmark):
    run = open_folder(newest_run("all", small_benchmark[0]))
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
