import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench.search.successive_halving import AS_IT_STANDS, GAIN, SuccessiveHalving
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial import Trial


def key(name):
    """The configuration of that name."""
    return Trial("svm", parameters={"C": name}).config


def end(halving, name, rung, accuracy, seconds=1.0, fixed=0.0, share=1.0):
    status, fit_seconds = "timeout" if accuracy is None else "complete", seconds - fixed
    result = TrialResult(status, accuracy=accuracy, fit_seconds=fit_seconds, schedule_share=share)
    halving.end(Trial("svm", parameters={"C": name}, result=result, seconds=seconds, rung=rung))


def promoted(halving):
    return [(trial.parameters["C"], trial.rung + 1) for trial in halving.promotions()]


def test_the_best_third_of_each_rung_is_promoted_the_highest_rung_first():
    halving = SuccessiveHalving((0.1, 0.3, 1.0))
    for config, accuracy in enumerate((0.5, 0.9, 0.7, 0.8, 0.6, 0.4)):
        end(halving, config, 0, accuracy)
    assert promoted(halving) == [(1, 1), (3, 1)]
    end(halving, 1, 1, 0.92)
    for config in (6, 7):
        end(halving, config, 1, 0.9)
    assert promoted(halving) == [(1, 2), (3, 1)]
    halving.start(key(1), 2)
    assert promoted(halving) == [(3, 1)]


def test_promise_counts_what_is_left_to_learn_from():
    halving = SuccessiveHalving((0.1, 0.3, 1.0), work=(0.25, 0.5, 1.0))
    assert halving.promise() == 0.0
    end(halving, "a", 2, 0.9)
    assert halving.promise() == pytest.approx(0.9)
    end(halving, "b", 0, 0.89)
    assert halving.promise() == pytest.approx(1 - 0.11 * 0.25**GAIN)
    end(halving, "c", AS_IT_STANDS, 0.96)
    assert halving.promise() == pytest.approx(0.96)
    end(halving, "d", 0, 0.95, share=0.5)
    assert halving.promise() == pytest.approx(1 - 0.05 * 0.125**GAIN), "half of the schedule of a quarter"


def test_the_best_is_that_of_the_highest_rung_that_any_has_completed():
    halving = SuccessiveHalving((0.1, 1.0))
    assert halving.best() is None
    end(halving, "a", 0, 0.95)
    end(halving, "b", 1, 0.9)
    end(halving, "c", 1, None)
    assert (halving.best().config, halving.best().rung) == (key("b"), 1)
    assert halving.reached(1)


def test_a_trial_that_did_not_complete_is_not_promoted_and_not_tried_again():
    halving = SuccessiveHalving((0.1, 1.0))
    end(halving, "a", 0, None)
    for config, accuracy in (("b", 0.5), ("c", 0.4), ("d", 0.3)):
        assert promoted(halving) == []
        end(halving, config, 0, accuracy)
    assert promoted(halving) == [("b", 1)]
    end(halving, "b", 1, None)
    assert promoted(halving) == []


def test_an_interrupted_trial_may_be_tried_again():
    halving = SuccessiveHalving((0.1, 1.0))
    for config in "abc":
        end(halving, config, 0, 0.5)
    halving.start(key("a"), 1)
    assert promoted(halving) == []
    halving.withdraw(key("a"), 1)
    assert promoted(halving) == [("a", 1)]


def test_a_configuration_that_says_all_is_not_promoted():
    halving = SuccessiveHalving((0.1, 1.0))
    end(halving, "a", AS_IT_STANDS, 0.9, seconds=100.0)
    assert promoted(halving) == []
    assert halving.seconds(None, 0) == 10.0


def test_seconds_come_from_the_guess_and_then_from_what_was_measured():
    halving = SuccessiveHalving((0.1, 1.0))
    assert halving.seconds(None, 0) == 0.0
    end(halving, "a", 0, 0.5, seconds=2.0)
    assert halving.seconds(key("a"), 1) == 20.0
    end(halving, "a", 1, 0.6, seconds=30.0)
    end(halving, "b", 0, 0.5, seconds=4.0)
    assert halving.seconds(key("b"), 1) == 60.0


def test_after_a_time_out_more_is_expected():
    halving = SuccessiveHalving()
    end(halving, "a", 0, None, seconds=10.0)
    assert halving.seconds(None, 0) == 20.0
    end(halving, "b", 0, 0.9, seconds=4.0)
    assert (halving.seconds(None, 0), halving.seconds(key("a"), 0)) == (4.0, 20.0)


def test_what_is_the_same_on_every_rung_is_not_multiplied():
    halving = SuccessiveHalving((0.1, 1.0))
    end(halving, "a", 0, 0.9, seconds=30.0, fixed=20.0)
    assert halving.seconds(key("a"), 1) == 120.0
    end(halving, "a", 1, 0.9, seconds=60.0, fixed=20.0)
    assert halving.seconds(key("b"), 1) == 60.0


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), st.integers(2, 4))
def test_promotions_end_and_a_third_of_each_rung_is_promoted(accuracies, rungs):
    halving = SuccessiveHalving([3.0**rung for rung in range(rungs)])
    for config, accuracy in enumerate(accuracies):
        end(halving, config, 0, accuracy)
    while promotions := promoted(halving):
        config, rung = promotions[0]
        assert not halving.has(key(config), rung)
        end(halving, config, rung, accuracies[config])
    counts = [sum(trial.rung == rung for trial in halving.trials) for rung in range(rungs)]
    assert counts[1:] == [count // 3 for count in counts[:-1]]


def test_a_trial_that_failed_early_does_not_make_its_rung_look_cheap():
    halving = SuccessiveHalving((0.1, 1.0))
    end(halving, "a", 0, 0.9, seconds=60.0)
    end(halving, "a", 1, None, seconds=3.0)
    end(halving, "b", 0, 0.9, seconds=60.0)
    assert halving.seconds(key("b"), 1) == 600.0
