"""How far a long computation is, told in this process and by a worker to the coordinator."""

import threading

import pytest

from fmnist_bench._utils import stage_progress
from fmnist_bench.trials.process import run_in_worker


@pytest.fixture
def heard(monkeypatch):
    words, time = [], [100.0]
    monkeypatch.setattr(stage_progress.time, "monotonic", lambda: time[0])
    stage_progress.listen(lambda what, share: words.append((what, share)))
    yield words, time
    stage_progress.listen(None)


def test_it_is_heard_twice_a_second_at_most_and_at_its_end(heard):
    words, time = heard
    for part in stage_progress.in_parts("HOG", range(20)):
        time[0] += 0.125
        assert part < 20
    assert words == [("HOG", share) for share in (0.25, 0.45, 0.65, 0.85, 1.0)]


def test_what_is_short_is_silent_however_long_nobody_spoke(heard):
    words, time = heard
    for _ in range(3):
        time[0] += 9
        assert list(stage_progress.in_parts("HOG", [1, 2])) == [1, 2]
    assert words == []


def test_nobody_need_listen(heard):
    words, time = heard
    stage_progress.tell("HOG", 0.1)
    stage_progress.listen(None)
    time[0] += 9
    stage_progress.tell("HOG", 0.5)
    assert words == []


def test_a_worker_passes_them_on_and_goes_on_without_an_answer(make_job):
    seen = []

    def on_report(step, score):
        seen.append((step, score))
        return True  # which prunes nothing: no step has been reported

    result = run_in_worker(make_job("stages"), on_report, threading.Event())
    assert result.status == "complete"
    assert seen and {what for what, _ in seen} == {"counting"}
    shares = [share for _, share in seen]
    assert shares == sorted(shares) and 0 < shares[0] <= shares[-1] <= 1
