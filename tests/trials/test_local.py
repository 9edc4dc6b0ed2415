import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench._utils.environment import allowed_cores
from fmnist_bench._utils.errors import InputError
from fmnist_bench.trials.local import LocalWorkers, divide


@given(st.integers(1, 64), st.integers(1, 64))
def test_cores_are_dealt_out_evenly(n_cores, n_places):
    places = divide(list(range(n_cores)), n_places)
    assert len(places) == n_places
    assert {core for place in places for core in place} == set(range(min(n_cores, max(n_cores, n_places))))
    assert max(map(len, places)) - min(map(len, places)) <= 1


@pytest.mark.parametrize("n_workers", [1, 2])
def test_each_trial_keeps_to_its_cores(make_job, n_workers):
    workers = LocalWorkers(n_workers)
    job = make_job("cores")
    result = workers.run(job, lambda step, score: False, threading.Event())
    assert result.status == "complete"
    log = (job.folder / "log.txt").read_text().split()
    assert int(log[0]) == max(1, len(allowed_cores()) // n_workers)
    assert set(map(int, log[1:])) <= {int(log[0])}, "threads of OpenMP and BLAS"


def test_fewer_trials_than_cores_get_more_cores_each():
    assert LocalWorkers(None, at_most=1).capacity == 1
    assert LocalWorkers(3).capacity == 3


def test_a_resource_that_the_machine_lacks_is_refused():
    with pytest.raises(InputError, match=r"study x: needs tpus = 1, this machine has 0"):
        LocalWorkers(1).check({"tpus": 1.0}, "study x")


def test_no_trial_takes_the_machine_for_itself(make_job, monkeypatch):
    monkeypatch.setattr("fmnist_bench.trials.local.available_memory", lambda: 2**30)
    result = LocalWorkers(1).run(make_job("eat"), lambda step, score: False, threading.Event())
    assert result.status == "out_of_memory"
    assert os.sched_getaffinity(0) == set(allowed_cores())
