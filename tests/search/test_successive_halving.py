import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench.search.successive_halving import AS_IT_STANDS, Attempt, Ladder


def end(ladder, config, rung, accuracy, seconds=1.0):
    ladder.end(Attempt(config, rung, seconds, accuracy))


def test_the_best_third_of_each_rung_climbs_the_highest_rung_first():
    ladder = Ladder((0.1, 0.3, 1.0))
    for config, accuracy in enumerate((0.5, 0.9, 0.7, 0.8, 0.6, 0.4)):
        end(ladder, config, 0, accuracy)
    assert ladder.promotions() == [(1, 1), (3, 1)]
    end(ladder, 1, 1, 0.92)
    assert ladder.promotions() == [(1, 2), (3, 1)]
    ladder.start(1, 2)
    assert ladder.promotions() == [(3, 1)]


def test_nobody_climbs_from_among_too_few_unless_it_is_allowed():
    ladder = Ladder((0.1, 1.0))
    for config, accuracy in enumerate((0.5, 0.9)):
        end(ladder, config, 0, accuracy)
    assert (ladder.promotions(0), ladder.promotions(1)) == ([], [(1, 1)])
    end(ladder, 2, 0, 0.7)
    assert ladder.promotions(0) == [(1, 1)]


def test_promise_counts_what_is_left_to_learn_from():
    ladder = Ladder((0.1, 0.3, 1.0), work=(0.25, 0.5, 1.0))
    assert ladder.promise() == 0.0
    end(ladder, "a", 2, 0.9)
    assert ladder.promise(0.5) == pytest.approx(0.9)
    end(ladder, "b", 0, 0.8)
    assert ladder.promise(0.5) == pytest.approx(0.9), "0.2 * 0.25**0.5"
    assert ladder.promise(1.0) == pytest.approx(0.95), "0.2 * 0.25"
    end(ladder, "c", AS_IT_STANDS, 0.96)
    assert ladder.promise(1.0) == pytest.approx(0.96)


def test_a_trial_that_did_not_complete_does_not_climb_and_is_not_tried_again():
    ladder = Ladder((0.1, 1.0))
    end(ladder, "a", 0, None)
    assert ladder.promotions() == []
    end(ladder, "b", 0, 0.5)
    assert ladder.promotions() == [("b", 1)]
    end(ladder, "b", 1, None)
    assert ladder.promotions() == []


def test_an_interrupted_trial_may_be_tried_again():
    ladder = Ladder((0.1, 1.0))
    end(ladder, "a", 0, 0.5)
    ladder.start("a", 1)
    ladder.withdraw("a", 1)
    assert ladder.promotions() == [("a", 1)]


def test_a_configuration_that_says_all_does_not_climb():
    ladder = Ladder((0.1, 1.0))
    end(ladder, "a", AS_IT_STANDS, 0.9, seconds=100.0)
    assert ladder.promotions() == []
    assert ladder.seconds(None, 0) == 10.0


def test_seconds_come_from_the_guess_and_then_from_what_was_measured():
    ladder = Ladder((0.1, 1.0))
    assert ladder.seconds(None, 0) == 0.0
    end(ladder, "a", 0, 0.5, seconds=2.0)
    assert ladder.seconds("a", 1) == 20.0
    end(ladder, "a", 1, 0.6, seconds=30.0)
    end(ladder, "b", 0, 0.5, seconds=4.0)
    assert ladder.seconds("b", 1) == 60.0


def test_after_a_time_out_more_is_expected():
    ladder = Ladder()
    end(ladder, "a", 0, None, seconds=10.0)
    assert ladder.seconds(None, 0) == 20.0
    ladder.end(Attempt("b", 0, 4.0, 0.9))
    assert (ladder.seconds(None, 0), ladder.seconds("a", 0)) == (4.0, 20.0)


def test_what_is_the_same_on_every_rung_is_not_multiplied():
    ladder = Ladder((0.1, 1.0))
    ladder.end(Attempt("a", 0, 30.0, 0.9, fixed=20.0))
    assert ladder.seconds("a", 1) == 120.0
    assert ladder.seconds("a", 1, speedup=2.0) == 70.0
    ladder.end(Attempt("a", 1, 60.0, 0.9, fixed=20.0))
    assert ladder.seconds("b", 1) == 60.0


def test_what_ran_out_of_time_and_then_completed_has_not_failed():
    ladder = Ladder((0.1, 1.0))
    end(ladder, "a", 0, None)
    assert (ladder.failed("a"), ladder.cut("a", 0)) == ({0}, 1)
    end(ladder, "a", 0, 0.9)
    assert ladder.failed("a") == set()


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), st.integers(2, 4))
def test_climbing_ends(accuracies, rungs):
    ladder = Ladder([3.0**rung for rung in range(rungs)])
    for config, accuracy in enumerate(accuracies):
        end(ladder, config, 0, accuracy)
    climbed = 0
    while promotions := ladder.promotions():
        config, rung = promotions[0]
        assert not ladder.has(config, rung)
        end(ladder, config, rung, accuracies[config])
        climbed += 1
        assert climbed <= len(accuracies) * rungs
    best = max(range(len(accuracies)), key=lambda i: (accuracies[i], -i))
    assert ladder.has(best, rungs - 1)


def test_a_trial_that_failed_early_does_not_make_its_rung_look_cheap():
    ladder = Ladder((0.1, 1.0))
    ladder.end(Attempt("a", 0, 60.0, 0.9))
    ladder.end(Attempt("a", 1, 3.0, None))
    ladder.end(Attempt("b", 0, 60.0, 0.9))
    assert ladder.seconds("b", 1) == 600.0
