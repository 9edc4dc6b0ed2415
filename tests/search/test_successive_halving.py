import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench.search.successive_halving import AS_IT_STANDS, GAIN, Attempt, SuccessiveHalving


def end(halving, config, rung, accuracy, seconds=1.0):
    halving.end(Attempt(config, rung, seconds, accuracy))


def test_the_best_third_of_each_rung_is_promoted_the_highest_rung_first():
    halving = SuccessiveHalving((0.1, 0.3, 1.0))
    for config, accuracy in enumerate((0.5, 0.9, 0.7, 0.8, 0.6, 0.4)):
        end(halving, config, 0, accuracy)
    assert halving.promotions() == [(1, 1), (3, 1)]
    end(halving, 1, 1, 0.92)
    for config in (6, 7):
        end(halving, config, 1, 0.9)
    assert halving.promotions() == [(1, 2), (3, 1)]
    halving.start(1, 2)
    assert halving.promotions() == [(3, 1)]


def test_promise_counts_what_is_left_to_learn_from():
    halving = SuccessiveHalving((0.1, 0.3, 1.0), work=(0.25, 0.5, 1.0))
    assert halving.promise() == 0.0
    end(halving, "a", 2, 0.9)
    assert halving.promise() == pytest.approx(0.9)
    end(halving, "b", 0, 0.89)
    assert halving.promise() == pytest.approx(1 - 0.11 * 0.25**GAIN)
    end(halving, "c", AS_IT_STANDS, 0.96)
    assert halving.promise() == pytest.approx(0.96)


def test_the_best_is_that_of_the_highest_rung_that_any_has_completed():
    halving = SuccessiveHalving((0.1, 1.0))
    assert halving.best() is None
    end(halving, "a", 0, 0.95)
    end(halving, "b", 1, 0.9)
    end(halving, "c", 1, None)
    assert halving.best() == ("b", 1)
    assert halving.reached(1)


def test_a_trial_that_did_not_complete_is_not_promoted_and_not_tried_again():
    halving = SuccessiveHalving((0.1, 1.0))
    end(halving, "a", 0, None)
    for config, accuracy in (("b", 0.5), ("c", 0.4), ("d", 0.3)):
        assert halving.promotions() == []
        end(halving, config, 0, accuracy)
    assert halving.promotions() == [("b", 1)]
    end(halving, "b", 1, None)
    assert halving.promotions() == []


def test_an_interrupted_trial_may_be_tried_again():
    halving = SuccessiveHalving((0.1, 1.0))
    for config in "abc":
        end(halving, config, 0, 0.5)
    halving.start("a", 1)
    assert halving.promotions() == []
    halving.withdraw("a", 1)
    assert halving.promotions() == [("a", 1)]


def test_a_configuration_that_says_all_is_not_promoted():
    halving = SuccessiveHalving((0.1, 1.0))
    end(halving, "a", AS_IT_STANDS, 0.9, seconds=100.0)
    assert halving.promotions() == []
    assert halving.seconds(None, 0) == 10.0


def test_seconds_come_from_the_guess_and_then_from_what_was_measured():
    halving = SuccessiveHalving((0.1, 1.0))
    assert halving.seconds(None, 0) == 0.0
    end(halving, "a", 0, 0.5, seconds=2.0)
    assert halving.seconds("a", 1) == 20.0
    end(halving, "a", 1, 0.6, seconds=30.0)
    end(halving, "b", 0, 0.5, seconds=4.0)
    assert halving.seconds("b", 1) == 60.0


def test_after_a_time_out_more_is_expected():
    halving = SuccessiveHalving()
    end(halving, "a", 0, None, seconds=10.0)
    assert halving.seconds(None, 0) == 20.0
    halving.end(Attempt("b", 0, 4.0, 0.9))
    assert (halving.seconds(None, 0), halving.seconds("a", 0)) == (4.0, 20.0)


def test_what_is_the_same_on_every_rung_is_not_multiplied():
    halving = SuccessiveHalving((0.1, 1.0))
    halving.end(Attempt("a", 0, 30.0, 0.9, fixed=20.0))
    assert halving.seconds("a", 1) == 120.0
    halving.end(Attempt("a", 1, 60.0, 0.9, fixed=20.0))
    assert halving.seconds("b", 1) == 60.0


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), st.integers(2, 4))
def test_promotions_end_and_a_third_of_each_rung_is_promoted(accuracies, rungs):
    halving = SuccessiveHalving([3.0**rung for rung in range(rungs)])
    for config, accuracy in enumerate(accuracies):
        end(halving, config, 0, accuracy)
    while promotions := halving.promotions():
        config, rung = promotions[0]
        assert not halving.has(config, rung)
        end(halving, config, rung, accuracies[config])
    counts = [sum(a.rung == rung for a in halving.attempts) for rung in range(rungs)]
    assert counts[1:] == [count // 3 for count in counts[:-1]]


def test_a_trial_that_failed_early_does_not_make_its_rung_look_cheap():
    halving = SuccessiveHalving((0.1, 1.0))
    halving.end(Attempt("a", 0, 60.0, 0.9))
    halving.end(Attempt("a", 1, 3.0, None))
    halving.end(Attempt("b", 0, 60.0, 0.9))
    assert halving.seconds("b", 1) == 600.0
